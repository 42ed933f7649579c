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
