//! A certificate for `localhost` and 127.0.0.1 with an authority of its own.

use std::path::{Path, PathBuf};

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
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost, IP:127.0.0.1
";

/// PEM files in the directory given to [`Certificate::create`].
#[derive(Debug)]
pub(crate) struct Certificate {
    /// What a client has to trust.
    pub(crate) authority: PathBuf,
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
}

impl Certificate {
    pub(crate) async fn create(directory: &Path) -> Self {
        let configuration = directory.join("openssl.cnf");
        std::fs::write(&configuration, CONFIGURATION).expect("a temporary file can be written");
        let file = |name: &str| directory.join(name);
        let text = |name: &str| file(name).to_str().expect("temporary paths are UTF-8").to_owned();
        let (config, ca, ca_key) = (text("openssl.cnf"), text("ca.pem"), text("ca-key.pem"));
        let (certificate, key) = (text("certificate.pem"), text("key.pem"));
        let new =
            ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
        let authority = ["-config", &config, "-extensions", "authority", "-subj", "/CN=tracera-testkit"];
        let output = ["-keyout", &ca_key, "-out", &ca];
        run("openssl", &[new.as_slice(), &authority, &output].concat()).await;
        let server = ["-config", &config, "-extensions", "server", "-subj", "/CN=localhost"];
        let output = ["-CA", &ca, "-CAkey", &ca_key, "-keyout", &key, "-out", &certificate];
        run("openssl", &[new.as_slice(), &server, &output].concat()).await;
        Self { authority: file("ca.pem"), chain: file("certificate.pem"), key: file("key.pem") }
    }
}
