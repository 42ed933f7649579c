//! Checks the origin of requests by the headers that only browsers set.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::header::{HeaderName, ORIGIN, REFERER, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use url::{Origin, Url};

use super::{Repeated, is_safe_method, single_line};
use crate::layer::{Guard, Settings, Verdict, guard_layer};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// The origins whose pages may send unsafe requests and open a WebSocket here; a [`tower::Layer`].
/// [`OriginPolicy::check`] has the rules.
///
/// ```
/// use http::{HeaderMap, HeaderValue, Method, header::ORIGIN};
/// use tracera_guard::OriginPolicy;
///
/// let policy = OriginPolicy::new("https://example.org").unwrap();
/// let mut headers = HeaderMap::new();
/// headers.insert(ORIGIN, HeaderValue::from_static("https://evil.example"));
/// assert!(policy.check(&Method::GET, &headers).is_ok());
/// assert!(policy.check(&Method::POST, &headers).is_err());
/// ```
#[derive(Clone, Debug)]
pub struct OriginPolicy {
    /// The first is the application's own origin.
    origins: Arc<Vec<AllowedOrigin>>,
    settings: Settings<OriginRejection>,
}

#[derive(Clone, Debug)]
struct AllowedOrigin {
    origin: Origin,
    /// The two forms of the origin in a header: with its port and, if the port is the default,
    /// without.
    spellings: [String; 2],
}

/// The URL has no origin that a page could have.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not an absolute http or https URL")]
pub struct OriginPolicyError(String);

/// A request comes from another origin, or its headers are ambiguous. As a response: 403, JSON
/// `csrf_failed`.
///
/// ```
/// use http::{HeaderMap, HeaderValue, Method, header};
/// use tracera_guard::OriginPolicy;
///
/// # fn main() -> Result<(), tracera_guard::OriginPolicyError> {
/// let policy = OriginPolicy::new("https://example.org")?;
/// let theirs = HeaderValue::from_static("https://evil.example");
/// let headers = HeaderMap::from_iter([(header::ORIGIN, theirs)]);
/// assert!(policy.check(&Method::POST, &headers).is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum OriginRejection {
    /// `Sec-Fetch-Site` says `cross-site` or `same-site`.
    #[error("the browser marks the request as coming from another site")]
    OtherSite,
    /// `Origin` is not a configured origin.
    #[error("the origin header names another origin")]
    OtherOrigin,
    /// `Origin` is `null` and the browser does not mark the request as `same-origin`. The request
    /// comes from a sandboxed page, or from another origin's page without a referrer. It may also
    /// come from an old browser behind a proxy that adds `Referrer-Policy: no-referrer` to your
    /// pages.
    #[error("the origin header hides the origin")]
    HiddenOrigin,
    /// There is no `Origin`, and `Referer` is not in a configured origin.
    #[error("the referer header lies in another origin")]
    OtherReferer,
    /// One of these headers was sent twice.
    #[error("an origin, referer or sec-fetch header is repeated")]
    Repeated,
}

impl From<Repeated> for OriginRejection {
    fn from(Repeated: Repeated) -> Self {
        Self::Repeated
    }
}

impl OriginPolicy {
    /// Pages of the origin of `base_url` may send unsafe requests; path and query of the URL do not
    /// matter.
    ///
    /// # Errors
    /// [`OriginPolicyError`] if it is not an absolute http or https URL.
    pub fn new(base_url: &str) -> Result<Self, OriginPolicyError> {
        let origins = Arc::new(vec![AllowedOrigin::parse(base_url)?]);
        Ok(Self { origins, settings: Settings::default() })
    }

    /// Pages of the origin of `url` may do the same. For an application with several addresses, or
    /// a sibling application that you trust fully.
    ///
    /// # Errors
    /// [`OriginPolicyError`] if it is not an absolute http or https URL.
    pub fn also(mut self, url: &str) -> Result<Self, OriginPolicyError> {
        Arc::make_mut(&mut self.origins).push(AllowedOrigin::parse(url)?);
        Ok(self)
    }

    /// Whether the request may go on to the token check.
    ///
    /// Safe methods may, unless they open a WebSocket (`Upgrade: websocket`), which a page of
    /// another origin could do with your cookies and then read the messages. For such requests and
    /// for all other methods:
    ///
    /// 1. `Sec-Fetch-Site: cross-site` and `same-site` are refused, unless `Origin` is one of
    ///    [`OriginPolicy::also`]. Values that no standard defines count as absent.
    /// 2. `Origin`, if present, must be a configured origin.
    /// 3. `Origin: null` counts as absent beside `Sec-Fetch-Site: same-origin` and is refused
    ///    otherwise. Browsers send it from pages with `Referrer-Policy: no-referrer`.
    /// 4. With neither `Origin` nor a known `Sec-Fetch-Site`, `Referer`, if present, must be in a
    ///    configured origin.
    /// 5. A repeated header is refused.
    ///
    /// A request that passes shows no sign of another origin. Only the token proves that a page of
    /// yours sent it. The order of the rules is that of Go's `http.CrossOriginProtection`.
    ///
    /// # Errors
    /// [`OriginRejection`] names the rule.
    pub fn check(&self, method: &Method, headers: &HeaderMap) -> Result<(), OriginRejection> {
        if is_safe_method(method) && !opens_web_socket(headers) {
            return Ok(());
        }
        let site = single_line(headers, &SEC_FETCH_SITE)?.map(HeaderValue::as_bytes);
        let origin = single_line(headers, &ORIGIN)?;
        if origin.is_some_and(|origin| origin == "null") {
            return match site {
                Some(b"same-origin") => Ok(()),
                Some(b"cross-site" | b"same-site") => Err(OriginRejection::OtherSite),
                _ => Err(OriginRejection::HiddenOrigin),
            };
        }
        let known = origin.map(|origin| self.origins.iter().position(|known| known.is(origin)));
        match (known, site) {
            (Some(Some(1..)), _) => Ok(()),
            (_, Some(b"cross-site" | b"same-site")) => Err(OriginRejection::OtherSite),
            (Some(Some(0)), _) | (None, Some(b"same-origin" | b"none")) => Ok(()),
            (Some(None), _) => Err(OriginRejection::OtherOrigin),
            (None, _) => match single_line(headers, &REFERER)? {
                Some(referer) if !self.names(referer) => Err(OriginRejection::OtherReferer),
                _ => Ok(()),
            },
        }
    }

    fn names(&self, referer: &HeaderValue) -> bool {
        let url = referer.to_str().ok().and_then(|text| Url::parse(text).ok());
        url.is_some_and(|url| self.origins.iter().any(|known| known.origin == url.origin()))
    }
}

impl AllowedOrigin {
    fn parse(base_url: &str) -> Result<Self, OriginPolicyError> {
        let refused = || OriginPolicyError(base_url.to_owned());
        let origin = Url::parse(base_url).map_err(|_| refused())?.origin();
        let Origin::Tuple(scheme, host, port) = &origin else {
            return Err(refused());
        };
        if !matches!(scheme.as_str(), "http" | "https") {
            return Err(refused());
        }
        let spellings = [origin.ascii_serialization(), format!("{scheme}://{host}:{port}")];
        Ok(Self { origin, spellings })
    }

    /// Compares text, because browsers write an origin in exactly one way.
    fn is(&self, origin: &HeaderValue) -> bool {
        self.spellings
            .iter()
            .any(|spelling| origin.as_bytes().eq_ignore_ascii_case(spelling.as_bytes()))
    }
}

/// Covers HTTP/1.1. Over HTTP/2 and later a WebSocket opens with the method CONNECT.
fn opens_web_socket(headers: &HeaderMap) -> bool {
    let mut protocols = headers
        .get_all(UPGRADE)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    protocols.any(|protocol| protocol.trim_ascii().eq_ignore_ascii_case(b"websocket"))
}

impl IntoResponse for OriginRejection {
    fn into_response(self) -> Response {
        crate::reply::error(
            StatusCode::FORBIDDEN,
            "csrf_failed",
            "this request did not come from our own pages",
        )
    }
}

guard_layer!(OriginPolicy, OriginRejection);

impl Guard for OriginPolicy {
    type Rejection = OriginRejection;
    type Awaited = Infallible;
    type Note = ();

    fn settings(&self) -> &Settings<OriginRejection> {
        &self.settings
    }

    fn check(&self, request: &mut Request) -> Verdict<Self> {
        let decided = self.check(request.method(), request.headers());
        if let Err(reason) = &decided {
            tracing::warn!(event = "csrf_failed", %reason, "an unsafe request came from elsewhere");
        }
        decided.into()
    }

    fn resume(&self, _: &mut Request, awaited: Infallible) -> Result<(), OriginRejection> {
        match awaited {}
    }
}

/// Resource isolation: decides whether a request caused by another site is answered at all; a
/// [`tower::Layer`].
///
/// 1. A GET that navigates a whole tab here, as a link does, is answered.
/// 2. Scripts, images, frames and fetches of other sites are refused.
/// 3. A request without `Sec-Fetch-Site`, or with neither `Sec-Fetch-Mode` nor `Sec-Fetch-Dest`,
///    comes from no current browser and is answered.
/// 4. A repeated header is refused.
///
/// The rules follow the [resource isolation policy] for Fetch Metadata request headers.
///
/// ```
/// use axum::{Router, routing::get};
/// use tracera_guard::ResourceIsolation;
///
/// let app: Router = Router::new()
///     .route("/invoice.pdf", get(async || "yours alone"))
///     .layer(ResourceIsolation::new());
/// ```
///
/// [resource isolation policy]: https://web.dev/articles/fetch-metadata
#[derive(Clone, Debug, Default)]
pub struct ResourceIsolation {
    settings: Settings<OriginRejection>,
}

impl ResourceIsolation {
    /// A policy for all requests.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the request may be answered.
    ///
    /// # Errors
    /// [`OriginRejection::OtherSite`], or [`OriginRejection::Repeated`] when one of the headers is
    /// repeated.
    pub fn check(&self, method: &Method, headers: &HeaderMap) -> Result<(), OriginRejection> {
        let site = single_line(headers, &SEC_FETCH_SITE)?;
        let mode = single_line(headers, &SEC_FETCH_MODE)?;
        let dest = single_line(headers, &SEC_FETCH_DEST)?;
        let is_a_browsers = mode.is_some() || dest.is_some();
        let follows_a_link = *method == Method::GET
            && mode.is_some_and(|mode| mode == "navigate")
            && dest.is_some_and(|dest| dest == "document");
        if site.is_some_and(|site| site == "cross-site") && is_a_browsers && !follows_a_link {
            return Err(OriginRejection::OtherSite);
        }
        Ok(())
    }
}

guard_layer!(ResourceIsolation, OriginRejection);

impl Guard for ResourceIsolation {
    type Rejection = OriginRejection;
    type Awaited = Infallible;
    type Note = ();

    fn settings(&self) -> &Settings<OriginRejection> {
        &self.settings
    }

    fn check(&self, request: &mut Request) -> Verdict<Self> {
        self.check(request.method(), request.headers()).into()
    }

    fn resume(&self, _: &mut Request, awaited: Infallible) -> Result<(), OriginRejection> {
        match awaited {}
    }
}

#[cfg(test)]
mod tests;
