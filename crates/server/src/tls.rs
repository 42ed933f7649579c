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

/// What to do about a failure of TLS of which rustls says only the name of its rule. The
/// `variable` names the file of authorities for such servers.
pub fn remedy(reason: &str, variable: &str) -> Option<String> {
    if reason.contains("CaUsedAsEndEntity") {
        Some(
            "the server presents a certificate that is marked as an authority's: issue it one of \
             its own, with basicConstraints=CA:FALSE"
                .to_owned(),
        )
    } else if reason.contains("UnknownIssuer") {
        Some(format!(
            "set {variable} to a PEM file with the certificate of the authority that issued the \
             server's"
        ))
    } else if reason.contains("InvalidContentType") {
        Some("what answers there does not speak TLS: check scheme and port".to_owned())
    } else {
        None
    }
}

/// The reason, and what to do about it if that is known.
pub(crate) fn with_remedy(reason: String, variable: &str) -> String {
    match remedy(&reason, variable) {
        Some(remedy) => format!("{reason}; {remedy}"),
        None => reason,
    }
}
