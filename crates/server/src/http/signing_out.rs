//! Response headers for signing out, besides the cleared cookie.

use http::{HeaderName, HeaderValue};

/// Makes the browser delete cached and stored data of the user.
pub fn clear_site_data() -> [(HeaderName, HeaderValue); 1] {
    [(
        HeaderName::from_static("clear-site-data"),
        HeaderValue::from_static("\"cache\", \"storage\""),
    )]
}
