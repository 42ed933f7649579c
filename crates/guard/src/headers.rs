//! Security headers on every response: [`SecurityHeaders`] has the rules.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::response::Response;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS, X_XSS_PROTECTION,
};
use http::{HeaderMap, HeaderValue, Request};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

const DATA_POLICY: &str =
    "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; \
     frame-ancestors 'none'; object-src 'none'";
const PERMISSIONS: &str = "accelerometer=(), autoplay=(), browsing-topics=(), camera=(), \
     display-capture=(), encrypted-media=(), fullscreen=(), geolocation=(), gyroscope=(), \
     magnetometer=(), microphone=(), midi=(), payment=(), picture-in-picture=(), \
     publickey-credentials-get=(self), screen-wake-lock=(), serial=(), usb=(), \
     xr-spatial-tracking=()";

const HSTS: &str = "max-age=31536000; includeSubDomains";

/// What every response says, whoever made it.
const ALWAYS: [(HeaderName, &str); 3] = [
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    // Long retired by browsers; scanners and product rules still ask for it, and it does no harm
    // beside a CSP.
    (X_XSS_PROTECTION, "1; mode=block"),
];

/// What a response says whose handler does not say otherwise.
const DEFAULTS: [(HeaderName, &str); 5] = [
    (HeaderName::from_static("permissions-policy"), PERMISSIONS),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (REFERRER_POLICY, "strict-origin-when-cross-origin"),
    (CACHE_CONTROL, "no-store"),
];

/// Which security headers every response carries; a tower [`Layer`].
///
/// 1. They are put on whatever comes back from below: handlers, fallbacks, other layers, redirects,
///    errors. Make this the outermost layer and put panic catching below it; then nothing leaves
///    without them.
/// 2. `Content-Security-Policy`, `Referrer-Policy`, `Permissions-Policy`,
///    `Cross-Origin-Opener-Policy`, `Cross-Origin-Resource-Policy` and `Cache-Control` are
///    defaults: a handler that set its own keeps it. `X-Content-Type-Options`, `X-Frame-Options`,
///    `X-XSS-Protection` and `Strict-Transport-Security` are fixed and overwrite what a handler
///    set. No header is ever doubled by this layer.
/// 3. A `text/html` response gets the page policy, everything else a policy that forbids
///    everything.
/// 4. `Strict-Transport-Security` is sent only when the public URL is https
///    ([`SecurityHeaders::https`]).
///
/// ```
/// use axum::{Router, routing::get};
/// use tracera_guard::SecurityHeaders;
///
/// let app: Router = Router::new()
///     .route("/", get(async || "hello"))
///     .layer(SecurityHeaders::new().https(true));
/// ```
#[derive(Clone, Debug)]
pub struct SecurityHeaders {
    https: bool,
    page_policy: HeaderValue,
    prepared: Arc<Prepared>,
}

/// What is put on responses. Copying a map is a fraction of the work of filling one.
#[derive(Debug)]
struct Prepared {
    page: HeaderMap,
    data: HeaderMap,
}

impl SecurityHeaders {
    /// The strict defaults, without `Strict-Transport-Security`.
    pub fn new() -> Self {
        Self::prepare(false, HeaderValue::from_static(PAGE_POLICY))
    }

    /// Whether the public URL is https, which turns on `Strict-Transport-Security:
    /// max-age=31536000; includeSubDomains`. Default: no. Browsers that saw it refuse plain http to
    /// this host and to every host below it for a year, and do not forget sooner because it is no
    /// longer sent.
    #[must_use]
    pub fn https(self, https: bool) -> Self {
        Self::prepare(https, self.page_policy)
    }

    /// The `Content-Security-Policy` of `text/html` responses. Default: scripts, styles, images,
    /// fonts and connections of the own origin only (and `data:` images), no inline code, no
    /// frames, no plugins.
    #[must_use]
    pub fn page_policy(self, policy: HeaderValue) -> Self {
        Self::prepare(self.https, policy)
    }

    fn prepare(https: bool, page_policy: HeaderValue) -> Self {
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
        Self { https, page_policy, prepared: Arc::new(Prepared { page, data }) }
    }

    /// Puts the headers on one response, by these rules.
    pub fn apply(&self, headers: &mut HeaderMap) {
        let prepared = if is_html(headers) { &self.prepared.page } else { &self.prepared.data };
        let own = std::mem::replace(headers, prepared.clone());
        let mut name = None;
        for (next, value) in own {
            // A name comes with the first of its values.
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

/// Whether a handler's own value does not count.
fn is_fixed(name: &HeaderName) -> bool {
    *name == STRICT_TRANSPORT_SECURITY || ALWAYS.iter().any(|(fixed, _)| fixed == name)
}

/// The default policy of pages, with images of one more origin, for the answer of a single page.
///
/// # Panics
/// If `origin` is no origin: visible ASCII without `;` and `,`, such as `https://images.example`.
pub fn page_policy_with_images_of(origin: &str) -> HeaderValue {
    let is_origin =
        origin.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';' && byte != b',');
    assert!(is_origin && !origin.is_empty(), "one origin, such as https://images.example");
    let policy = PAGE_POLICY.replace("img-src 'self'", &format!("img-src 'self' {origin}"));
    HeaderValue::try_from(policy).expect("the policy and an origin are visible ASCII")
}

impl Default for SecurityHeaders {
    fn default() -> Self {
        Self::new()
    }
}

fn is_html(headers: &HeaderMap) -> bool {
    let Some(content_type) = headers.get(CONTENT_TYPE) else {
        return false;
    };
    let essence = content_type.as_bytes().split(|byte| *byte == b';').next();
    essence.is_some_and(|essence| essence.trim_ascii().eq_ignore_ascii_case(b"text/html"))
}

impl<S> Layer<S> for SecurityHeaders {
    type Service = SecurityHeadersService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        SecurityHeadersService { inner, headers: self.clone() }
    }
}

/// The service [`SecurityHeaders`] wraps around another.
#[derive(Clone, Debug)]
pub struct SecurityHeadersService<S> {
    inner: S,
    headers: SecurityHeaders,
}

impl<S, B, R> Service<Request<B>> for SecurityHeadersService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = SecurityHeadersFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        SecurityHeadersFuture { inner: self.inner.call(request), headers: self.headers.clone() }
    }
}

pin_project! {
    /// The future of [`SecurityHeadersService`].
    #[derive(Debug)]
    pub struct SecurityHeadersFuture<F> {
        #[pin]
        inner: F,
        headers: SecurityHeaders,
    }
}

impl<F, R, E> Future for SecurityHeadersFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(cx))?;
        this.headers.apply(response.headers_mut());
        Poll::Ready(Ok(response))
    }
}
