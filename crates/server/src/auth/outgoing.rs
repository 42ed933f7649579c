//! HTTP requests to providers, with strict limits: ten seconds, no redirects, a small response,
//! verified certificates. Errors never contain the URL.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;

use crate::error_chain;
use crate::http_client::{self, BodyError};
use crate::telemetry::trace;

/// Timeout from connecting to the last byte of the response.
pub const LIMIT: Duration = Duration::from_secs(10);
/// Maximum size of a response body.
const MAX_ANSWER_BYTES: usize = 256 * 1024;

/// An HTTP client for providers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Outgoing(reqwest::Client);

/// A response of any status.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub enum OutgoingError {
    /// The connection or the whole response took too long.
    #[error("no answer in time: {0}")]
    TimedOut(String),
    /// The connection failed, so the server did not receive the request.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The response was cut off or was not HTTP.
    #[error("no answer: {0}")]
    Broken(String),
    /// The body exceeds 256 KiB.
    #[error("the answer is too large")]
    TooLarge,
    /// The body is not the expected JSON.
    #[error("the answer is not the JSON expected")]
    Json,
}

impl Outgoing {
    /// Creates a client.
    ///
    /// # Panics
    /// If TLS cannot be initialised, which is a bug in the build.
    pub fn new() -> Self {
        Self(http_client::builder(LIMIT).build().expect("these settings make a client"))
    }

    /// Starts a GET request.
    pub fn get(&self, url: &str) -> reqwest::RequestBuilder {
        self.0.get(url)
    }

    /// Starts a POST request.
    pub fn post(&self, url: &str) -> reqwest::RequestBuilder {
        self.0.post(url)
    }
}

impl Default for Outgoing {
    fn default() -> Self {
        Self::new()
    }
}

/// Sends the request once, without retries.
///
/// # Errors
/// [`OutgoingError`].
pub async fn send(request: reqwest::RequestBuilder) -> Result<Answer, OutgoingError> {
    let response = trace::send(request).await.map_err(OutgoingError::from)?;
    let (status, headers) = (response.status(), response.headers().clone());
    let body =
        http_client::body(response, MAX_ANSWER_BYTES).await.map_err(|error| match error {
            BodyError::TooLarge => OutgoingError::TooLarge,
            BodyError::Broken(error) => error.into(),
        })?;
    Ok(Answer { status, headers, body: body.into() })
}

impl Answer {
    /// Parses the body as JSON, whatever its content type.
    ///
    /// # Errors
    /// [`OutgoingError::Json`].
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, OutgoingError> {
        // The parser's own message may quote the response, including a token.
        serde_json::from_slice(&self.body).map_err(|_| OutgoingError::Json)
    }
}

impl From<reqwest::Error> for OutgoingError {
    fn from(error: reqwest::Error) -> Self {
        let kind = match &error {
            error if error.is_timeout() => Self::TimedOut,
            error if error.is_connect() => Self::Connect,
            _ => Self::Broken,
        };
        kind(error_chain::of_request(error))
    }
}

#[cfg(test)]
mod tests {
    use tracera_testkit::{SmtpMode, SmtpServer};

    use super::*;

    #[tokio::test]
    async fn a_certificate_nobody_vouches_for_is_not_talked_to() {
        // Any TLS server with a self-signed certificate will do.
        let stranger = SmtpServer::start(SmtpMode::ImplicitTls).await;
        let url = format!("https://localhost:{}/token", stranger.port());
        let error = send(Outgoing::new().post(&url).body("code=canary")).await.unwrap_err();
        assert!(
            matches!(&error, OutgoingError::Connect(text) if text.contains("certificate")),
            "{error}"
        );
        assert!(!error.to_string().contains("localhost"), "{error}");
    }
}
