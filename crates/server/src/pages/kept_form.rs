//! Forms that cannot be processed yet: the user must first sign in, confirm, or send it from a
//! fresh page. A cookie keeps the form with its values, and the next pages offer it. Nothing
//! happens until the user presses its button there.
//!
//! 1. Only listed forms are kept, and only their known fields.
//! 2. The form is offered to the account that sent it. If the session has ended, that account is
//!    unknown, and the next user to sign in in this browser sees it. Deletion is not kept then.
//! 3. It is dropped once a listed form is processed, or after ten minutes.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, Method, header};
use sha2::{Digest, Sha256};
use tracera_guard::HostCookie;
use tracera_session::Session;
use url::form_urlencoded;
use uuid::Uuid;

use crate::actions::user_id;
use crate::domain::provider::Provider;
use crate::http::App;
use crate::http::context::RequestContext;
use crate::http::endpoint::MAX_BODY_BYTES;
use crate::http::error::AppResult;
use crate::http::extract::{field, too_large};
use crate::pages::messages::Problem;
use crate::pages::return_target::ReturnTarget;

const COOKIE: HostCookie = HostCookie::new("form", Duration::from_mins(10));
/// Maximum length of the cookie. Browsers accept 4096 bytes.
const MAX_CHARS: usize = 3000;

/// The forms that are kept, with their fields.
const FORMS: [(&str, &[&str]); 10] = [
    ("/import", &[]),
    ("/account/providers/link", &["provider", "next"]),
    ("/account/providers/unlink", &["provider"]),
    ("/account/email", &["email"]),
    ("/account/passkeys/remove", &["id"]),
    ("/account/passkey-only", &["enabled"]),
    ("/account/recovery-codes", &[]),
    ("/account/tokens", &["name", "portfolio_read", "portfolio_import", "account_read", "days"]),
    ("/account/tokens/revoke", &["id"]),
    (DELETE, &["confirmation"]),
];
const DELETE: &str = "/account/delete";

/// Why a form was not processed. In the extensions of its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotYet {
    /// Nobody is signed in.
    SignedOut,
    /// The user must confirm first.
    NotRecent,
    /// The CSRF token has expired.
    TooLate,
}

/// The page that offers a refused form again. In the extensions of the response.
#[derive(Clone, Debug)]
pub struct OfferedOn(pub ReturnTarget);

/// A form that is not processed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptForm {
    /// The path that it is posted to.
    pub action: &'static str,
    /// The fields.
    pub fields: Vec<(&'static str, String)>,
}

impl KeptForm {
    fn new(path: &str, body: &[u8]) -> Option<Self> {
        let (action, names) = FORMS.into_iter().find(|(action, _)| *action == path)?;
        let values = names.iter().filter_map(|name| Some((*name, field(body, name)?.into_owned())));
        Some(Self { action, fields: values.collect() })
    }

    fn parse(cookie: &str, owner: Option<Uuid>) -> Option<Self> {
        let (mark, form) = cookie.split_once('.')?;
        if !mark.is_empty() && owner.map(owner_mark).as_deref() != Some(mark) {
            return None;
        }
        let form = URL_SAFE_NO_PAD.decode(form).ok()?;
        let path = field(&form, "")?;
        Self::new(&path, &form)
    }

    fn cookie(&self, owner: Option<Uuid>, https: bool) -> Option<HeaderValue> {
        let mut form = form_urlencoded::Serializer::new(String::new());
        let form = form.append_pair("", self.action).extend_pairs(&self.fields).finish();
        let mark = owner.map(owner_mark).unwrap_or_default();
        let value = format!("{mark}.{}", URL_SAFE_NO_PAD.encode(form));
        (value.len() <= MAX_CHARS).then(|| COOKIE.secure(https).set(&value))
    }

    fn value(&self, name: &str) -> &str {
        self.fields.iter().find(|(field, _)| *field == name).map_or("", |(_, value)| value)
    }

    /// The page that contains the form.
    pub fn page(&self) -> ReturnTarget {
        match self.action {
            "/import" => ReturnTarget::default(),
            "/account/providers/link" => {
                ReturnTarget::parse(self.value("next")).unwrap_or_default()
            }
            _ => ReturnTarget::account(),
        }
    }

    /// The label of the button.
    pub fn label(&self) -> String {
        let provider = || {
            let provider = Provider::parse(self.value("provider"));
            provider.map_or_else(|| "it".to_owned(), |provider| provider.to_string())
        };
        match self.action {
            "/import" => "Import my inventory".to_owned(),
            "/account/providers/link" => format!("Link {}", provider()),
            "/account/providers/unlink" => format!("Unlink {}", provider()),
            "/account/email" => format!("Send a link to {}", self.value("email")),
            "/account/passkeys/remove" => "Remove the passkey".to_owned(),
            "/account/passkey-only" if self.value("enabled") == "true" => {
                "Turn on passkey only".to_owned()
            }
            "/account/passkey-only" => "Turn off passkey only".to_owned(),
            "/account/recovery-codes" => "Make ten codes".to_owned(),
            "/account/tokens" => format!("Make the token {}", self.value("name")),
            "/account/tokens/revoke" => "Revoke the token".to_owned(),
            _ => "Delete my account".to_owned(),
        }
    }
}

/// The account's mark in cookies: a truncated hash that does not reveal the id.
pub fn owner_mark(user: Uuid) -> String {
    URL_SAFE_NO_PAD.encode(&Sha256::digest(user.as_bytes())[..12])
}

/// The form that this browser keeps for the account.
pub fn read(headers: &HeaderMap, https: bool, owner: Option<Uuid>) -> Option<KeptForm> {
    COOKIE.secure(https).read_as(headers, |value| KeptForm::parse(value, owner))
}

/// Whether a request is one of the listed forms.
pub fn is_kept(request: &Request) -> bool {
    request.method() == Method::POST && path(request).is_some()
}

fn path(request: &Request) -> Option<&'static str> {
    let pattern = RequestContext::of(request.extensions())?.endpoint?.pattern;
    FORMS.into_iter().map(|(action, _)| action).find(|action| *action == pattern)
}

/// Keeps a form that was [not processed yet](NotYet), and redirects the user to the required step.
/// An earlier layer has refused cross-site requests.
///
/// # Errors
/// 413.
pub async fn keep(State(app): State<App>, request: Request, next: Next) -> AppResult<Response> {
    let Some(path) = path(&request) else { return Ok(next.run(request).await) };
    let https = app.is_https();
    let session = Session::of(request.extensions()).ok();
    let owner = session.and_then(|session| user_id(&session.user().ok()?).ok());
    let is_form = |value: &str| value.split_once('.').map(drop);
    let is_offered = COOKIE.secure(https).read_as(request.headers(), is_form).is_some();
    let (parts, body) = request.into_parts();
    let form = to_bytes(body, MAX_BODY_BYTES).await.map_err(|_| too_large())?;
    let mut response = next.run(Request::from_parts(parts, Body::from(form.clone()))).await;
    let Some(why) = response.extensions_mut().remove::<NotYet>() else {
        let is_done = response.status().is_success() || response.status().is_redirection();
        if is_done && is_offered {
            response.headers_mut().append(header::SET_COOKIE, COOKIE.secure(https).clear());
        }
        return Ok(response);
    };
    let Some(kept) = KeptForm::new(path, &form) else { return Ok(response) };
    let page = kept.page();
    let to = match why {
        // A form without a token does not come from a page of this site.
        NotYet::SignedOut if field(&form, "csrf_token").is_none() => return Ok(response),
        NotYet::SignedOut => Some(page.by_way_of_failure(Problem::SessionOver.code())),
        NotYet::NotRecent => Some(page.by_way_of_confirming()),
        NotYet::TooLate => None,
    };
    if owner.is_some() || kept.action != DELETE {
        let cookie = kept.cookie(owner, https);
        if let Some(cookie) = cookie {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
    }
    match to.and_then(|to| HeaderValue::try_from(to).ok()) {
        Some(to) => drop(response.headers_mut().insert(header::LOCATION, to)),
        None => drop(response.extensions_mut().insert(OfferedOn(page))),
    }
    Ok(response)
}
