//! Empty types in place of certificates, for a build without TLS.

/// A build without TLS can have no authorities.
pub(super) enum RedisAuthorities {}

/// A build without TLS can have no certificates.
#[derive(Clone)]
pub(super) enum TlsCertificates {}

impl RedisAuthorities {
    pub(super) fn certificates(&self) -> TlsCertificates {
        match *self {}
    }
}
