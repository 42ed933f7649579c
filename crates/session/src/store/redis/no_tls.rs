//! What stands in for certificates in a build without TLS: nothing that there could be.

/// None there are.
pub(super) enum RedisAuthorities {}

/// None there are.
#[derive(Clone)]
pub(super) enum TlsCertificates {}

impl RedisAuthorities {
    pub(super) fn certificates(&self) -> TlsCertificates {
        match *self {}
    }
}
