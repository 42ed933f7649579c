//! A certificate for `localhost` and 127.0.0.1, from a new certificate authority.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::process::run;

const CONFIGURATION: &str = "
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
[server]
basicConstraints = critical, CA:FALSE
extendedKeyUsage = serverAuth, clientAuth
subjectAltName = DNS:localhost, IP:127.0.0.1
[both]
basicConstraints = critical, CA:TRUE
subjectAltName = DNS:localhost, IP:127.0.0.1
";

/// PEM files, deleted when dropped.
#[derive(Debug)]
pub struct Certificate {
    authority: PathBuf,
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
    _directory: TempDir,
}

impl Certificate {
    /// Makes an authority and a certificate signed by it.
    pub async fn create() -> Self {
        Self::create_with(true).await
    }

    /// Makes an authority whose own certificate the server presents. Self-made set-ups often do
    /// that, though TLS does not allow it.
    pub async fn create_of_authority() -> Self {
        Self::create_with(false).await
    }

    async fn create_with(own_certificate: bool) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let file = |name: &str| directory.path().join(name);
        let configuration = file("openssl.cnf");
        std::fs::write(&configuration, CONFIGURATION).expect("a temporary file can be written");
        let [config, ca, ca_key, certificate, key] =
            ["openssl.cnf", "ca.pem", "ca-key.pem", "certificate.pem", "key.pem"]
                .map(|name| text(&file(name)));
        let new = [
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ];
        let section = if own_certificate { "authority" } else { "both" };
        let authority =
            ["-config", &config, "-extensions", section, "-subj", "/CN=tracera-testkit"];
        let output = ["-keyout", &ca_key, "-out", &ca];
        run("openssl", &[new.as_slice(), &authority, &output].concat()).await;
        if !own_certificate {
            let (authority, key) = (file("ca.pem"), file("ca-key.pem"));
            return Self { chain: authority.clone(), authority, key, _directory: directory };
        }
        let server = ["-config", &config, "-extensions", "server", "-subj", "/CN=localhost"];
        let output = ["-CA", &ca, "-CAkey", &ca_key, "-keyout", &key, "-out", &certificate];
        run("openssl", &[new.as_slice(), &server, &output].concat()).await;
        let (authority, chain, key) = (file("ca.pem"), file("certificate.pem"), file("key.pem"));
        Self { authority, chain, key, _directory: directory }
    }

    /// The authority's certificate, which a client has to trust.
    pub fn authority(&self) -> &Path {
        &self.authority
    }

    /// The certificate chain that a server presents.
    pub fn chain(&self) -> &Path {
        &self.chain
    }

    /// The private key of the server's certificate.
    pub fn key(&self) -> &Path {
        &self.key
    }
}

/// A path as a command's argument.
pub(crate) fn text(path: &Path) -> String {
    path.to_str().expect("temporary paths are UTF-8").to_owned()
}
