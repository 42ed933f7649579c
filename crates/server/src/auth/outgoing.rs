//! Requests to providers, with a limit on everything: ten seconds, no redirects, a small answer,
//! certificates checked. An error never holds the URL.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;

use crate::{error_chain, http_client};

/// From the first packet to the last byte of the answer.
pub const LIMIT: Duration = Duration::from_secs(10);
/// The largest answer that is read.
const MAX_ANSWER_BYTES: usize = 256 * 1024;

/// A client for providers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Outgoing(reqwest::Client);

/// An answer, whatever its status.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// All of the body.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum OutgoingError {
    /// No connection in time, or no answer, or not all of it.
    #[error("no answer in time: {0}")]
    TimedOut(String),
    /// No connection: the request was not seen by anybody.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// Cut off, or not HTTP.
    #[error("no answer: {0}")]
    Broken(String),
    /// More than 256 KiB.
    #[error("the answer is too large")]
    TooLarge,
    /// Not the JSON that was expected.
    #[error("the answer is not the JSON expected")]
    Json,
}

impl Outgoing {
    /// A client.
    ///
    /// # Panics
    /// If TLS cannot be initialised, which is a defect of the build.
    pub fn new() -> Self {
        Self(http_client::builder(LIMIT).build().expect("these settings make a client"))
    }

    /// Begins a GET.
    pub fn get(&self, url: &str) -> reqwest::RequestBuilder {
        self.0.get(url)
    }

    /// Begins a POST.
    pub fn post(&self, url: &str) -> reqwest::RequestBuilder {
        self.0.post(url)
    }
}

impl Default for Outgoing {
    fn default() -> Self {
        Self::new()
    }
}

/// Sends the request once.
///
/// # Errors
/// [`OutgoingError`].
pub async fn send(request: reqwest::RequestBuilder) -> Result<Answer, OutgoingError> {
    let mut response = request.send().await.map_err(OutgoingError::from)?;
    let (status, headers) = (response.status(), response.headers().clone());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(OutgoingError::from)? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(OutgoingError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, headers, body: body.into() })
}

impl Answer {
    /// The body as JSON, whatever the content type says.
    ///
    /// # Errors
    /// [`OutgoingError::Json`].
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, OutgoingError> {
        // The parser's own message may quote the answer, and a token with it.
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
        // Any server will do that begins with TLS and has a certificate of its own making.
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
