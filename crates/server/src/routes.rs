//! The URL table. A route is private unless it stands in [`public`]; everything else needs a signed-in user.

use axum::Router;
use axum::middleware::from_fn;
use axum::routing::{self, MethodRouter, get, post};

use crate::app::{self, App, log, require_auth};
use crate::web::{account as account_page, assets, delete, home, live, mailbox, sign_in};

pub mod account;
pub mod health;
pub mod magic;
pub mod sessions;

/// Reachable by everybody, and the same for everybody.
fn impersonal() -> Router<App> {
    Router::new()
        .route("/healthz", get(health::live))
        .route("/api/v1/health", get(health::ready))
        .route("/assets/{file}", get(assets::serve))
        .route_layer(from_fn(log::note_route))
        .method_not_allowed_fallback(require_auth::wrong_method)
}

/// Reachable by everybody.
fn public() -> Router<App> {
    Router::new()
        .route("/api/v1/auth/csrf", get(account::csrf))
        .route("/api/v1/auth/methods", get(account::methods))
        .route("/api/v1/auth/me", get(account::me))
        .route("/api/v1/auth/magic/request", post(magic::request))
        .route("/api/v1/auth/magic/verify", get(sign_in::confirm).post(magic::verify))
}

/// Pages everybody may open.
fn public_pages() -> Router<App> {
    Router::new()
        .route("/login", get(sign_in::login).post(sign_in::ask))
        .route("/login/code", get(sign_in::code).post(sign_in::redeem_code))
        .route("/login/confirm", post(sign_in::redeem_link))
        .route("/login/status", get(sign_in::status))
        .route("/dev/mailbox", get(mailbox::mailbox))
}

/// Pages of somebody who is signed in.
fn private_pages() -> Router<App> {
    Router::new()
        .route("/", get(home::home))
        .route("/account", get(account_page::account))
        .route("/account/live", get(live::stream))
        .route("/account/data.json", get(delete::data))
        .route("/account/delete", post(delete::delete))
        .route("/account/sessions/revoke", post(account_page::revoke))
        .route("/account/sessions/revoke-others", post(account_page::revoke_others))
        .route("/logout", post(sign_in::logout))
}

/// Reachable by signed-in users.
fn private() -> Vec<(&'static str, MethodRouter<App>)> {
    vec![
        ("/api/v1/auth/logout", post(account::logout)),
        ("/api/v1/auth/providers", get(account::providers)),
        ("/api/v1/auth/sessions", get(sessions::list).delete(sessions::revoke_others)),
        ("/api/v1/auth/sessions/{handle}", routing::delete(sessions::revoke)),
    ]
}

/// All parts with their layers, and the answers for what is in none.
pub fn table(app: &App) -> Router<App> {
    let private = private().into_iter().fold(Router::new(), |all, (path, route)| all.route(path, route));
    let personal = app::public(app, public())
        .merge(app::private(app, private))
        .merge(app::public_pages(app, public_pages()))
        .merge(app::private_pages(app, private_pages()))
        .fallback(require_auth::no_such_route)
        .method_not_allowed_fallback(require_auth::no_such_method);
    app::with_session(app, personal).merge(impersonal())
}

/// The private paths, for recognising other spellings of them.
pub fn private_paths() -> matchit::Router<()> {
    let mut paths = matchit::Router::new();
    for (path, _) in private() {
        paths.insert(path, ()).expect("the private table has no conflicting paths");
    }
    paths
}
