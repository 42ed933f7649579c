//! The token check as a layer: [`CsrfGuard`] has the rules.

use std::fmt;
use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, SET_COOKIE};
use http::{Extensions, HeaderMap, HeaderValue, Method};
use url::form_urlencoded;

use super::binding::{CsrfBinding, Issuer};
use super::{CSRF_HEADER, CsrfKeys, CsrfRejection, VisitorCookie, is_safe_method, single_line};
use crate::layer::{Guard, Settings, Verdict, guard_layer};
use crate::media_type;

/// The default limit for forms that are read for their token, in bytes.
const MAX_FORM_BYTES: usize = 16 * 1024;

/// Refuses unsafe requests without a CSRF token of their session or visitor; a [`tower::Layer`].
///
/// 1. GET, HEAD, OPTIONS and CONNECT pass, so their handlers must change nothing. A page cannot add
///    a header to the handshake of a WebSocket, so [`OriginPolicy`](crate::OriginPolicy) checks
///    that.
/// 2. Any other request needs a token in exactly one line of [`CSRF_HEADER`].
/// 3. With [`CsrfGuard::form_field`], a request without that header may carry the token in exactly
///    one field of a form (`application/x-www-form-urlencoded`) instead. The body is read up to a
///    limit and handed on whole.
/// 4. **Binding.** A token is valid for one binding: the id of the signed-in session, else the
///    [`VisitorCookie`]. So a token ends at sign-in, and with its session.
/// 5. If the session's store does not answer, its error is the response. The request never counts
///    as a visitor's.
/// 6. A token has no expiry.
/// 7. Each token is masked afresh, so that compression leaks nothing about it (BREACH).
/// 8. Handlers inside the guard extract the [`CsrfBinding`] of the request and make tokens from it.
///
/// The scheme is the [HMAC-based token] of OWASP's cheat sheet.
///
/// For a deployment: put the guard inside the session layer, inside
/// [`OriginPolicy`](crate::OriginPolicy), and inside the layer that answers 401. If the guard reads
/// forms, put a time limit around it.
///
/// ```
/// use axum::{Router, response::{Html, IntoResponse}, routing::get};
/// use http::{Extensions, StatusCode, header::SET_COOKIE};
/// use tracera_guard::{CsrfBinding, CsrfGuard, issue_csrf_token};
///
/// /// What your session layer puts into the requests of who is signed in; it must change at every
/// /// sign-in.
/// #[derive(Clone)]
/// struct SessionId([u8; 16]);
///
/// fn session_of(request: &Extensions) -> Result<Option<[u8; 16]>, StatusCode> {
///     Ok(request.get::<SessionId>().map(|id| id.0))
/// }
///
/// async fn page(csrf: CsrfBinding) -> impl IntoResponse {
///     let field = format!(r#"<input type="hidden" name="csrf_token" value="{}">"#, csrf.token());
///     let form = format!(r#"<form method="post">{field}<button>Pay</button></form>"#);
///     (csrf.set_cookie().map(|cookie| [(SET_COOKIE, cookie)]), Html(form))
/// }
///
/// // A random key, and the previous ones: what `KeyRing::derive` of `tracera-session` returns.
/// let keys = ([7; 32], vec![]);
/// let app: Router = Router::new()
///     .route("/csrf", get(issue_csrf_token))
///     .route("/pay", get(page).post(async || "paid"))
///     .layer(CsrfGuard::new(keys, session_of).form_field("csrf_token"));
/// ```
///
/// [HMAC-based token]: https://cheatsheetseries.owasp.org/cheatsheets/Cross-Site_Request_Forgery_Prevention_Cheat_Sheet.html
#[derive(Clone)]
pub struct CsrfGuard {
    issuer: Arc<Issuer>,
    form_field: Option<&'static str>,
    max_form_bytes: usize,
    settings: Settings<CsrfRejection>,
}

/// The whole form whose token was refused. The function given to [`CsrfGuard::on_rejection`] finds
/// it in the extensions.
#[derive(Clone, Debug)]
pub struct RefusedForm(pub Bytes);

impl CsrfGuard {
    /// Signs with the first key; tokens made with one of the previous keys stay valid. The keys
    /// must be random and used for nothing else.
    ///
    /// `session_of` finds the signed-in session in the extensions of a request. It returns one of:
    ///
    /// * bytes unique to this session that change with its id,
    /// * `None` for a signed-out request, even with an anonymous session, because that may begin
    ///   while a page with a token is open,
    /// * an error when the session is not known; the error is the response.
    ///
    /// `Session::csrf_binding` of `tracera-session` is such a function.
    pub fn new<B: AsRef<[u8]>, E: IntoResponse>(
        (current, previous): ([u8; 32], impl IntoIterator<Item = [u8; 32]>),
        session_of: impl Fn(&Extensions) -> Result<Option<B>, E> + Send + Sync + 'static,
    ) -> Self {
        let previous: Vec<_> = previous.into_iter().collect();
        let visitors = VisitorCookie::new(current, previous.iter().copied(), true);
        let session_of = move |request: &Extensions| match session_of(request) {
            Ok(id) => Ok(id.map(|id| id.as_ref().to_vec())),
            Err(error) => Err(Box::new(error.into_response())),
        };
        let keys = CsrfKeys::new(current, previous);
        Self {
            issuer: Arc::new(Issuer { keys, visitors, session_of: Arc::new(session_of) }),
            form_field: None,
            max_form_bytes: MAX_FORM_BYTES,
            settings: Settings::default(),
        }
    }

    /// The cookie of signed-out browsers. Default: a [`VisitorCookie`] with the same keys.
    #[must_use]
    pub fn visitor_cookie(mut self, visitors: VisitorCookie) -> Self {
        Arc::make_mut(&mut self.issuer).visitors = visitors;
        self
    }

    /// Whether the visitor cookie is `Secure`. Default: true; use false for plain http.
    #[must_use]
    pub fn secure(mut self, secure: bool) -> Self {
        let issuer = Arc::make_mut(&mut self.issuer);
        issuer.visitors = issuer.visitors.clone().secure(secure);
        self
    }

    /// Also accepts the token in this field of a form. Default: only in the header.
    #[must_use]
    pub fn form_field(self, name: &'static str) -> Self {
        Self { form_field: Some(name), ..self }
    }

    /// The size limit of forms that are read for their token, in bytes. A larger form is refused
    /// with 413. Default: 16 KiB.
    #[must_use]
    pub fn max_form_bytes(self, max_form_bytes: usize) -> Self {
        Self { max_form_bytes, ..self }
    }

    /// The binding of the request with these extensions and headers. For a signed-out browser
    /// without a visitor cookie it is that of a new visitor. Handlers inside the layer extract
    /// [`CsrfBinding`] instead.
    ///
    /// # Errors
    /// [`CsrfRejection::SessionUnknown`].
    ///
    /// # Panics
    /// If the operating system has no random bytes to give.
    pub fn binding(
        &self,
        request: &Extensions,
        headers: &HeaderMap,
    ) -> Result<CsrfBinding, CsrfRejection> {
        self.issuer.binding(request, headers)
    }

    /// Whether `token` was issued for the request with these extensions and headers.
    ///
    /// # Errors
    /// [`CsrfRejection`] gives the reason.
    pub fn verify(
        &self,
        request: &Extensions,
        headers: &HeaderMap,
        token: &str,
    ) -> Result<(), CsrfRejection> {
        verify(self.issuer.known_binding(request, headers)?.as_ref(), Some(token))
    }
}

fn verify(binding: Option<&CsrfBinding>, token: Option<&str>) -> Result<(), CsrfRejection> {
    let token = token.ok_or(CsrfRejection::NoToken)?;
    let binding = binding.ok_or(CsrfRejection::NoVisitor)?;
    if binding.verify(token) { Ok(()) } else { Err(CsrfRejection::OtherBinding) }
}

impl fmt::Debug for CsrfGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CsrfGuard")
            .field("issuer", &self.issuer)
            .field("form_field", &self.form_field)
            .finish_non_exhaustive()
    }
}

guard_layer!(CsrfGuard, CsrfRejection);

impl Guard for CsrfGuard {
    type Rejection = CsrfRejection;
    type Awaited = Result<Bytes, axum::Error>;
    type Note = ();

    fn settings(&self) -> &Settings<CsrfRejection> {
        &self.settings
    }

    fn check(&self, request: &mut Request) -> Verdict<Self> {
        request.extensions_mut().insert(Arc::clone(&self.issuer));
        if is_safe_method(request.method()) || *request.method() == Method::CONNECT {
            return Verdict::Pass(());
        }
        let binding = match self.issuer.known_binding(request.extensions(), request.headers()) {
            Ok(binding) => binding,
            Err(rejection) => return Verdict::Reject(rejection),
        };
        let header = single_line(request.headers(), &CSRF_HEADER);
        let waits = matches!(header, Ok(None)) && self.form_field.is_some();
        let decided = if waits && media_type::is(request.headers(), FORM) {
            None
        } else {
            Some(header.map_err(CsrfRejection::from).and_then(|line| {
                verify(binding.as_ref(), line.map(|line| line.to_str().unwrap_or_default()))
            }))
        };
        if let Some(binding) = binding {
            request.extensions_mut().insert(binding);
        }
        match decided {
            Some(decided) => logged(decided).into(),
            None => {
                let body = std::mem::take(request.body_mut());
                Verdict::Wait(Box::pin(to_bytes(body, self.max_form_bytes)))
            }
        }
    }

    fn resume(
        &self,
        request: &mut Request,
        form: Result<Bytes, axum::Error>,
    ) -> Result<(), CsrfRejection> {
        let form = form.map_err(|_| CsrfRejection::FormTooLarge)?;
        let token = only_field(&form, self.form_field.unwrap_or_default());
        let decided = token.and_then(|token| verify(request.extensions().get(), token.as_deref()));
        if decided.is_err() {
            request.extensions_mut().insert(RefusedForm(form));
        } else {
            *request.body_mut() = Body::from(form);
        }
        logged(decided)
    }
}

const FORM: &str = "application/x-www-form-urlencoded";

fn only_field(form: &[u8], name: &str) -> Result<Option<String>, CsrfRejection> {
    let mut fields = form_urlencoded::parse(form).filter(|(found, _)| found == name);
    match (fields.next(), fields.next()) {
        (field, None) => Ok(field.map(|(_, value)| value.into_owned())),
        _ => Err(CsrfRejection::RepeatedToken),
    }
}

fn logged(decided: Result<(), CsrfRejection>) -> Result<(), CsrfRejection> {
    decided.inspect_err(|reason| {
        tracing::warn!(event = "csrf_failed", %reason, "an unsafe request had no valid CSRF token");
    })
}

/// A handler for use inside [`CsrfGuard`]. It answers with a fresh token, `{"csrf_token": "…"}`,
/// and gives a signed-out browser its visitor cookie.
pub async fn issue_csrf_token(binding: CsrfBinding) -> Response {
    let mut response =
        Response::new(Body::from(format!(r#"{{"csrf_token":"{}"}}"#, binding.token())));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(cookie) = binding.set_cookie() {
        headers.append(SET_COOKIE, cookie);
    }
    response
}

#[cfg(test)]
mod tests;
