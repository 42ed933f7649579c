//! The one TLS implementation of the process.

use std::sync::Once;

/// Makes ring the provider of rustls for the whole process; to be called before the first HTTPS
/// client is built. May be called any number of times.
pub fn install_provider() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // It fails only if there is a provider already, which does as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// What to do about a certificate of which rustls says only the name of its rule.
pub fn remedy(reason: &str) -> Option<&'static str> {
    reason.contains("CaUsedAsEndEntity").then_some(
        "the server presents a certificate that is marked as an authority's: issue it one of its own, with \
         basicConstraints=CA:FALSE",
    )
}
