//! The URL table. A path is private unless it stands among the public ones; private ones need a
//! signed-in user.

use axum::Router;

use crate::app::App;
use crate::app::endpoint::{Access, Endpoints, Row, at};
use crate::app::require_auth;
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
fn impersonal() -> Vec<Row> {
    vec![
        at("/healthz").get(health::live),
        at("/api/v1/health").get(health::ready),
        at("/assets/{file}").get(assets::serve),
        at("/favicon.ico").get(assets::icon),
        at("/robots.txt").get(assets::robots),
    ]
}

/// Reachable by everybody.
fn public() -> Vec<Row> {
    vec![
        at("/api/v1/auth/csrf").get(account::csrf),
        at("/api/v1/auth/methods").get(account::methods),
        at("/api/v1/auth/me").get(account::me),
        at("/api/v1/auth/magic/request").post(magic::request),
        at("/api/v1/auth/magic/verify").get(sign_in::confirm).post(magic::verify).navigated(),
        at("/api/v1/auth/google").get(oauth::google).navigated(),
        at("/api/v1/auth/google/callback").get(callback::google).navigated(),
        at("/api/v1/auth/github").get(oauth::github).navigated(),
        at("/api/v1/auth/github/callback").get(callback::github).navigated(),
        at("/api/v1/auth/steam/login").get(oauth::steam_login).navigated(),
        at("/api/v1/auth/steam/login/callback").get(callback::steam_login).navigated(),
    ]
}

/// Pages everybody may open.
fn public_pages() -> Vec<Row> {
    vec![
        at("/login").get(sign_in::login).post(sign_in::ask),
        at("/login/code").get(sign_in::code).post(sign_in::redeem_code),
        at("/login/confirm").post(sign_in::redeem_link),
        at("/login/status").get(sign_in::status),
        at("/dev/mailbox").get(mailbox::mailbox),
    ]
}

/// Pages of somebody who is signed in.
fn private_pages() -> Vec<Row> {
    vec![
        at("/").get(portfolio_page::portfolio),
        at("/import").post(portfolio_page::import),
        at("/email").get(email_page::page).post(email_page::confirm),
        at("/account").get(account_page::account),
        at("/account/live").get(live::stream),
        at("/account/data.json").get(delete::data),
        at("/account/email").post(email_page::request),
        at("/account/providers/link").post(linked::link),
        at("/account/providers/unlink").post(linked::unlink),
        at("/account/delete").post(delete::delete),
        at("/account/sessions/revoke").post(account_page::revoke),
        at("/account/sessions/revoke-others").post(account_page::revoke_others),
        at("/logout").post(sign_in::logout),
    ]
}

/// Reachable by signed-in users.
fn private() -> Vec<Row> {
    vec![
        at("/api/v1/auth/logout").post(account::logout),
        at("/api/v1/auth/email").post(email::request),
        at("/api/v1/auth/email/confirm").post(email::confirm),
        at("/api/v1/auth/events").get(events::list),
        at("/api/v1/auth/providers").get(providers::list),
        at("/api/v1/auth/providers/{provider}").delete(providers::unlink),
        at("/api/v1/auth/providers/{provider}/link").post(oauth::link),
        at("/api/v1/auth/sessions").get(sessions::list).delete(sessions::revoke_others),
        at("/api/v1/auth/sessions/{handle}").delete(sessions::revoke),
        at("/api/v1/portfolio").get(portfolio::show),
        at("/api/v1/portfolio/import").post(imports::import),
        at("/api/v1/portfolio/import/events").get(imports::events),
        at("/api/v1/portfolio/history").get(portfolio::history),
        at("/api/v1/portfolio/export.csv").get(portfolio::export_csv).navigated(),
        at("/api/v1/portfolio/export.json").get(portfolio::export_json).navigated(),
        at("/api/v1/auth/steam").get(oauth::steam_link).navigated(),
        at("/api/v1/auth/steam/callback").get(callback::steam_link).navigated(),
    ]
}

fn rows() -> impl Iterator<Item = (Access, Row)> {
    let under = |access| move |row| (access, row);
    (private().into_iter().map(under(Access::Private)))
        .chain(private_pages().into_iter().map(under(Access::PrivatePage)))
        .chain(public().into_iter().map(under(Access::Public)))
        .chain(public_pages().into_iter().map(under(Access::PublicPage)))
        .chain(impersonal().into_iter().map(under(Access::Impersonal)))
}

/// What the layers know of the table.
pub fn endpoints() -> Endpoints {
    rows().map(|(access, row)| row.endpoint(access)).collect()
}

/// What answers at each path, and what is in no row.
pub fn table() -> Router<App> {
    let answers = rows().map(|(_, row)| row.into_route());
    answers
        .fold(Router::new(), |table, (path, handlers)| table.route(path, handlers))
        .fallback(require_auth::no_such_route)
        .method_not_allowed_fallback(require_auth::no_such_method)
}
