//! The process's single TLS implementation.

use std::sync::Once;

/// Makes ring the process-wide provider of rustls. Must be called before the first HTTPS client is
/// built; repeated calls have no effect.
pub fn install_provider() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // It fails only if a provider is already installed, which is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// A remedy for a TLS error that rustls describes only by a rule's name. `variable` names the file
/// of authorities for such servers.
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

/// The reason, with a remedy if one is known.
pub(crate) fn with_remedy(reason: String, variable: &str) -> String {
    match remedy(&reason, variable) {
        Some(remedy) => format!("{reason}; {remedy}"),
        None => reason,
    }
}
