//! Sign-in by e-mail: asking for a link, redeeming it. The pages for it are in [`crate::web::sign_in`].

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::response::IntoResponse;
use http::request::Parts;
use http::{HeaderMap, header};
use serde::Deserialize;
use serde_json::{Value, json};
use tracera_guard::ClientAddr;
use tracera_session::{Session, SignIn, UserId};

use crate::app::App;
use crate::app::csrf::Binding;
use crate::auth::client::Client;
use crate::auth::email::Email;
use crate::auth::magic_link::{Asker, MagicLinks, Proof};
use crate::clock::utc;
use crate::error::{AppError, AppResult};
use crate::extract::ApiJson;
use crate::routes::account::UserBody;
use crate::store::magic_links::ClaimedLink;
use crate::store::users::{self, User};

/// Who asks for a link or redeems one.
#[derive(Debug, Clone)]
pub struct Visitor {
    binding: Binding,
    client: Client,
    addr: ClientAddr,
}

impl FromRequestParts<App> for Visitor {
    type Rejection = AppError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> AppResult<Self> {
        let addr = ClientAddr::from_request_parts(parts, app).await.map_err(AppError::internal)?;
        let binding = Binding::from_request_parts(parts, app).await?;
        Ok(Self { binding, client: Client::from_headers(&parts.headers), addr })
    }
}

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
    visitor: Visitor,
    headers: HeaderMap,
    ApiJson(body): ApiJson<LinkRequest>,
) -> AppResult<impl IntoResponse> {
    let email = Email::parse(&body.email)
        .map_err(|error| AppError::bad_request("invalid_email", error.to_string()))?;
    send_link(&app, email, &visitor).await?;
    let cookie = session.binding().is_none().then(|| [(header::SET_COOKIE, app.visitor(&headers).1)]);
    Ok((
        cookie,
        Json(json!({ "message": "if the address can sign in here, a mail with a link is on its way" })),
    ))
}

/// Sends a link to `email` on behalf of a visitor.
///
/// # Errors
/// 404 `method_not_configured`; 503 when something it needs does not answer.
pub async fn send_link(app: &App, email: Email, visitor: &Visitor) -> AppResult<()> {
    let asker =
        Asker { binding: &visitor.binding, client: visitor.client.clone(), ip: visitor.addr.ip() };
    links(app)?.request(email, &asker, utc(app.clock.now())).await
}

/// The body of a redemption: the token of a link, or the code of a mail in the browser that asked for it.
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
    visitor: Visitor,
    ApiJson(body): ApiJson<Redemption>,
) -> AppResult<Json<Value>> {
    let user = redeem(&app, &session, visitor, body).await?;
    Ok(Json(json!({ "user": UserBody::from(user) })))
}

/// Uses a link up and signs its owner in.
///
/// # Errors
/// 400 `link_invalid` when it does not work, `malformed_body` when it is neither a token nor a code; 503 when something
/// it needs does not answer, and then the link works again.
pub async fn redeem(app: &App, session: &Session, visitor: Visitor, with: Redemption) -> AppResult<User> {
    let links = links(app)?.clone();
    let (app, session) = (app.clone(), session.clone());
    // A task of its own: a client that hangs up cannot leave a link used without a session.
    let redeeming = tokio::spawn(async move {
        let now = utc(app.clock.now());
        let proof = match (&with.token, &with.code) {
            (Some(token), None) => Proof::Token(token),
            (None, Some(code)) => Proof::Code(code, &visitor.binding),
            _ => return Err(AppError::bad_request("malformed_body", "send either a token or a code")),
        };
        let claimed = links.claim(proof, now).await?;
        match sign_in(&app, &session, &claimed, &visitor).await {
            Ok(user) => Ok(user),
            Err(error) => {
                links.release(&claimed).await;
                Err(error)
            }
        }
    });
    redeeming.await.map_err(AppError::internal)?
}

async fn sign_in(
    app: &App,
    session: &Session,
    claimed: &ClaimedLink,
    visitor: &Visitor,
) -> AppResult<User> {
    let now = utc(app.clock.now());
    let (user, created) = users::find_or_create_by_verified_email(&app.database, &claimed.email, now).await?;
    let id = UserId::new(user.id.as_bytes()).map_err(AppError::internal)?;
    let sign_in = SignIn::new(id, "email").client(&visitor.client.label()).address(visitor.addr.ip());
    session.sign_in(sign_in).await?;
    tracing::info!(event = "signed_in", user = %user.id, method = "email", created, "signed in");
    Ok(user)
}

fn links(app: &App) -> AppResult<&MagicLinks> {
    app.magic_links.as_ref().ok_or_else(|| {
        AppError::new(
            http::StatusCode::NOT_FOUND,
            "method_not_configured",
            "this server does not send mail; its operator has to set SMTP_URL or RESEND_API_KEY",
        )
    })
}
