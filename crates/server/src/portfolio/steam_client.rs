//! Reads inventory pages from Steam and says what each kind of refusal means.
//!
//! 1. The only host is the configured one; redirects are not followed.
//! 2. Time and size of an answer are bounded, its size after decompression.
//! 3. No error holds an address: it names the user.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};

use super::inventory::{self, Reply};
use crate::config::{SecretUrl, ServiceUrl, SteamLimits};
use crate::domain::item::Page;
use crate::domain::steam_id::SteamId64;
use crate::{error_chain, http_client};

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum SteamError {
    /// Profile or inventory is private.
    #[error("the inventory is private")]
    Private,
    /// Steam wants somebody to sign in, or sends us elsewhere for another reason.
    #[error("Steam asks us to sign in")]
    SignInAsked,
    /// There is no such profile.
    #[error("the profile does not exist")]
    NoProfile,
    /// Steam will not give that many items at once.
    #[error("the page size was refused")]
    CountRefused,
    /// Steam's limit on requests.
    #[error("too many requests to Steam")]
    Throttled(Option<Duration>),
    /// The address of this server is blocked in front of Steam.
    #[error("this server is blocked by Steam's edge")]
    Blocked,
    /// The game's own servers are away.
    #[error("the game's inventory servers are away (EResult {0})")]
    GameAway(u32),
    /// Steam has nothing to say about the game for this account.
    #[error("Steam has no inventory of this game for the account")]
    NoInventory,
    /// Steam, or the way to it, is in trouble.
    #[error("Steam is unavailable: {0}")]
    Unavailable(String),
    /// No answer in time.
    #[error("Steam did not answer in time")]
    TimedOut,
    /// More bytes than any page has.
    #[error("Steam's answer is too large")]
    TooLarge,
    /// Something else than an inventory.
    #[error(transparent)]
    Unreadable(#[from] inventory::Unreadable),
}

impl SteamError {
    /// Whether asking again soon may help.
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::GameAway(_) | Self::Unavailable(_) | Self::TimedOut | Self::Unreadable(_)
        )
    }
}

/// The page size of requests: the configured one, then one that always worked, then Steam's
/// default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageSize(Option<u32>);

impl PageSize {
    const FALLBACK: u32 = 1000;

    /// The next smaller choice after a refusal; `None` when there is none.
    pub fn smaller(self) -> Option<Self> {
        match self.0? {
            count if count > Self::FALLBACK => Some(Self(Some(Self::FALLBACK))),
            _ => Some(Self(None)),
        }
    }
}

/// The inventory endpoint.
#[derive(Debug)]
pub struct SteamClient {
    http: reqwest::Client,
    base: ServiceUrl,
    limits: SteamLimits,
}

impl SteamClient {
    /// For the community site at `base`.
    ///
    /// # Errors
    /// When TLS cannot be set up.
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

    /// What to begin with.
    pub fn page_size(&self) -> PageSize {
        PageSize(Some(self.limits.page_size))
    }

    /// One page of the public inventory, from `start` on.
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
        let response = self
            .http
            .get(url)
            .header(header::REFERER, self.base.endpoint(&format!("/profiles/{owner}/inventory")))
            .header(header::ACCEPT, "application/json")
            .send()
            .await
            .map_err(network)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = self.body(response).await?;
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

    async fn body(&self, mut response: reqwest::Response) -> Result<Vec<u8>, SteamError> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(network)? {
            if body.len() + chunk.len() > self.limits.max_page_bytes {
                return Err(SteamError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// What a status other than 200 means.
fn refusal(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> SteamError {
    match status.as_u16() {
        // The edge answers in HTML, Steam itself with a bare null.
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

/// `Retry-After` in seconds; the form with a date is not used by Steam.
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
