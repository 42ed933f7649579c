//! An OpenID Connect provider: the npm package `oidc-provider`.

use std::path::Path;

use tempfile::TempDir;

use crate::free_port;
use crate::process::{Process, tool};
use crate::redis::ATTEMPTS;

const SCRIPT: &str = include_str!("op.mjs");

/// The provider, killed when dropped. It accepts every request. `login_hint` is the user's name,
/// and their address is `{login_hint}@example.test`, verified unless the name begins with
/// `unverified`. For a name that begins with `silent`, the claim `email_verified` is absent.
#[derive(Debug)]
pub struct OidcProvider {
    issuer: String,
    _process: Process,
    _directory: TempDir,
}

impl OidcProvider {
    /// The id of the only client.
    pub const CLIENT_ID: &str = "tracera";
    /// The secret of the only client.
    pub const CLIENT_SECRET: &str = "a-secret-of-the-tests";

    /// Starts a provider like Google: the ID token contains the address. Its only client has this
    /// `redirect_uri`.
    pub async fn like_google(redirect_uri: &str) -> Self {
        Self::start(redirect_uri, "like-google").await
    }

    /// Starts a provider with the package's defaults: only the userinfo endpoint has the address,
    /// and the client authenticates by `client_secret_basic`.
    pub async fn by_default(redirect_uri: &str) -> Self {
        Self::start(redirect_uri, "by-default").await
    }

    async fn start(redirect_uri: &str, kind: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        // Node looks for packages in the directories above the importing file.
        let modules = tool("node/node_modules/oidc-provider/package.json");
        let modules =
            Path::new(&modules).ancestors().nth(2).expect("the package lies in node_modules");
        let link = directory.path().join("node_modules");
        std::os::unix::fs::symlink(modules, link).expect("a temporary directory takes a link");
        let script = directory.path().join("op.mjs");
        std::fs::write(&script, SCRIPT).expect("a temporary file can be written");
        let script = script.to_str().expect("temporary paths are UTF-8").to_owned();
        let mut failure = String::new();
        for _ in 0..ATTEMPTS {
            let port = free_port();
            let args = [script.clone(), port.to_string(), redirect_uri.to_owned(), kind.to_owned()];
            let mut process = Process::spawn("node", &args, &directory.path().join("log"));
            match process.ready("listening").await {
                Ok(()) => {
                    let issuer = format!("http://127.0.0.1:{port}");
                    return Self { issuer, _process: process, _directory: directory };
                }
                Err(error) => failure = error,
            }
        }
        panic!("the OpenID Connect provider {failure}");
    }

    /// The issuer's URL.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }
}
