//! Sign-in: limits and identity providers.

use std::time::Duration;

use secrecy::SecretString;

use super::address::ServiceUrl;
use super::problem::{Wrong, quoted};
use super::reader::{Read, Reader};
use crate::domain::provider::{ProviderNames, tidy_name};

/// Sign-in: limits and identity providers.
#[derive(Debug)]
pub struct AuthSettings {
    /// Requests per minute and client address, across `/api/v1/auth`. Default 20.
    pub rate_limit_per_minute: u32,
    /// The multiple of this limit for an IPv4 /24 or IPv6 /56. Default 10.
    pub rate_limit_wide: u32,
    /// The multiple of this limit for an IPv6 /48. Default 50.
    pub rate_limit_widest: u32,
    /// Lifetime of a sign-in link. Default and maximum 10 minutes.
    pub magic_link_expiry: Duration,
    /// Sign-in with Google. Default off.
    pub google: Option<OidcSettings>,
    /// Sign-in with one more `OpenID` Connect issuer. Default off.
    pub oidc: Option<OidcSettings>,
    /// Sign-in with GitHub. Default off.
    pub github: Option<GithubSettings>,
}

impl AuthSettings {
    /// The display names of the providers.
    pub fn provider_names(&self) -> ProviderNames {
        ProviderNames::new(self.oidc.as_ref().map(|oidc| &*oidc.name))
    }
}

/// Sign-in with an `OpenID` Connect issuer.
#[derive(Debug)]
pub struct OidcSettings {
    /// The display name. Default the issuer's host, or Google.
    pub name: String,
    /// The client id.
    pub client_id: String,
    /// The client secret.
    pub client_secret: SecretString,
    /// The issuer, exactly as it names itself. Default of Google `https://accounts.google.com`.
    pub issuer: ServiceUrl,
}

/// Sign-in with GitHub or GitHub Enterprise.
#[derive(Debug, Clone)]
pub struct GithubSettings {
    /// The app's client id.
    pub client_id: String,
    /// The app's client secret.
    pub client_secret: SecretString,
    /// The site. Default `https://github.com`.
    pub url: ServiceUrl,
    /// The URL of its API. Default `https://api.github.com`.
    pub api_url: ServiceUrl,
}

pub(super) fn read(reader: &mut Reader<'_>) -> Read<AuthSettings> {
    let rate_limit = reader.number("AUTH_RATE_LIMIT_PER_MINUTE", 1..=10_000);
    let wide = reader.read("AUTH_RATE_LIMIT_WIDE", parse_wide);
    let magic_link_expiry = reader.minutes("MAGIC_LINK_EXPIRY_MINUTES", 1..=10);
    let google = read_google(reader);
    let oidc = read_oidc(reader);
    let github = read_github(reader);
    let (rate_limit_wide, rate_limit_widest) = wide?;
    Ok(AuthSettings {
        rate_limit_per_minute: rate_limit?,
        rate_limit_wide,
        rate_limit_widest,
        magic_link_expiry: magic_link_expiry?,
        google: google?,
        oidc: oidc?,
        github: github?,
    })
}

/// Parses two multiples, as in `10,50`.
fn parse_wide(value: &str) -> Result<(u32, u32), Wrong> {
    let multiple = |text: &str| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|number| digits && (1..=1000).contains(number))
    };
    let multiples = value
        .split_once(',')
        .and_then(|(wide, widest)| Some((multiple(wide.trim())?, multiple(widest.trim())?)));
    let remedy = "write two whole numbers from 1 to 1000, such as 10,50";
    multiples.ok_or_else(|| Wrong::new(format!("is {}", quoted(value)), remedy))
}

fn read_google(reader: &mut Reader<'_>) -> Read<Option<OidcSettings>> {
    let client = reader.pair("GOOGLE_CLIENT_ID", "GOOGLE_CLIENT_SECRET");
    let issuer = reader.read("GOOGLE_ISSUER_URL", ServiceUrl::parse);
    let (client, issuer) = (client?, issuer?);
    Ok(client.map(|(id, secret)| OidcSettings {
        name: "Google".to_owned(),
        client_id: id.to_owned(),
        client_secret: secret.into(),
        issuer,
    }))
}

fn read_oidc(reader: &mut Reader<'_>) -> Read<Option<OidcSettings>> {
    let client = reader.pair("OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET");
    let issuer = reader.optional("OIDC_ISSUER_URL", ServiceUrl::parse);
    let name = reader.optional("OIDC_NAME", parse_name);
    let (client, issuer, name) = (client?, issuer?, name?);
    let missing = match (client, issuer) {
        (None, None) if name.is_none() => return Ok(None),
        (Some((id, secret)), Some(issuer)) => {
            return Ok(Some(OidcSettings {
                name: name.unwrap_or_else(|| issuer.host()),
                client_id: id.to_owned(),
                client_secret: secret.into(),
                issuer,
            }));
        }
        (_, None) => "OIDC_ISSUER_URL",
        (None, Some(_)) => "OIDC_CLIENT_ID",
    };
    let wrong = Wrong::new(
        "is missing while other OIDC_ variables are set",
        "set OIDC_ISSUER_URL, OIDC_CLIENT_ID and OIDC_CLIENT_SECRET, or none",
    );
    Err(reader.refuse(missing, wrong))
}

/// A name that fits on a button.
fn parse_name(name: &str) -> Result<String, Wrong> {
    match tidy_name(name) {
        Some(tidy) if tidy == name && name.chars().count() <= 40 => Ok(tidy),
        _ => Err(Wrong::new(
            format!("is {}", quoted(name)),
            "write a name of at most 40 characters on one line",
        )),
    }
}

fn read_github(reader: &mut Reader<'_>) -> Read<Option<GithubSettings>> {
    let client = reader.pair("GITHUB_CLIENT_ID", "GITHUB_CLIENT_SECRET");
    // Normalised, because stored identities contain this URL.
    let url = reader.read("GITHUB_URL", |url| Ok(ServiceUrl::parse(url)?.normalized()));
    let api_url = reader.read("GITHUB_API_URL", ServiceUrl::parse);
    let (client, url, api_url) = (client?, url?, api_url?);
    let Some((id, secret)) = client else {
        return Ok(None);
    };
    // Otherwise the secret of an Enterprise app and its users' codes would be sent to github.com.
    if reader.given("GITHUB_URL").is_some() && reader.given("GITHUB_API_URL").is_none() {
        let wrong = Wrong::new(
            "is missing while GITHUB_URL is set",
            "set it too: https://HOST/api/v3 for GitHub Enterprise",
        );
        return Err(reader.refuse("GITHUB_API_URL", wrong));
    }
    Ok(Some(GithubSettings {
        client_id: id.to_owned(),
        client_secret: secret.into(),
        url,
        api_url,
    }))
}
