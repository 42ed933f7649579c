//! The URL table, and the list of layers that every request passes, in order.
//!
//! A path is private unless it is listed as public; private paths require a signed-in user.

use axum::Router;
use axum::body::Body;
use axum::middleware::from_fn_with_state;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::validate_request::ValidateRequestHeaderLayer;
use tracera_guard::issue_csrf_token;
use tracera_session::{PrefetchLayer, SessionLayer};

use crate::api::{
    account, address, description, device, events, health, imports, magic_link, passkeys,
    portfolio, providers, recovery, sessions, tokens, undo,
};
use crate::domain::scope::Scope::{AccountRead, PortfolioImport, PortfolioRead};
use crate::http::App;
use crate::http::around::around;
use crate::http::endpoint::{Access, Endpoints, Row, at};
use crate::http::limits::TimeLimit;
use crate::http::log::LogLayer;
use crate::http::serve::HttpService;
use crate::http::switch::switch;
use crate::http::{bearer, context, csrf, limits, require_auth};
use crate::pages::page::to_sign_in;
use crate::pages::{
    account as account_page, address as address_page, assets, confirm, data, delete,
    device as device_page, discovery, error_page, expired_form, from_provider, kept_form, linked,
    live, mailbox, passkey_offer, passkeys as passkeys_page, portfolio as portfolio_page, resubmit,
    sign_in, to_provider, tokens as tokens_page, undo as undo_page,
};

/// Open to everybody, without a session.
fn no_session() -> Vec<Row> {
    vec![
        at("/healthz").get(health::live),
        at("/api/v1/openapi.json").get(description::show),
        at("/api/v1/health").get(health::ready),
        at("/assets/{file}").get(assets::serve),
        at("/favicon.ico").get(assets::icon),
        at("/robots.txt").get(discovery::robots),
        at("/.well-known/security.txt").get(discovery::security_txt),
    ]
}

/// Endpoints where browsers prove their session's device.
fn device_proofs() -> Vec<Row> {
    vec![at("/device/register").post(device::register), at("/device/refresh").post(device::refresh)]
}

/// Open to everybody.
fn public() -> Vec<Row> {
    vec![
        at("/api/v1/auth/csrf").get(issue_csrf_token),
        at("/api/v1/auth/methods").get(account::methods),
        at("/api/v1/auth/me").scope(AccountRead).get(account::me),
        at("/api/v1/auth/undo").post(undo::undo),
        at("/api/v1/auth/magic/request").post(magic_link::request),
        at("/api/v1/auth/magic/verify").get(sign_in::confirm).post(magic_link::verify).navigated(),
        at("/api/v1/auth/passkey").post(passkeys::prove),
        at("/api/v1/auth/passkey/options").post(passkeys::proof_options),
        at("/api/v1/auth/recovery").post(recovery::sign_in),
        at("/api/v1/auth/google").get(to_provider::google).navigated(),
        at("/api/v1/auth/google/callback").get(from_provider::google).navigated(),
        at("/api/v1/auth/github").get(to_provider::github).navigated(),
        at("/api/v1/auth/github/callback").get(from_provider::github).navigated(),
        at("/api/v1/auth/oidc").get(to_provider::oidc).navigated(),
        at("/api/v1/auth/oidc/callback").get(from_provider::oidc).navigated(),
        at("/api/v1/auth/steam/login").get(to_provider::steam_login).navigated(),
        at("/api/v1/auth/steam/login/callback").get(from_provider::steam_login).navigated(),
    ]
}

/// Pages open to everybody.
fn public_pages() -> Vec<Row> {
    vec![
        at("/login").get(sign_in::login).post(sign_in::ask),
        at("/login/code").get(sign_in::code).post(sign_in::redeem_code),
        at("/login/confirm").post(sign_in::redeem_link),
        at("/login/recovery").get(passkeys_page::recovery).post(passkeys_page::redeem),
        at("/login/status").get(sign_in::status),
        at("/undo").get(undo_page::page).post(undo_page::undo),
        at("/dev/mailbox").get(mailbox::mailbox),
    ]
}

/// Pages for signed-in users.
fn private_pages() -> Vec<Row> {
    vec![
        at("/").get(portfolio_page::portfolio),
        at("/import").post(portfolio_page::import),
        at("/email").get(address_page::page).post(address_page::confirm),
        at("/confirm").get(confirm::page).post(confirm::mail),
        at("/account").get(account_page::account),
        at("/account/live").get(live::stream),
        at("/account/data.json").get(data::data),
        at("/account/email").post(address_page::request),
        at("/account/passkey-offer").post(passkey_offer::decline),
        at("/account/passkey-only").post(passkeys_page::passkey_only),
        at("/account/passkeys/remove").post(passkeys_page::remove),
        at("/account/recovery-codes").post(passkeys_page::make_codes),
        at("/account/tokens").post(tokens_page::create),
        at("/account/tokens/revoke").post(tokens_page::revoke),
        at("/account/providers/link").post(linked::link),
        at("/account/providers/unlink").post(linked::unlink),
        at("/account/delete").get(delete::page).post(delete::delete),
        at("/account/keep").post(delete::keep),
        at("/account/sessions/revoke").post(account_page::revoke).counted_by_session(),
        at("/account/sessions/revoke-others")
            .post(account_page::revoke_others)
            .counted_by_session(),
        at("/logout").post(account_page::logout).counted_by_session(),
    ]
}

/// Endpoints for signed-in users.
fn private() -> Vec<Row> {
    vec![
        at("/api/v1/auth/logout").post(sessions::logout),
        at("/api/v1/auth/email").post(address::request),
        at("/api/v1/auth/email/confirm").post(address::confirm),
        at("/api/v1/auth/events").scope(AccountRead).get(events::list),
        at("/api/v1/auth/providers").get(providers::list),
        at("/api/v1/auth/providers/{provider}").delete(providers::unlink),
        at("/api/v1/auth/providers/{provider}/link").post(providers::link),
        at("/api/v1/auth/passkey-only").put(passkeys::passkey_only),
        at("/api/v1/auth/passkeys").get(passkeys::list).post(passkeys::register),
        at("/api/v1/auth/passkeys/options").post(passkeys::registration_options),
        at("/api/v1/auth/passkeys/{id}").delete(passkeys::remove),
        at("/api/v1/auth/recovery-codes").post(recovery::codes),
        at("/api/v1/auth/tokens").get(tokens::list).post(tokens::create),
        at("/api/v1/auth/tokens/{id}").delete(tokens::revoke),
        at("/api/v1/auth/sessions").get(sessions::list).delete(sessions::end_others),
        at("/api/v1/auth/sessions/{handle}").delete(sessions::end),
        at("/api/v1/portfolio").scope(PortfolioRead).get(portfolio::show),
        at("/api/v1/portfolio/import").scope(PortfolioImport).post(imports::import),
        at("/api/v1/portfolio/import/upload")
            .scope(PortfolioImport)
            .post(imports::upload)
            .reading(limits::MAX_UPLOAD_BYTES),
        at("/api/v1/portfolio/import/events").scope(PortfolioImport).get(imports::events),
        at("/api/v1/portfolio/history").scope(PortfolioRead).get(portfolio::history),
        at("/api/v1/portfolio/export.csv")
            .scope(PortfolioRead)
            .get(portfolio::export_csv)
            .navigated(),
        at("/api/v1/portfolio/export.json")
            .scope(PortfolioRead)
            .get(portfolio::export_json)
            .navigated(),
        at("/api/v1/auth/steam").get(to_provider::steam_link).navigated(),
        at("/api/v1/auth/steam/callback").get(from_provider::steam_link).navigated(),
    ]
}

fn rows() -> impl Iterator<Item = (Access, Row)> {
    let under = |access| move |row| (access, row);
    (private().into_iter().map(under(Access::Private)))
        .chain(private_pages().into_iter().map(under(Access::PrivatePage)))
        .chain(public().into_iter().map(under(Access::Public)))
        .chain(public_pages().into_iter().map(under(Access::PublicPage)))
        .chain(device_proofs().into_iter().map(under(Access::DeviceProof)))
        .chain(no_session().into_iter().map(under(Access::NoSession)))
}

/// The table for the layers.
pub fn endpoints() -> Endpoints {
    rows().map(|(access, row)| row.endpoint(access)).collect()
}

/// The table as an axum router, with fallbacks for unknown paths and methods.
pub fn table() -> Router<App> {
    let answers = rows().map(|(_, row)| row.into_route());
    answers
        .fold(Router::new(), |table, (path, handlers)| table.route(path, handlers))
        .fallback(require_auth::no_such_route)
        .method_not_allowed_fallback(require_auth::no_such_method)
}

/// The whole service: the URL table inside its layers.
pub fn build(app: &App) -> impl HttpService {
    layered(app, table())
}

/// These routes inside the layers. The first layer listed is the outermost.
pub fn layered(app: &App, routes: Router<App>) -> impl HttpService {
    let arriving = app.clone();
    ServiceBuilder::new()
        .layer(app.proxies.clone())
        .map_request(move |request| context::arrive(&arriving, request))
        .layer(LogLayer::new(app.log_all_requests))
        .layer(app.security_headers())
        .layer(around(app.clone(), error_page::asked, error_page::as_page))
        .map_response(|response: axum::http::Response<_>| response.map(Body::new))
        .layer(CatchPanicLayer::custom(limits::after_panic))
        .layer(around((), limits::is_chunked, limits::close_after_chunks))
        .layer(ValidateRequestHeaderLayer::custom(limits::check_host))
        .layer(ValidateRequestHeaderLayer::custom(limits::check_framing))
        .layer(TimeLimit::new(app.request_timeout))
        // This comes before the limit, so that requests caused by another site do not use up the
        // visitor's.
        .layer(csrf::isolation())
        .layer(switch(resubmit::holds_a_link, from_fn_with_state(app.clone(), resubmit::keep)))
        .layer(PrefetchLayer::new(app.sessions.clone(), limits::is_limited))
        .layer(app.auth_limit.clone().only(limits::is_limited))
        .layer(csrf::origin(app))
        // A request with a token has no session to load.
        .layer(switch(
            bearer::presents_token,
            from_fn_with_state(app.clone(), bearer::authenticate),
        ))
        .layer(switch(require_auth::is_personal, SessionLayer::new(app.sessions.clone())))
        .layer(around((), error_page::session, error_page::note_person))
        .layer(switch(kept_form::is_kept, from_fn_with_state(app.clone(), kept_form::keep)))
        // `RequireAuth` comes before the CSRF check, so that an ended session is 401 whatever the
        // token.
        .layer(require_auth::require_auth(app.clone(), to_sign_in, device_page::to_proof))
        .layer(csrf::token_in_header(app))
        .layer(switch(csrf::is_form, from_fn_with_state(app.clone(), expired_form::help)))
        .layer(csrf::token_in_form(app))
        .layer(switch(
            limits::is_counted_by_session,
            from_fn_with_state(app.clone(), limits::count_session),
        ))
        .service(routes.with_state(app.clone()))
}
