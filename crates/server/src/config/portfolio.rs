//! Steam, prices and imports.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::address::{SecretUrl, ServiceUrl, not_a_url, require_https};
use super::problem::Wrong;
use super::reader::{Read, Reader};

/// Steam's addresses and key.
#[derive(Debug)]
pub struct SteamSettings {
    /// The `OpenID` endpoint. Default `https://steamcommunity.com/openid/login`.
    pub openid_url: ServiceUrl,
    /// Where inventories are read. Default `https://steamcommunity.com`.
    pub community_url: ServiceUrl,
    /// The Web API. Default `https://api.steampowered.com`.
    pub api_url: ServiceUrl,
    /// Key of the Web API, for names and avatars. Default none.
    pub api_key: Option<SecretString>,
}

/// The price feed.
#[derive(Debug)]
pub struct PriceSettings {
    /// Where prices come from. Default Skinport's bulk feed.
    pub feed: PriceFeed,
    /// How often they are read anew. Default 30 minutes.
    pub refresh: Duration,
}

/// Where prices come from.
#[derive(Debug, Clone)]
pub enum PriceFeed {
    /// A local file.
    File(PathBuf),
    /// An address; its parameters may hold a key.
    Http(SecretUrl),
}

/// Inventory imports.
#[derive(Debug)]
pub struct PortfolioSettings {
    /// How long a user waits between imports. Default 10 minutes; zero is not at all.
    pub import_cooldown: Duration,
}

pub(super) fn read_steam(reader: &mut Reader<'_>) -> Read<SteamSettings> {
    let openid_url = reader.read("STEAM_OPENID_URL", ServiceUrl::parse);
    let community_url = reader.read("STEAM_COMMUNITY_URL", ServiceUrl::parse);
    let api_url = reader.read("STEAM_API_URL", ServiceUrl::parse);
    let api_key = reader.optional("STEAM_API_KEY", |key| {
        // It travels in a header field.
        if key.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(SecretString::from(key))
        } else {
            Err(Wrong::new("holds characters no key has", "copy the key again, without white space"))
        }
    });
    Ok(SteamSettings {
        openid_url: openid_url?,
        community_url: community_url?,
        api_url: api_url?,
        api_key: api_key?,
    })
}

pub(super) fn read_prices(reader: &mut Reader<'_>) -> Read<PriceSettings> {
    let feed = reader.read("PRICE_FEED_URL", parse_feed);
    let refresh = reader.minutes("PRICE_REFRESH_MINUTES", 1..=1440);
    Ok(PriceSettings { feed: feed?, refresh: refresh? })
}

pub(super) fn read_portfolio(reader: &mut Reader<'_>) -> Read<PortfolioSettings> {
    let import_cooldown = reader.minutes("PORTFOLIO_IMPORT_COOLDOWN_MINUTES", 0..=1440)?;
    Ok(PortfolioSettings { import_cooldown })
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
