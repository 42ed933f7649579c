//! The URL table. A route is private unless it stands in `public`; everything else needs a signed-in user.

use axum::Router;
use axum::routing::{self, MethodRouter, get, post};

use crate::app::gate::gate;
use crate::app::{self, App, log, require_auth};
use crate::web::{
    account as account_page, assets, delete, email as email_page, linked, live, mailbox,
    portfolio as portfolio_page, sign_in,
};

pub mod account;
pub mod callback;
pub mod email;
pub mod events;
pub mod health;
pub mod imports;
pub mod magic;
pub mod oauth;
pub mod portfolio;
pub mod providers;
pub mod sessions;

/// Reachable by everybody, and the same for everybody.
fn impersonal() -> Router<App> {
    Router::new()
        .route("/healthz", get(health::live))
        .route("/api/v1/health", get(health::ready))
        .route("/assets/{file}", get(assets::serve))
        .route_layer(gate((), log::note_route))
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
        .route("/api/v1/auth/google", get(oauth::google))
        .route("/api/v1/auth/google/callback", get(callback::google))
        .route("/api/v1/auth/github", get(oauth::github))
        .route("/api/v1/auth/github/callback", get(callback::github))
        .route("/api/v1/auth/steam/login", get(oauth::steam_login))
        .route("/api/v1/auth/steam/login/callback", get(callback::steam_login))
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
        .route("/", get(portfolio_page::portfolio))
        .route("/import", post(portfolio_page::import))
        .route("/email", get(email_page::page).post(email_page::confirm))
        .route("/account", get(account_page::account))
        .route("/account/live", get(live::stream))
        .route("/account/data.json", get(delete::data))
        .route("/account/email", post(email_page::request))
        .route("/account/providers/link", post(linked::link))
        .route("/account/providers/unlink", post(linked::unlink))
        .route("/account/delete", post(delete::delete))
        .route("/account/sessions/revoke", post(account_page::revoke))
        .route("/account/sessions/revoke-others", post(account_page::revoke_others))
        .route("/logout", post(sign_in::logout))
}

/// Reachable by signed-in users.
fn private() -> Vec<(&'static str, MethodRouter<App>)> {
    vec![
        ("/api/v1/auth/logout", post(account::logout)),
        ("/api/v1/auth/email", post(email::request)),
        ("/api/v1/auth/email/confirm", post(email::confirm)),
        ("/api/v1/auth/events", get(events::list)),
        ("/api/v1/auth/providers", get(providers::list)),
        ("/api/v1/auth/providers/{provider}", routing::delete(providers::unlink)),
        ("/api/v1/auth/providers/{provider}/link", post(oauth::link)),
        ("/api/v1/auth/sessions", get(sessions::list).delete(sessions::revoke_others)),
        ("/api/v1/auth/sessions/{handle}", routing::delete(sessions::revoke)),
        ("/api/v1/portfolio", get(portfolio::show)),
        ("/api/v1/portfolio/import", post(imports::import)),
        ("/api/v1/portfolio/import/events", get(imports::events)),
        ("/api/v1/portfolio/history", get(portfolio::history)),
        ("/api/v1/portfolio/export.csv", get(portfolio::export_csv)),
        ("/api/v1/portfolio/export.json", get(portfolio::export_json)),
        ("/api/v1/auth/steam", get(oauth::steam_link)),
        ("/api/v1/auth/steam/callback", get(callback::steam_link)),
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
