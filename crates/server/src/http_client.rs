//! The client of every HTTP request that the server makes itself.
//!
//! 1. It names itself: some services refuse requests without a `User-Agent`.
//! 2. Redirects are not followed. A key or a code is for the configured host alone.
//! 3. Certificates are checked against the system's authorities, or those of `SSL_CERT_FILE`.

use std::time::Duration;

use reqwest::redirect::Policy;

use crate::tls;

/// The value of `User-Agent`.
pub(crate) const USER_AGENT: &str = concat!("Tracera/", env!("CARGO_PKG_VERSION"));

/// How long a connection may take, TLS included.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// A client for requests that take no longer than `limit`.
pub(crate) fn builder(limit: Duration) -> reqwest::ClientBuilder {
    tls::install_provider();
    reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .redirect(Policy::none())
        .connect_timeout(CONNECT_LIMIT)
        .timeout(limit)
}
