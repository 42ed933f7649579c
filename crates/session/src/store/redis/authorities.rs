//! Private certificate authorities.

use std::fmt;
use std::sync::Arc;

use redis::{ClientTlsConfig, TlsCertificates};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

type Pem = Arc<[u8]>;

/// The certificate authorities trusted for Redis servers, and this client's certificate.
///
/// ```
/// use tracera_session::{RedisAuthorities, RedisConnection, RedisLimits};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let authorities = RedisAuthorities::from_pem(&std::fs::read("/etc/redis/ca.pem")?)?;
/// let url = "rediss://redis.internal";
/// let redis = RedisConnection::open_trusting(url, RedisLimits::default(), &authorities).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisAuthorities {
    /// In PEM form; `None` for the public authorities.
    roots: Option<Pem>,
    /// Chain and key in PEM form.
    client: Option<(Pem, Pem)>,
}

/// The PEM data is not usable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidAuthorities {
    /// There is no certificate in PEM form.
    #[error("no certificate in PEM form")]
    Empty,
    /// A certificate cannot be read.
    #[error("a certificate that cannot be read: {0}")]
    Unreadable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// There is no private key in PEM form.
    #[error("no private key in PEM form: {0}")]
    Key(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl RedisAuthorities {
    /// The public authorities.
    pub fn public() -> Self {
        Self { roots: None, client: None }
    }

    /// Presents this certificate to servers that ask for one. Both are in PEM form; `chain` is the
    /// certificate followed by its intermediates.
    ///
    /// # Errors
    /// [`InvalidAuthorities`] when there is no certificate or no key.
    pub fn with_client(self, chain: &[u8], key: &[u8]) -> Result<Self, InvalidAuthorities> {
        let mut certificates = CertificateDer::pem_slice_iter(chain);
        match certificates.next() {
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(InvalidAuthorities::Unreadable(error.into())),
            None => return Err(InvalidAuthorities::Empty),
        }
        PrivateKeyDer::from_pem_slice(key)
            .map_err(|error| InvalidAuthorities::Key(error.into()))?;
        Ok(Self { client: Some((chain.into(), key.into())), ..self })
    }

    /// From the authorities' concatenated certificates in PEM form.
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
        if roots.is_empty() {
            return Err(InvalidAuthorities::Empty);
        }
        Ok(Self { roots: Some(pem.into()), client: None })
    }

    pub(super) fn certificates(&self) -> TlsCertificates {
        let client = self.client.as_ref().map(|(chain, key)| ClientTlsConfig {
            client_cert: chain.to_vec(),
            client_key: key.to_vec(),
        });
        TlsCertificates {
            client_tls: client,
            root_cert: self.roots.as_ref().map(|roots| roots.to_vec()),
        }
    }
}

impl fmt::Debug for RedisAuthorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisAuthorities")
    }
}
