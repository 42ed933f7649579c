//! Fetches inventory pages from Steam, and interprets its refusals.
//!
//! 1. The only host is the configured one; redirects are not followed.
//! 2. Time and size of a response are limited, the size after decompression.
//! 3. Errors contain no URL: it identifies the user.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};

use super::inventory::{self, Reply};
use crate::config::{SecretUrl, ServiceUrl, SteamLimits};
use crate::domain::item::Page;
use crate::domain::steam_id::SteamId64;
use crate::error_chain;
use crate::http_client::{self, BodyError};
use crate::telemetry::trace;

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum SteamError {
    /// The profile or inventory is private.
    #[error("the inventory is private")]
    Private,
    /// Steam requires a sign-in, or redirects for another reason.
    #[error("Steam asks us to sign in")]
    SignInAsked,
    /// The profile does not exist.
    #[error("the profile does not exist")]
    NoProfile,
    /// Steam refuses this page size.
    #[error("the page size was refused")]
    CountRefused,
    /// Steam limits the requests; the time to wait, if it says so.
    #[error("too many requests to Steam")]
    Throttled(Option<Duration>),
    /// The edge in front of Steam blocks this server's address.
    #[error("this server is blocked by Steam's edge")]
    Blocked,
    /// The game's own inventory servers are down.
    #[error("the game's inventory servers are away (EResult {0})")]
    GameAway(u32),
    /// The account has no inventory for this game.
    #[error("Steam has no inventory of this game for the account")]
    NoInventory,
    /// Steam or the connection to it failed.
    #[error("Steam is unavailable: {0}")]
    Unavailable(String),
    /// The response took too long.
    #[error("Steam did not answer in time")]
    TimedOut,
    /// The response is larger than any page.
    #[error("Steam's answer is too large")]
    TooLarge,
    /// The response is not an inventory.
    #[error(transparent)]
    Unreadable(#[from] inventory::Unreadable),
}

impl SteamError {
    /// Whether a retry soon may succeed.
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::GameAway(_) | Self::Unavailable(_) | Self::TimedOut | Self::Unreadable(_)
        )
    }
}

/// The page size of requests: first the configured one, then a size that Steam has always accepted,
/// then Steam's default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageSize(Option<u32>);

impl PageSize {
    const FALLBACK: u32 = 1000;

    /// The next smaller size after a refusal; `None` when there is none.
    pub fn smaller(self) -> Option<Self> {
        match self.0? {
            count if count > Self::FALLBACK => Some(Self(Some(Self::FALLBACK))),
            _ => Some(Self(None)),
        }
    }
}

/// A client for the inventory endpoint.
#[derive(Debug)]
pub struct SteamClient {
    http: reqwest::Client,
    base: ServiceUrl,
    limits: SteamLimits,
}

impl SteamClient {
    /// Uses the community site at `base`.
    ///
    /// # Errors
    /// When TLS cannot be initialised.
    pub fn new(
        base: ServiceUrl,
        proxy: Option<&SecretUrl>,
        limits: SteamLimits,
    ) -> Result<Self, reqwest::Error> {
        let mut http = http_client::builder(limits.request_timeout);
        if let Some(proxy) = proxy {
            http = http.proxy(reqwest::Proxy::all(proxy.expose())?);
        }
        Ok(Self { http: http.build()?, base, limits })
    }

    /// The initial page size.
    pub fn page_size(&self) -> PageSize {
        PageSize(Some(self.limits.page_size))
    }

    /// Fetches one page of the public inventory, starting at `start`.
    ///
    /// # Errors
    /// [`SteamError`].
    pub async fn page(
        &self,
        owner: SteamId64,
        size: PageSize,
        start: Option<&str>,
    ) -> Result<Page, SteamError> {
        let owner = owner.digits();
        let mut query = vec![("l", "english".to_owned()), ("raw_asset_properties", "1".to_owned())];
        query.extend(size.0.map(|count| ("count", count.to_string())));
        query.extend(start.map(|start| ("start_assetid", start.to_owned())));
        let mut url = url::Url::parse(&self.base.endpoint(&format!("/inventory/{owner}/730/2")))
            .map_err(|_| SteamError::Unavailable("no address".into()))?;
        url.query_pairs_mut().extend_pairs(query);
        let request = self
            .http
            .get(url)
            .header(header::REFERER, self.base.endpoint(&format!("/profiles/{owner}/inventory")))
            .header(header::ACCEPT, "application/json");
        let response = trace::send(request).await.map_err(network)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let limit = self.limits.max_page_bytes;
        let body = http_client::body(response, limit).await.map_err(|error| match error {
            BodyError::TooLarge => SteamError::TooLarge,
            BodyError::Broken(error) => network(error),
        })?;
        if status != StatusCode::OK {
            return Err(refusal(status, &headers, &body));
        }
        if is_html(&headers, &body) {
            return Err(SteamError::Unavailable("an HTML page in place of the inventory".into()));
        }
        match inventory::parse(&body)? {
            Reply::Page(page) => Ok(page),
            Reply::Private => Err(SteamError::Private),
            Reply::Nothing => Err(SteamError::Unavailable("an empty answer".into())),
        }
    }
}

/// Interprets a status other than 200.
fn refusal(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> SteamError {
    match status.as_u16() {
        // The edge responds with HTML, Steam itself with a bare `null`.
        403 if is_html(headers, body) => SteamError::Blocked,
        401 | 403 => SteamError::Private,
        400 => SteamError::CountRefused,
        404 => SteamError::NoProfile,
        301..=308 => SteamError::SignInAsked,
        429 => SteamError::Throttled(retry_after(headers)),
        500 => match serde_json::from_slice::<serde_json::Value>(body) {
            Ok(value) if value.is_object() => {
                match eresult(value["error"].as_str().unwrap_or_default()) {
                    Some(number) => SteamError::GameAway(number),
                    None => SteamError::NoInventory,
                }
            }
            _ => SteamError::Unavailable("status 500".into()),
        },
        other => SteamError::Unavailable(format!("status {other}")),
    }
}

fn is_html(headers: &HeaderMap, body: &[u8]) -> bool {
    let kind =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.starts_with("text/html") && !body.trim_ascii().eq(b"null")
        || body.trim_ascii_start().starts_with(b"<")
}

/// The number in `… failed with EResult 20`.
fn eresult(text: &str) -> Option<u32> {
    let rest = text.split_once("EResult")?.1.trim_start();
    rest[..rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())].parse().ok()
}

/// `Retry-After` in seconds; Steam does not use the date form.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

fn network(error: reqwest::Error) -> SteamError {
    if error.is_timeout() {
        SteamError::TimedOut
    } else {
        SteamError::Unavailable(error_chain::of_request(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(status: u16, kind: &'static str, body: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, http::HeaderValue::from_static(kind));
        headers.insert(header::RETRY_AFTER, http::HeaderValue::from_static("7"));
        let error = refusal(StatusCode::from_u16(status).unwrap(), &headers, body.as_bytes());
        format!("{error:?}")
    }

    #[test]
    fn every_refusal_has_its_own_meaning() {
        let json = "application/json; charset=utf-8";
        let html = "text/html";
        let away = r#"{"error":"EYldRefreshAppIfNecessary failed with EResult 20"}"#;
        for (status, kind, body, expected) in [
            (403, json, "null", "Private"),
            (403, html, "null", "Private"),
            (403, html, "<HTML><H1>Access Denied</H1>", "Blocked"),
            (403, json, "<html>Access Denied", "Blocked"),
            (401, json, "", "Private"),
            (400, json, "null", "CountRefused"),
            (404, html, "<html>", "NoProfile"),
            (302, html, "", "SignInAsked"),
            (429, json, "null", "Throttled(Some(7s))"),
            (500, json, away, "GameAway(20)"),
            (500, json, r#"{"error":"failed with EResult 55 (55)"}"#, "GameAway(55)"),
            (500, json, r#"{"success":false}"#, "NoInventory"),
            (500, html, "<h1>Sorry!</h1>", "Unavailable(\"status 500\")"),
            (502, html, "<h1>Sorry!</h1>", "Unavailable(\"status 502\")"),
            (503, html, "", "Unavailable(\"status 503\")"),
        ] {
            assert_eq!(meaning(status, kind, body), expected, "{status} {body}");
        }
    }

    #[test]
    fn the_page_size_falls_back_twice() {
        let size = PageSize(Some(2000));
        let smaller = size.smaller().unwrap();
        assert_eq!(smaller, PageSize(Some(1000)));
        assert_eq!(smaller.smaller(), Some(PageSize(None)));
        assert_eq!(PageSize(None).smaller(), None);
        assert_eq!(PageSize(Some(500)).smaller(), Some(PageSize(None)));
    }
}
