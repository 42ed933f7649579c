//! Extractors: bodies and paths, parsed strictly, with this service's own error messages; and the
//! caller.

use std::borrow::Cow;
use std::error::Error;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{Method, StatusCode, header};
use serde::de::DeserializeOwned;
use tracera_guard::ClientAddr;
use tracera_session::{CurrentUser, Session};
use url::form_urlencoded;

use crate::actions::{Caller, user_id};
use crate::auth::client::{Client, ClientInfo};
use crate::error_chain::causes;
use crate::http::error::AppError;
use crate::http::{App, cookies};

/// Maximum length of a hint: it names an unknown parameter and all known ones.
const MAX_HINT_BYTES: usize = 400;

/// A JSON body. Its types must refuse unknown fields.
#[derive(Debug)]
pub struct ApiJson<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for ApiJson<T> {
    type Rejection = AppError;

    async fn from_request(request: Request, state: &S) -> Result<Self, AppError> {
        match Json::<T>::from_request(request, state).await {
            Ok(Json(value)) => Ok(Self(value)),
            Err(rejection) => Err(refusal(&rejection)),
        }
    }
}

/// A path parameter. An invalid one is 404, like a path that does not exist.
#[derive(Debug)]
pub struct ApiPath<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for ApiPath<T> {
    type Rejection = AppError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, AppError> {
        let Path(value) =
            Path::from_request_parts(parts, state).await.map_err(|_| AppError::not_found())?;
        Ok(Self(value))
    }
}

impl FromRequestParts<App> for ClientInfo {
    type Rejection = AppError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, AppError> {
        let address = ClientAddr::from_request_parts(parts, app).await;
        let ip = address.map_err(|_| AppError::internal("no client address on this route"))?.ip();
        let agent = parts.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        let device_token = cookies::device(app.is_https()).read(&parts.headers);
        Ok(Self {
            client: Client::from_user_agent(agent.unwrap_or_default()),
            ip,
            device_token: device_token.map(ToOwned::to_owned),
        })
    }
}

/// A navigation of a user's browser. HEAD requests and prefetches start nothing and use nothing up:
/// they never reach the handler.
#[derive(Clone, Copy, Debug)]
pub struct Navigation;

impl<S: Sync> FromRequestParts<S> for Navigation {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        if parts.method == Method::HEAD {
            return Err(StatusCode::NO_CONTENT.into_response());
        }
        let is_fetched_ahead =
            ["sec-purpose", "purpose", "x-purpose", "x-moz"].iter().any(|name| {
                let values =
                    parts.headers.get_all(*name).iter().filter_map(|value| value.to_str().ok());
                values.map(str::to_ascii_lowercase).any(|value| value.contains("prefetch"))
            });
        // Browsers discard a failed prefetch, and send the request again when it is needed.
        if is_fetched_ahead {
            let error = AppError::new(
                StatusCode::FORBIDDEN,
                "not_ahead",
                "this address begins something and is not to be fetched ahead",
            );
            return Err(error.into_response());
        }
        Ok(Self)
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = AppError;

    /// 401 if nobody is signed in.
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, AppError> {
        let session = Session::from_request_parts(parts, app).await?;
        let CurrentUser(id) = CurrentUser::from_request_parts(parts, app).await?;
        let client = ClientInfo::from_request_parts(parts, app).await?;
        Ok(Self { session, user: user_id(&id)?, id, client })
    }
}

fn refusal(rejection: &JsonRejection) -> AppError {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => AppError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "send the body as JSON with Content-Type: application/json",
        ),
        _ => {
            let sentence = "the body is not the JSON expected here";
            let hint = wrong_field(rejection).map_or_else(
                || format!("{sentence}: check its syntax, its fields and their types"),
                |field| format!("{sentence}: {field}"),
            );
            AppError::bad_request("malformed_body", hint)
        }
    }
}

/// 400: the query has an unknown parameter or an invalid value.
pub fn malformed_query(rejection: &QueryRejection) -> AppError {
    let sentence = "the query has a parameter that is not known here, or a value that is not";
    let hint = wrong_field(rejection).map_or_else(
        || format!("{sentence}; see the API's documentation"),
        |field| format!("the query is not the one expected here: {field}"),
    );
    AppError::bad_request("malformed_query", hint)
}

/// The parser's message about a field name. Messages about values are dropped, because they quote
/// the value.
fn wrong_field(rejection: &(dyn Error + 'static)) -> Option<String> {
    let said = causes(rejection).last()?.to_string();
    // The message starts with the position in the body.
    let said = said.split_once(": ").map_or(&*said, |(_, said)| said);
    let of_a_name = ["unknown field `", "missing field `", "duplicate field `"];
    let is_short = said.len() <= MAX_HINT_BYTES;
    (is_short && of_a_name.iter().any(|beginning| said.starts_with(beginning)))
        .then(|| said.to_owned())
}

/// 413: the body exceeds the limit.
pub fn too_large() -> AppError {
    AppError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "the body is too large")
}

/// The value of a form field; `None` unless the field occurs exactly once.
pub fn field<'a>(form: &'a [u8], name: &str) -> Option<Cow<'a, str>> {
    let mut fields = form_urlencoded::parse(form).filter(|(found, _)| found == name);
    match (fields.next(), fields.next()) {
        (Some((_, value)), None) => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::field;

    #[test]
    fn a_field_is_there_exactly_once() {
        for (body, token) in [
            ("token=a%2Db&email=x", Some("a-b")),
            ("email=x&token=a", Some("a")),
            ("token=", Some("")),
            ("token=a&token=a", None),
            ("token=a&%74oken=b", None),
            ("{\"token\":\"a\"}", None),
            ("", None),
        ] {
            assert_eq!(field(body.as_bytes(), "token").as_deref(), token, "{body}");
        }
    }
}
