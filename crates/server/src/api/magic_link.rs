//! Sign-in by e-mail: requesting a link and redeeming it.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use http::{HeaderMap, header};
use serde::Deserialize;
use serde_json::json;
use tracera_guard::CsrfBinding;
use tracera_session::Session;

use crate::actions::magic_link::redeem;
use crate::auth::client::ClientInfo;
use crate::auth::magic_link::{Credential, Requester, Secret};
use crate::domain::email::Email;
use crate::http::error::{AppError, AppResult};
use crate::http::extract::ApiJson;
use crate::http::json::UserBody;
use crate::http::{App, cookies};

/// The body of a request for a link.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkRequest {
    email: String,
}

/// `POST /api/v1/auth/magic/request`
pub async fn request(
    State(app): State<App>,
    client: ClientInfo,
    binding: CsrfBinding,
    ApiJson(body): ApiJson<LinkRequest>,
) -> AppResult<impl IntoResponse> {
    let email = Email::parse(&body.email)
        .map_err(|error| AppError::bad_request("invalid_email", error.to_string()))?;
    let requester = Requester { browser: Some(binding.as_bytes()), client: &client, waiting: None };
    app.mailed_links()?.request(email, &requester, app.now()).await?;
    let cookie = binding.set_cookie().map(|cookie| [(header::SET_COOKIE, cookie)]);
    Ok((
        cookie,
        Json(json!({ "message": "if the address can sign in here, a mail with a link is on its \
                way" })),
    ))
}

/// The body of a redemption: the token of a link, or the code from the same mail in the requesting
/// browser.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redemption {
    token: Option<String>,
    code: Option<String>,
}

impl Redemption {
    fn into_credential(
        self,
        binding: &CsrfBinding,
        transaction: Option<&str>,
    ) -> AppResult<Credential> {
        let credential = |secret| Credential {
            secret,
            browser: binding.as_bytes().to_vec(),
            transaction: transaction.map(ToOwned::to_owned),
        };
        match (self.token, self.code) {
            (Some(token), None) => Ok(credential(Secret::Token(token))),
            (None, Some(code)) => Ok(credential(Secret::Code(code))),
            _ => Err(AppError::bad_request("malformed_body", "send either a token or a code")),
        }
    }
}

/// `POST /api/v1/auth/magic/verify`
pub async fn verify(
    State(app): State<App>,
    session: Session,
    client: ClientInfo,
    binding: CsrfBinding,
    headers: HeaderMap,
    ApiJson(body): ApiJson<Redemption>,
) -> AppResult<impl IntoResponse> {
    let transaction = cookies::transaction(app.is_https());
    let credential = body.into_credential(&binding, transaction.read(&headers))?;
    let links = app.mailed_links()?.clone();
    let entered = redeem(app.accounts(), links, session, client, credential, None).await?;
    let device = cookies::device(app.is_https()).set(&entered.device_token);
    let body = json!({ "user": UserBody::from(entered.user) });
    Ok(([(header::SET_COOKIE, device)], Json(body)))
}
