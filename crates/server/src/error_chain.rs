//! Formats an error and its causes on one line.

use std::error::Error;

use crate::tls;

/// The error with all its causes: "error sending request" alone is of no help.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    for error in causes(error).skip(1) {
        let text = error.to_string();
        if !line.ends_with(&text) {
            line = format!("{line}: {text}");
        }
    }
    line
}

/// The error, its source, the source of that, and so on.
pub(crate) fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// The chain of a request's error, with a remedy for certificate errors. It omits the URL, which
/// may contain an id or a key.
pub(crate) fn of_request(error: reqwest::Error) -> String {
    tls::with_remedy(chain(&error.without_url()), "SSL_CERT_FILE")
}
