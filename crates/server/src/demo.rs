//! The demo of the whole product, without internet and Steam account: `tracera dev --demo`.
//!
//! 1. Stand-ins for Steam, its images and the price feed run on a loopback port of this process
//!    (`stand_ins`). The page in place of Steam's sign-in says that it is one.
//! 2. There is one user, with an invented inventory and 60 days of history ([`fill`]).
//! 3. All data is in a separate directory, which each start creates anew.

use std::io;
use std::path::Path;

mod fill;
mod inventory;
mod stand_ins;

pub use fill::fill;

/// The Steam id of the demo user; no real account has it.
const STEAM_ID: &str = "76561197960265729";
/// The e-mail address of the demo user.
pub const EMAIL: &str = "demo@example.com";
/// The demo's directory inside `DATA_DIR`.
const DIRECTORY: &str = "demo";

/// The running stand-ins.
#[derive(Debug)]
pub struct Demo {
    url: String,
}

impl Demo {
    /// Starts the stand-ins and removes the data of the previous demo from `data_dir`.
    ///
    /// # Errors
    /// When no loopback port is available, or the directory cannot be removed.
    pub async fn start(data_dir: &Path) -> io::Result<Self> {
        match std::fs::remove_dir_all(data_dir.join(DIRECTORY)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        Ok(Self { url: stand_ins::start().await? })
    }

    /// The variables that make the server use the stand-ins.
    pub fn variables(&self, data_dir: &Path) -> Vec<(&'static str, String)> {
        let at = |path: &str| format!("{}{path}", self.url);
        vec![
            ("DATA_DIR", data_dir.join(DIRECTORY).display().to_string()),
            ("DATABASE_URL", String::new()),
            ("REDIS_URL", String::new()),
            ("REDIS_HOST", String::new()),
            ("STEAM_OPENID_URL", at("/openid/login")),
            ("STEAM_COMMUNITY_URL", self.url.clone()),
            ("STEAM_API_URL", self.url.clone()),
            ("STEAM_API_KEY", String::new()),
            ("STEAM_IMAGE_URL", at("/pictures")),
            ("STEAM_PROXY_URL", String::new()),
            ("STEAM_SPACING_MILLISECONDS", "300".to_owned()),
            ("PRICE_FEED_URL", at("/prices")),
            ("PRICE_FEED_NAME", "the demo's price list".to_owned()),
            ("PRICE_FALLBACK_URLS", String::new()),
            ("PRICE_CURRENCY", "USD".to_owned()),
            ("PORTFOLIO_IMPORT_COOLDOWN_MINUTES", "0".to_owned()),
        ]
    }

    /// The URL of the stand-ins.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}
