//! Sign-in by e-mail: asking for a link, redeeming it. The pages for it are in
//! [`crate::pages::sign_in`].

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use http::{HeaderMap, HeaderValue, header};
use serde::Deserialize;
use serde_json::json;
use tracera_session::Session;

use crate::api::account::UserBody;
use crate::auth::events::{ClientInfo, Kind};
use crate::auth::magic_link::{ClaimError, MagicLinks, Proof, Requester};
use crate::auth::sign_in::{SignInMethod, on_mailbox_verified, sign_in};
use crate::clock::utc;
use crate::domain::email::Email;
use crate::http::App;
use crate::http::csrf::Binding;
use crate::http::error::{AppError, AppResult};
use crate::http::extract::ApiJson;
use crate::store::magic_links::ClaimedLink;
use crate::store::users::{self, User};
use crate::telemetry::RequestId;
use crate::telemetry::task::run_to_completion;

/// The body of a request for a link.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkRequest {
    email: String,
}

/// `POST /api/v1/auth/magic/request`
pub async fn request(
    State(app): State<App>,
    session: Session,
    visit: ClientInfo,
    binding: Binding,
    headers: HeaderMap,
    ApiJson(body): ApiJson<LinkRequest>,
) -> AppResult<impl IntoResponse> {
    let email = Email::parse(&body.email)
        .map_err(|error| AppError::bad_request("invalid_email", error.to_string()))?;
    send_link(&app, email, &visit, &binding).await?;
    let cookie =
        session.binding().is_none().then(|| [(header::SET_COOKIE, app.visitor(&headers).1)]);
    Ok((
        cookie,
        Json(
            json!({ "message": "if the address can sign in here, a mail with a link is on its way" }),
        ),
    ))
}

/// Sends a link to `email` on behalf of a visitor.
///
/// # Errors
/// 404 `method_not_configured`; 503 when something it needs does not answer.
pub async fn send_link(
    app: &App,
    email: Email,
    visit: &ClientInfo,
    binding: &Binding,
) -> AppResult<()> {
    let requester =
        Requester { binding: Some(binding), client: visit.client.clone(), ip: visit.ip };
    links(app)?.request(email, &requester, utc(app.clock.now())).await
}

/// The body of a redemption: the token of a link, or the code of a mail in the browser that asked
/// for it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redemption {
    token: Option<String>,
    code: Option<String>,
}

impl Redemption {
    /// Of a link.
    pub fn token(token: String) -> Self {
        Self { token: Some(token), code: None }
    }

    /// Of a code.
    pub fn code(code: String) -> Self {
        Self { token: None, code: Some(code) }
    }
}

/// `POST /api/v1/auth/magic/verify`
pub async fn verify(
    State(app): State<App>,
    session: Session,
    visit: ClientInfo,
    binding: Binding,
    ApiJson(body): ApiJson<Redemption>,
) -> AppResult<impl IntoResponse> {
    let (user, device) = redeem(&app, &session, visit, binding, body).await?;
    Ok(([(header::SET_COOKIE, device)], Json(json!({ "user": UserBody::from(user) }))))
}

/// Uses a link up and signs its owner in. Returns them and the cookie to set beside the session's.
///
/// # Errors
/// 400 `link_invalid` when it does not work, `malformed_body` when it is neither a token nor a
/// code; 503 when something it needs does not answer, and then the link works again.
pub async fn redeem(
    app: &App,
    session: &Session,
    visit: ClientInfo,
    binding: Binding,
    with: Redemption,
) -> AppResult<(User, HeaderValue)> {
    let links = links(app)?.clone();
    let (app, session) = (app.clone(), session.clone());
    run_to_completion(async move {
        let now = utc(app.clock.now());
        let proof = match (&with.token, &with.code) {
            (Some(token), None) => Proof::Token(token),
            (None, Some(code)) => Proof::Code(code, &binding),
            _ => {
                return Err(AppError::bad_request(
                    "malformed_body",
                    "send either a token or a code",
                ));
            }
        };
        let claimed = match links.claim(proof, now).await {
            Err(ClaimError::FirstWrongCode(email)) => {
                // Not waited for, so that the answer takes the same time whether there is an
                // account.
                RequestId::spawn(note_wrong_code(app, email.clone(), visit));
                return Err(ClaimError::FirstWrongCode(email).into());
            }
            claimed => claimed?,
        };
        match enter(&app, &session, &claimed, &visit).await {
            Ok(entered) => Ok(entered),
            Err(error) => {
                links.release(&claimed).await;
                Err(error)
            }
        }
    })
    .await
}

/// Tells the owner of the account that somebody guessed: once for each code that was sent.
async fn note_wrong_code(app: App, email: Email, visit: ClientInfo) {
    match users::find_by_email(&app.database, &email).await {
        Ok(Some(user)) => {
            let now = utc(app.clock.now());
            app.events.record(user.id, Kind::SignInFailed, Some("email"), &visit, now).await;
        }
        Ok(None) => {}
        Err(error) => tracing::error!(%error, "a wrong code could not be noted"),
    }
}

async fn enter(
    app: &App,
    session: &Session,
    claimed: &ClaimedLink,
    visit: &ClientInfo,
) -> AppResult<(User, HeaderValue)> {
    let now = utc(app.clock.now());
    let (user, _) =
        users::find_or_create_by_verified_email(&app.database, &claimed.email, now).await?;
    let user = on_mailbox_verified(app, session, user, visit).await?;
    let device = sign_in(app, session, &user, SignInMethod::Mailbox(claimed), visit).await?;
    Ok((user, device))
}

/// Sign-in by e-mail, if this server sends mail.
///
/// # Errors
/// 404 `method_not_configured`.
pub fn links(app: &App) -> AppResult<&MagicLinks> {
    app.magic_links.as_ref().ok_or_else(|| {
        AppError::new(
            http::StatusCode::NOT_FOUND,
            "method_not_configured",
            "this server does not send mail; its operator has to set SMTP_URL or RESEND_API_KEY",
        )
    })
}
