//! Security headers on every response: [`SecurityHeaders`] has the rules.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::Request;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS, X_XSS_PROTECTION,
};
use http::{HeaderMap, HeaderValue};

use crate::layer::{Guard, Settings, Verdict, guard_layer};
use crate::media_type;

const DATA_POLICY: &str =
    "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
const PERMISSIONS: &str = "accelerometer=(), autoplay=(), browsing-topics=(), camera=(), \
                           display-capture=(), encrypted-media=(), fullscreen=(), geolocation=(), \
                           gyroscope=(), magnetometer=(), microphone=(), midi=(), payment=(), \
                           picture-in-picture=(), publickey-credentials-get=(self), \
                           screen-wake-lock=(), serial=(), usb=(), xr-spatial-tracking=()";

const HSTS: &str = "max-age=31536000; includeSubDomains";

/// Fixed headers, which overwrite those of a handler.
const ALWAYS: [(HeaderName, &str); 3] = [
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    // Browsers ignore it, but scanners and security policies still ask for it.
    (X_XSS_PROTECTION, "1; mode=block"),
];

/// Headers that a handler may override.
const DEFAULTS: [(HeaderName, &str); 5] = [
    (HeaderName::from_static("permissions-policy"), PERMISSIONS),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (REFERRER_POLICY, "strict-origin-when-cross-origin"),
    (CACHE_CONTROL, "no-store"),
];

/// The security headers of every response; a [`tower::Layer`].
///
/// 1. Every response of the inner service gets the headers: those of handlers, fallbacks, other
///    layers, redirects and errors.
/// 2. `X-Content-Type-Options`, `X-Frame-Options`, `X-XSS-Protection` and
///    `Strict-Transport-Security` are fixed: they overwrite what a handler set.
/// 3. `Content-Security-Policy`, `Referrer-Policy`, `Permissions-Policy`,
///    `Cross-Origin-Opener-Policy`, `Cross-Origin-Resource-Policy` and `Cache-Control` are
///    defaults: the value of a handler that sets one is kept.
/// 4. No header is sent twice.
/// 5. A `text/html` response gets the page policy, every other one a policy that forbids
///    everything.
/// 6. `Strict-Transport-Security` is sent only for a public URL on https
///    ([`SecurityHeaders::https`]).
///
/// The values follow OWASP's [HTTP headers cheat sheet]. For a deployment: make this the outermost
/// layer and put panic catching right behind it, so that no response goes without.
///
/// ```
/// use axum::{Router, routing::get};
/// use tracera_guard::SecurityHeaders;
///
/// let app: Router = Router::new()
///     .route("/", get(async || "hello"))
///     .layer(SecurityHeaders::new().https(true));
/// ```
///
/// [HTTP headers cheat sheet]: https://cheatsheetseries.owasp.org/cheatsheets/HTTP_Headers_Cheat_Sheet.html
#[derive(Clone, Debug)]
pub struct SecurityHeaders {
    https: bool,
    page_policy: HeaderValue,
    prepared: Arc<Prepared>,
    settings: Settings<Infallible>,
}

/// The headers of pages and of other responses, because copying a map costs a fraction of filling
/// one.
#[derive(Debug)]
pub struct Prepared {
    page: HeaderMap,
    data: HeaderMap,
}

impl SecurityHeaders {
    /// The default `Content-Security-Policy` of `text/html` responses. A handler whose page needs
    /// more, such as images of another origin, sets a modified copy.
    pub const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                                   img-src 'self' data:; font-src 'self'; connect-src 'self'; \
                                   form-action 'self'; base-uri 'none'; frame-ancestors 'none'; \
                                   object-src 'none'; manifest-src 'self'";

    /// The strict defaults, without `Strict-Transport-Security`.
    pub fn new() -> Self {
        let page_policy = HeaderValue::from_static(Self::PAGE_POLICY);
        let prepared = Prepared::new(false, &page_policy);
        Self { https: false, page_policy, prepared, settings: Settings::default() }
    }

    /// Whether the public URL is https. Then `Strict-Transport-Security: max-age=31536000;
    /// includeSubDomains` is sent. Default: no. A browser that received it refuses plain http to
    /// this host and its subdomains for a year, even if it is no longer sent.
    #[must_use]
    pub fn https(self, https: bool) -> Self {
        let prepared = Prepared::new(https, &self.page_policy);
        Self { https, prepared, ..self }
    }

    /// The `Content-Security-Policy` of `text/html` responses. Default: scripts, styles, images,
    /// fonts and connections of the own origin only (and `data:` images), no inline code, no
    /// frames, no plugins.
    #[must_use]
    pub fn page_policy(self, policy: HeaderValue) -> Self {
        let prepared = Prepared::new(self.https, &policy);
        Self { page_policy: policy, prepared, ..self }
    }

    /// Sets the headers on one response, by these rules.
    pub fn apply(&self, headers: &mut HeaderMap) {
        self.prepared.apply(headers);
    }
}

impl Prepared {
    fn new(https: bool, page_policy: &HeaderValue) -> Arc<Self> {
        let with_policy = |policy| {
            let lines = ALWAYS.into_iter().chain(DEFAULTS);
            let mut headers: HeaderMap =
                lines.map(|(name, value)| (name, HeaderValue::from_static(value))).collect();
            if https {
                headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(HSTS));
            }
            headers.insert(CONTENT_SECURITY_POLICY, policy);
            headers
        };
        let page = with_policy(page_policy.clone());
        let data = with_policy(HeaderValue::from_static(DATA_POLICY));
        Arc::new(Self { page, data })
    }

    fn apply(&self, headers: &mut HeaderMap) {
        let prepared = if media_type::is(headers, "text/html") { &self.page } else { &self.data };
        let own = std::mem::replace(headers, prepared.clone());
        let mut name = None;
        for (next, value) in own {
            // The iterator yields a name only with the first of its values.
            let is_first = next.is_some();
            name = next.or(name);
            match &name {
                Some(name) if is_fixed(name) => {}
                Some(name) if is_first => drop(headers.insert(name, value)),
                Some(name) => drop(headers.append(name, value)),
                None => {}
            }
        }
    }
}

/// Whether the header overwrites a handler's value.
fn is_fixed(name: &HeaderName) -> bool {
    *name == STRICT_TRANSPORT_SECURITY || ALWAYS.iter().any(|(fixed, _)| fixed == name)
}

impl Default for SecurityHeaders {
    fn default() -> Self {
        Self::new()
    }
}

guard_layer!(SecurityHeaders);

impl Guard for SecurityHeaders {
    type Rejection = Infallible;
    type Awaited = Infallible;
    type Note = Arc<Prepared>;

    fn settings(&self) -> &Settings<Infallible> {
        &self.settings
    }

    fn check(&self, _: &mut Request) -> Verdict<Self> {
        Verdict::Pass(Arc::clone(&self.prepared))
    }

    fn resume(&self, _: &mut Request, awaited: Infallible) -> Result<Arc<Prepared>, Infallible> {
        match awaited {}
    }

    fn finish(prepared: Arc<Prepared>, headers: &mut HeaderMap) {
        prepared.apply(headers);
    }
}
