//! The demo's stand-ins for Steam and a price feed, on a loopback port.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::Body;
use axum::extract::{Form, Path, Query, State};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, header};
use time::macros::format_description;
use tokio::net::TcpListener;
use tracera_session::Clock;
use url::Url;
use uuid::Uuid;

use super::{STEAM_ID, inventory};
use crate::auth::steam::assertion::NS;
use crate::clock::utc;

/// Maximum number of unconfirmed sign-ins; several can be pending at once.
const MAX_WAITING: usize = 100;
const SIGNED: &str = "signed,op_endpoint,claimed_id,identity,return_to,response_nonce,assoc_handle";

/// The stand-in for Steam's sign-in.
#[derive(Clone)]
struct SignIn {
    url: String,
    clock: Clock,
    /// The issued signatures.
    given: Arc<Mutex<Vec<String>>>,
}

impl SignIn {
    fn given(&self) -> MutexGuard<'_, Vec<String>> {
        self.given.lock().expect("nothing panics while it holds the lock")
    }
}

/// Serves the stand-ins while the process lives; returns their URL.
pub(super) async fn start() -> io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let sign_in = SignIn { url: url.clone(), clock: Clock::system(), given: Arc::default() };
    let routes = Router::new()
        .route("/openid/login", get(ask).post(confirm))
        .with_state(sign_in)
        .route("/inventory/{owner}/730/2", get(items))
        .route("/prices", get(async || json(&inventory::prices())))
        .route("/pictures/{name}/{size}", get(picture));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Ok(url)
}

/// The page in place of Steam's sign-in. It says what it is, and sends the browser back as the demo
/// user.
async fn ask(
    State(sign_in): State<SignIn>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let asked = query.get("openid.return_to").and_then(|text| Url::parse(text).ok());
    let Some(mut back) = asked else { return StatusCode::BAD_REQUEST.into_response() };
    let is_here = matches!(back.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    if !is_here {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    let Ok(now) = utc(sign_in.clock.now()).format(format) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let signature = Uuid::new_v4().simple().to_string();
    let identity = format!("{}/openid/id/{STEAM_ID}", sign_in.url);
    let return_to = back.to_string();
    back.query_pairs_mut()
        .append_pair("openid.ns", NS)
        .append_pair("openid.mode", "id_res")
        .append_pair("openid.op_endpoint", &format!("{}/openid/login", sign_in.url))
        .append_pair("openid.claimed_id", &identity)
        .append_pair("openid.identity", &identity)
        .append_pair("openid.return_to", &return_to)
        .append_pair("openid.response_nonce", &format!("{now}{signature}"))
        .append_pair("openid.assoc_handle", "demo")
        .append_pair("openid.signed", SIGNED)
        .append_pair("openid.sig", &signature);
    let mut given = sign_in.given();
    if given.len() >= MAX_WAITING {
        given.remove(0);
    }
    given.push(signature);
    let address = back.as_str().replace('&', "&amp;").replace('"', "%22");
    Html(format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\"><title>Not Steam: the demo's \
         sign-in</title><body style=\"font:1.1rem/1.6 system-ui;max-width:34rem;margin:12vh \
         auto;padding:0 1rem\"><h1>This is not Steam</h1><p>This page is a part of Tracera's \
         demo, on this machine. It stands where Steam would ask who you are. It asks for nothing \
         and knows one person.</p><p><a href=\"{address}\" \
         style=\"display:inline-block;padding:.6rem \
         1.2rem;background:#0b665c;color:#fff;border-radius:.5rem\">Go on as the demo's \
         trader</a></p>"
    ))
    .into_response()
}

/// `check_authentication`: valid once for each issued signature.
async fn confirm(
    State(sign_in): State<SignIn>,
    Form(form): Form<BTreeMap<String, String>>,
) -> String {
    let mut given = sign_in.given();
    let found = form.get("openid.sig").and_then(|sig| given.iter().position(|it| it == sig));
    let is_valid = found.map(|at| given.remove(at)).is_some();
    format!("ns:{NS}\nis_valid:{is_valid}\n")
}

async fn items(
    Path(owner): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    if owner != STEAM_ID {
        return StatusCode::NOT_FOUND.into_response();
    }
    // The first page has all items; the next one is empty.
    let kinds = if query.contains_key("start_assetid") { 0 } else { inventory::KINDS };
    json(&inventory::page(kinds))
}

async fn picture(Path((name, _)): Path<(String, String)>) -> Response {
    match inventory::drawing(&name) {
        Some(drawing) => ([(header::CONTENT_TYPE, "image/svg+xml")], drawing).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn json(value: &serde_json::Value) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (kind, Body::from(value.to_string())).into_response()
}
