//! Certificate authorities of one's own.

use std::fmt;
use std::sync::Arc;

use redis::TlsCertificates;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// The authorities that vouch for Redis servers, in place of the public ones.
#[derive(Clone)]
pub struct RedisAuthorities(Arc<[u8]>);

/// There are no certificates, or not of authorities.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidAuthorities {
    /// There is no certificate in PEM form.
    #[error("no certificate in PEM form")]
    Empty,
    /// A certificate cannot be read.
    #[error("a certificate that cannot be read: {0}")]
    Unreadable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl RedisAuthorities {
    /// Takes their certificates in PEM form, one after the other.
    ///
    /// # Errors
    /// [`InvalidAuthorities`] when there is none, or one cannot be read.
    pub fn from_pem(pem: &[u8]) -> Result<Self, InvalidAuthorities> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate =
                certificate.map_err(|error| InvalidAuthorities::Unreadable(error.into()))?;
            roots.add(certificate).map_err(|error| InvalidAuthorities::Unreadable(error.into()))?;
        }
        if roots.is_empty() { Err(InvalidAuthorities::Empty) } else { Ok(Self(pem.into())) }
    }

    pub(super) fn certificates(&self) -> TlsCertificates {
        TlsCertificates { client_tls: None, root_cert: Some(self.0.to_vec()) }
    }
}

impl fmt::Debug for RedisAuthorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisAuthorities")
    }
}
