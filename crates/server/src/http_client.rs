//! The HTTP client for all outgoing requests of the server.
//!
//! 1. It sends a `User-Agent`: some services refuse requests without one.
//! 2. It follows no redirects: keys and codes are for the configured host alone.
//! 3. It verifies certificates against the system's authorities, or those of `SSL_CERT_FILE`.

use std::time::Duration;

use reqwest::redirect::Policy;

use crate::tls;

/// The value of `User-Agent`.
pub(crate) const USER_AGENT: &str = concat!("Tracera/", env!("CARGO_PKG_VERSION"));

/// Timeout for connecting, including TLS.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// A client whose requests time out after `limit`.
pub(crate) fn builder(limit: Duration) -> reqwest::ClientBuilder {
    tls::install_provider();
    reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .redirect(Policy::none())
        .connect_timeout(CONNECT_LIMIT)
        .timeout(limit)
}

/// Why the body of a response cannot be used.
#[derive(Debug)]
pub(crate) enum BodyError {
    /// The body exceeds the limit.
    TooLarge,
    /// The connection failed.
    Broken(reqwest::Error),
}

/// Reads the body of a response, of at most `limit` bytes.
pub(crate) async fn body(
    mut response: reqwest::Response,
    limit: usize,
) -> Result<Vec<u8>, BodyError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(BodyError::Broken)? {
        if body.len() + chunk.len() > limit {
            return Err(BodyError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
