//! Headers of an answer that ends a session, besides the cleared cookie.

use http::{HeaderName, HeaderValue};

/// The header by which a browser forgets what it kept of a person who signs out.
pub fn clear_site_data() -> [(HeaderName, HeaderValue); 1] {
    [(
        HeaderName::from_static("clear-site-data"),
        HeaderValue::from_static("\"cache\", \"storage\""),
    )]
}
