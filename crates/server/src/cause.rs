//! Why something failed, on one line.

use std::error::Error;

/// An error with everything that led to it: "error sending request" alone helps nobody.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let text = error.to_string();
        if !line.ends_with(&text) {
            line = format!("{line}: {text}");
        }
        source = error.source();
    }
    line
}

/// The same of a request, without its address: it may hold an id or a key.
pub(crate) fn of_request(error: reqwest::Error) -> String {
    chain(&error.without_url())
}
