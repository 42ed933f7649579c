//! The configuration: parses environment variables into settings, one struct per concern.
//!
//! 1. Every variable is in one table ([`sections`]), the source of `--help`, `.env.sample` and the
//!    check for unknown names.
//! 2. Parsing is pure: [`Config::from_vars`] takes a map and reports all [`Problem`]s at once.
//! 3. An empty value counts as unset.
//! 4. Secrets are in redacting types. No problem, warning or `Debug` output contains one.
//! 5. A name that resembles a variable, or has a prefix that only Tracera uses, is refused instead
//!    of ignored ([`Config::from_vars`] has the rule).
//!
//! ```
//! use std::collections::BTreeMap;
//! use tracera::config::{Config, Mode};
//!
//! let secret = "kS0vV3y1QmZbq2nD8rTfXh5LwJ7cEu9A".to_owned();
//! let vars = BTreeMap::from([("SESSION_SECRET".to_owned(), secret)]);
//! let config = Config::from_vars(&vars, Mode::Serve).expect("nothing else is required");
//! assert_eq!(config.session.lifetime.as_secs(), 72 * 3600);
//!
//! let problems =
//!     Config::from_vars(&BTreeMap::new(), Mode::Serve).expect_err("a secret is required");
//! assert!(problems[0].to_string().contains("tracera secret"));
//! ```

mod address;
mod auth;
mod currency;
mod dev_secret;
mod environment;
mod help;
mod http;
mod in_clear;
mod log;
mod mail;
mod portfolio;
mod problem;
mod reader;
mod report;
mod secret_file;
mod session;
mod store;
mod table;
mod traces;
mod unknown;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use reader::{Read, Reader};

pub use address::{SecretUrl, ServiceUrl};
pub use auth::{AuthSettings, GithubSettings, OidcSettings};
pub use environment::{Environment, Origin};
pub use help::{env_sample, help_text};
pub use http::{HttpSettings, ListenAddr};
pub use log::{LogFilter, LogFormat, LogSettings};
pub use mail::{MailSettings, ResendSettings, SmtpCredentials, SmtpSecurity, SmtpSettings};
pub use portfolio::{PortfolioSettings, PriceFeed, PriceSettings, SteamLimits, SteamSettings};
pub use problem::{Problem, Warning};
pub use report::report;
pub use session::{SessionSettings, fresh_secret};
pub use store::{DatabaseSettings, DatabaseTarget, SessionStoreKind, StoreSettings};
pub use table::{Exposure, Fallback, Section, Variable, sections};
pub use traces::{Sampling, TraceSettings};

/// The command that the configuration is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `tracera dev`: loopback only, sign-in mails on the terminal.
    Dev,
    /// `tracera serve`.
    Serve,
}

/// The validated settings of the server.
#[derive(Debug)]
pub struct Config {
    /// Session cookies and their lifetimes.
    pub session: SessionSettings,
    /// Listening, the public URL and proxies.
    pub http: HttpSettings,
    /// The stores of sessions and users.
    pub store: StoreSettings,
    /// The mail transport.
    pub mail: MailSettings,
    /// Sign-in.
    pub auth: AuthSettings,
    /// Steam's URLs and API key.
    pub steam: SteamSettings,
    /// The price feed.
    pub prices: PriceSettings,
    /// Inventory imports.
    pub portfolio: PortfolioSettings,
    /// The log.
    pub log: LogSettings,
    /// The address for `/metrics`. Default none.
    pub metrics_addr: Option<SocketAddr>,
    /// Where spans are sent. Default none: no span is made.
    pub traces: Option<TraceSettings>,
    warnings: Vec<Warning>,
}

impl Config {
    /// Parses the settings from `vars`, which may also contain variables of other programs.
    ///
    /// A name that is not in the table is refused in three cases. It has a prefix that only Tracera
    /// uses. It is within two edits of a variable in the table (one edit under ten characters). Or
    /// it shortens or extends a variable's last word. All other names are ignored.
    ///
    /// # Errors
    /// All problems, in the order of the table's sections.
    pub fn from_vars(vars: &BTreeMap<String, String>, mode: Mode) -> Result<Self, Vec<Problem>> {
        let mut reader = Reader::new(vars, mode);
        let config = Self::read(&mut reader);
        reader.problems.extend(unknown::in_environment(vars));
        match config {
            Ok(config) if reader.problems.is_empty() => {
                Ok(Self { warnings: reader.warnings, ..config })
            }
            _ => Err(reader.problems),
        }
    }

    /// Parses all sections before returning the first failure, so that all problems are found.
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        let http = http::read(reader);
        let session = session::read(reader, http.as_ref().ok());
        let store = store::read(reader);
        let mail = mail::read(reader, http.as_ref().ok());
        let auth = auth::read(reader);
        let steam = portfolio::read_steam(reader);
        let prices = portfolio::read_prices(reader);
        let portfolio = portfolio::read_portfolio(reader);
        let log = log::read(reader);
        let metrics_addr = http::read_metrics_addr(reader, http.as_ref().ok());
        let traces = traces::read(reader);
        Ok(Self {
            session: session?,
            http: http?,
            store: store?,
            mail: mail?,
            auth: auth?,
            steam: steam?,
            prices: prices?,
            portfolio: portfolio?,
            log: log?,
            metrics_addr: metrics_addr?,
            traces: traces?,
            warnings: Vec::new(),
        })
    }

    /// Settings that are allowed but probably unintended. Shown at start and by `check-config`.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }
}
