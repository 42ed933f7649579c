//! The URL table. A route is private unless it stands in [`public`]; everything else needs a signed-in user.

use axum::Router;
use axum::routing::{MethodRouter, delete, get, post};

use crate::app::{self, App, require_auth};

pub mod account;
pub mod dev;
pub mod health;
pub mod imports;
pub mod magic;
pub mod pages;
pub mod portfolio;
pub mod sessions;

/// Reachable by everybody.
fn public() -> Router<App> {
    Router::new()
        .route("/healthz", get(health::live))
        .route("/api/v1/health", get(health::ready))
        .route("/api/v1/auth/csrf", get(account::csrf))
        .route("/api/v1/auth/methods", get(account::methods))
        .route("/api/v1/auth/me", get(account::me))
        .route("/api/v1/auth/magic/request", post(magic::request))
        .route("/api/v1/auth/magic/verify", get(pages::confirm).post(magic::verify))
        .route("/", get(pages::home))
        .route("/login", get(pages::login))
        .route("/assets/{file}", get(pages::asset))
        .route("/dev/mailbox", get(dev::mailbox))
}

/// Reachable by signed-in users.
fn private() -> Vec<(&'static str, MethodRouter<App>)> {
    vec![
        ("/api/v1/auth/logout", post(account::logout)),
        ("/api/v1/auth/providers", get(account::providers)),
        ("/api/v1/auth/sessions", get(sessions::list).delete(sessions::revoke_others)),
        ("/api/v1/auth/sessions/{handle}", delete(sessions::revoke)),
        ("/api/v1/portfolio", get(portfolio::show)),
        ("/api/v1/portfolio/import", post(imports::import)),
        ("/api/v1/portfolio/import/events", get(imports::events)),
        ("/api/v1/portfolio/history", get(portfolio::history)),
        ("/api/v1/portfolio/export.csv", get(portfolio::export_csv)),
        ("/api/v1/portfolio/export.json", get(portfolio::export_json)),
    ]
}

/// Both parts with their layers, and the answers for what is in neither.
pub fn table(app: &App) -> Router<App> {
    let private = private().into_iter().fold(Router::new(), |all, (path, route)| all.route(path, route));
    app::public(app, public())
        .merge(app::private(app, private))
        .fallback(require_auth::no_such_route)
        .method_not_allowed_fallback(require_auth::no_such_method)
}

/// The private paths, for recognising other spellings of them.
pub fn private_paths() -> matchit::Router<()> {
    let mut paths = matchit::Router::new();
    for (path, _) in private() {
        paths.insert(path, ()).expect("the private table has no conflicting paths");
    }
    paths
}
