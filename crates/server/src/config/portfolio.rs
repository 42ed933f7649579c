//! Steam, prices and imports.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::address::{SecretUrl, ServiceUrl, not_a_url, require_https};
use super::currency;
use super::problem::{Wrong, quoted};
use super::reader::{Read, Reader};
use super::table::{Fallback, variable};

/// The default fallbacks for Skinport's feed, and the currencies they support.
const USUAL_FALLBACKS: [(&str, &[&str]); 2] = [
    ("https://csfloat.com/api/v1/listings/price-list", &["USD"]),
    ("https://market.csgo.com/api/v2/prices/USD.json", &["USD", "EUR", "RUB"]),
];

/// Steam's URLs and API key.
#[derive(Debug)]
pub struct SteamSettings {
    /// The `OpenID` endpoint. Default `https://steamcommunity.com/openid/login`.
    pub openid_url: ServiceUrl,
    /// The site that inventories are fetched from. Default `https://steamcommunity.com`.
    pub community_url: ServiceUrl,
    /// The Web API. Default `https://api.steampowered.com`.
    pub api_url: ServiceUrl,
    /// The base URL of item images. Default
    /// `https://community.fastly.steamstatic.com/economy/image`.
    pub image_url: ServiceUrl,
    /// The key of the Web API, for names and avatars. Default none.
    pub api_key: Option<SecretString>,
    /// The proxy for requests for inventories. Default none.
    pub proxy: Option<SecretUrl>,
    /// Limits on requests to Steam.
    pub limits: SteamLimits,
}

/// Limits on requests for inventories.
#[derive(Clone, Copy, Debug)]
pub struct SteamLimits {
    /// Items per request. Default 2000.
    pub page_size: u32,
    /// Interval between two requests, for all users together. Default 3 s.
    pub spacing: Duration,
    /// Timeout of a whole request. Default 15 s.
    pub request_timeout: Duration,
    /// The pause after Steam refuses a request because of its limit; it doubles with each further
    /// refusal. Default 60 s.
    pub first_pause: Duration,
    /// Maximum pause that an import waits for. Default 30 s.
    pub patience: Duration,
    /// Maximum size of a page after decompression, in bytes. Default 32 MiB.
    pub max_page_bytes: usize,
}

/// The price feed.
#[derive(Debug)]
pub struct PriceSettings {
    /// The main feed. Default: Skinport's bulk feed, in `currency`.
    pub feed: PriceFeed,
    /// The displayed name of the feed. Default: Skinport or CSFloat by its host, else the host.
    pub feed_name: Option<String>,
    /// Further feeds, tried in this order when the first fails. Default after the default feed:
    /// CSFloat and market.csgo.com, if they support the currency. Default after another feed: none.
    pub fallbacks: Vec<PriceFeed>,
    /// Interval between fetches. Default 30 minutes.
    pub refresh: Duration,
    /// The currency that all feeds must have, three capital letters. Default USD.
    pub currency: String,
    /// Maximum size of a feed after decompression, in bytes. Default 64 MiB.
    pub max_feed_bytes: u64,
}

/// The source of prices.
#[derive(Debug, Clone)]
pub enum PriceFeed {
    /// A local file.
    File(PathBuf),
    /// A URL; its parameters may contain a key.
    Http(SecretUrl),
}

impl fmt::Display for PriceFeed {
    /// Formats it without parts that may be a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file://{}", path.display()),
            Self::Http(url) => url.fmt(f),
        }
    }
}

/// Inventory imports.
#[derive(Clone, Copy, Debug)]
pub struct PortfolioSettings {
    /// Minimum time between a user's imports. Default 10 minutes; zero disables it.
    pub import_cooldown: Duration,
    /// Time limit of one import, including its waits. Default 15 minutes.
    pub import_duration: Duration,
    /// Maximum number of assets in an inventory. Default 100,000.
    pub max_items: u32,
}

pub(super) fn read_steam(reader: &mut Reader<'_>) -> Read<SteamSettings> {
    let openid_url = reader.read("STEAM_OPENID_URL", ServiceUrl::parse);
    let community_url = reader.read("STEAM_COMMUNITY_URL", ServiceUrl::parse);
    let api_url = reader.read("STEAM_API_URL", ServiceUrl::parse);
    let image_url = reader.read("STEAM_IMAGE_URL", parse_image_url);
    let api_key = reader.optional("STEAM_API_KEY", |key| {
        // The key is sent in a header.
        if key.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(SecretString::from(key))
        } else {
            Err(Wrong::new(
                "holds characters no key has",
                "copy the key again, without white space",
            ))
        }
    });
    let proxy = reader.optional("STEAM_PROXY_URL", parse_proxy);
    let limits = read_limits(reader);
    Ok(SteamSettings {
        openid_url: openid_url?,
        community_url: community_url?,
        api_url: api_url?,
        image_url: image_url?,
        api_key: api_key?,
        proxy: proxy?,
        limits: limits?,
    })
}

fn read_limits(reader: &mut Reader<'_>) -> Read<SteamLimits> {
    let page_size = reader.number("STEAM_PAGE_SIZE", 1..=5000);
    let spacing = reader.number("STEAM_SPACING_MILLISECONDS", 0..=60_000);
    let request_timeout = reader.number("STEAM_TIMEOUT_SECONDS", 1..=120);
    let first_pause = reader.number("STEAM_PAUSE_SECONDS", 1..=3600);
    let patience = reader.number("STEAM_PATIENCE_SECONDS", 0..=3600);
    let max_page_mib = reader.number::<usize>("STEAM_PAGE_MAX_MIB", 1..=1024);
    Ok(SteamLimits {
        page_size: page_size?,
        spacing: Duration::from_millis(spacing?),
        request_timeout: Duration::from_secs(request_timeout?),
        first_pause: Duration::from_secs(first_pause?),
        patience: Duration::from_secs(patience?),
        max_page_bytes: max_page_mib? << 20,
    })
}

/// The URL of a default feed in that currency.
pub(super) fn in_currency(usual: &str, currency: &str) -> String {
    usual.replace("USD", currency)
}

pub(super) fn read_prices(reader: &mut Reader<'_>) -> Read<PriceSettings> {
    let currency = reader.read("PRICE_CURRENCY", |value| {
        if currency::is_known(value) {
            Ok(value.to_owned())
        } else {
            Err(Wrong::new(
                format!("is {}", quoted(value)),
                "write the three capital letters of a currency, such as EUR",
            ))
        }
    });
    // An operator who names a feed wants only that one.
    let usual_feed = matches!(variable("PRICE_FEED_URL").fallback,
        Fallback::Value(usual) if reader.given("PRICE_FEED_URL").is_none_or(|url| url == usual));
    let feed = reader.read("PRICE_FEED_URL", |url| match &currency {
        Ok(currency) if usual_feed => parse_feed(&in_currency(url, currency)),
        _ => parse_feed(url),
    });
    let feed_name = reader.optional("PRICE_FEED_NAME", |name| {
        if (1..=40).contains(&name.chars().count()) && !name.contains(char::is_control) {
            Ok(name.to_owned())
        } else {
            Err(Wrong::new(format!("is {}", quoted(name)), "write a name of at most 40 characters"))
        }
    });
    let fallbacks = reader.optional("PRICE_FALLBACK_URLS", |value| {
        value.split(',').map(str::trim).map(parse_feed).collect()
    });
    let refresh = reader.minutes("PRICE_REFRESH_MINUTES", 1..=1440);
    let max_feed_mib = reader.number::<u64>("PRICE_FEED_MAX_MIB", 1..=1024);
    let currency = currency?;
    let usual =
        USUAL_FALLBACKS.iter().filter(|(_, known)| usual_feed && known.contains(&&*currency));
    let usual = usual.map(|(url, _)| PriceFeed::Http(SecretUrl::new(&in_currency(url, &currency))));
    Ok(PriceSettings {
        feed: feed?,
        feed_name: feed_name?,
        fallbacks: fallbacks?.unwrap_or_else(|| usual.collect()),
        refresh: refresh?,
        currency,
        max_feed_bytes: max_feed_mib? << 20,
    })
}

pub(super) fn read_portfolio(reader: &mut Reader<'_>) -> Read<PortfolioSettings> {
    let import_cooldown = reader.minutes("PORTFOLIO_IMPORT_COOLDOWN_MINUTES", 0..=1440);
    let import_duration = reader.minutes("PORTFOLIO_IMPORT_MAX_MINUTES", 1..=1440);
    let max_items = reader.number("PORTFOLIO_MAX_ITEMS", 1..=1_000_000);
    Ok(PortfolioSettings {
        import_cooldown: import_cooldown?,
        import_duration: import_duration?,
        max_items: max_items?,
    })
}

/// The URL's origin becomes part of a header, where these characters would be separators.
fn parse_image_url(value: &str) -> Result<ServiceUrl, Wrong> {
    let url = ServiceUrl::parse(value)?;
    if url.origin().contains([';', ',']) {
        return Err(Wrong::new("holds a host no server has", "write the host without ; and ,"));
    }
    Ok(url)
}

/// Requests to Steam always use TLS, so the connection to the proxy need not.
fn parse_proxy(value: &str) -> Result<SecretUrl, Wrong> {
    let url = Url::parse(value).map_err(not_a_url)?;
    let remedy = "write http://, https://, socks5:// or socks5h:// with a host";
    match url.scheme() {
        "http" | "https" | "socks5" | "socks5h" if url.has_host() => Ok(SecretUrl::new(value)),
        _ => Err(Wrong::new("is no address of a proxy", remedy)),
    }
}

fn parse_feed(value: &str) -> Result<PriceFeed, Wrong> {
    let url = Url::parse(value).map_err(not_a_url)?;
    if url.scheme() == "file" {
        let no_file = || Wrong::new("names no file", "write file:/// and an absolute path");
        let path = url.to_file_path().map_err(|()| no_file())?;
        return if path.file_name().is_some() { Ok(PriceFeed::File(path)) } else { Err(no_file()) };
    }
    require_https(&url)?;
    Ok(PriceFeed::Http(SecretUrl::new(value)))
}
