//! The binding of CSRF tokens: the signed-in session, else the visitor.

use std::fmt;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::response::Response;
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderValue};

use super::{CsrfKeys, CsrfRejection, VisitorCookie, VisitorId};

pub(super) type SessionOf =
    dyn Fn(&Extensions) -> Result<Option<Vec<u8>>, Box<Response>> + Send + Sync;

/// Makes and checks tokens. Every request inside the guard has it in its extensions.
#[derive(Clone)]
pub(super) struct Issuer {
    pub(super) keys: CsrfKeys,
    pub(super) visitors: VisitorCookie,
    pub(super) session_of: Arc<SessionOf>,
}

/// The binding of a request's CSRF tokens: the signed-in session or, when signed out, the visitor.
/// An extractor for handlers inside [`CsrfGuard`](crate::CsrfGuard).
///
/// 1. A signed-out browser without a visitor cookie becomes a new visitor.
/// 2. An answer with a token must set the cookie of [`CsrfBinding::set_cookie`]. Without it the
///    token of a new visitor is never accepted.
///
/// ```
/// use axum::http::header::SET_COOKIE;
/// use axum::response::{AppendHeaders, Html, IntoResponse};
/// use tracera_guard::CsrfBinding;
///
/// async fn form(csrf: CsrfBinding) -> impl IntoResponse {
///     let cookie = csrf.set_cookie().map(|cookie| (SET_COOKIE, cookie));
///     let field = format!("<input type=hidden name=csrf value={}>", csrf.token());
///     (AppendHeaders(cookie), Html(field))
/// }
/// ```
#[derive(Clone)]
pub struct CsrfBinding {
    issuer: Arc<Issuer>,
    bytes: Vec<u8>,
    visitor: Option<VisitorId>,
}

impl CsrfBinding {
    /// A fresh token: 86 characters of base64url. Every call returns a different token. All are
    /// valid as long as the binding and the key.
    ///
    /// # Panics
    /// If the operating system has no random bytes to give.
    pub fn token(&self) -> String {
        self.issuer.keys.issue(&self.bytes)
    }

    /// The `Set-Cookie` that must accompany a token: the visitor cookie, for another ten minutes.
    /// `None` for a signed-in session.
    pub fn set_cookie(&self) -> Option<HeaderValue> {
        self.visitor.as_ref().map(|visitor| self.issuer.visitors.renew(visitor))
    }

    /// Bytes unique to this session or visitor. They can bind other values too, such as a code that
    /// only the requesting browser may redeem.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn verify(&self, token: &str) -> bool {
        self.issuer.keys.verify(&self.bytes, token)
    }
}

/// The bytes are not printed: with them and the key anybody could make tokens.
impl fmt::Debug for CsrfBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.visitor.is_some() {
            "CsrfBinding(visitor)"
        } else {
            "CsrfBinding(session)"
        })
    }
}

impl<S: Sync> FromRequestParts<S> for CsrfBinding {
    type Rejection = CsrfRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, CsrfRejection> {
        if let Some(binding) = parts.extensions.get::<Self>() {
            return Ok(binding.clone());
        }
        let issuer = parts.extensions.get::<Arc<Issuer>>().ok_or(CsrfRejection::NoGuard)?;
        let binding = issuer.binding(&parts.extensions, &parts.headers)?;
        // Later extractors get the same new visitor.
        parts.extensions.insert(binding.clone());
        Ok(binding)
    }
}

impl Issuer {
    /// The binding of the request; `None` for a signed-out browser without a visitor cookie.
    pub(super) fn known_binding(
        self: &Arc<Self>,
        request: &Extensions,
        headers: &HeaderMap,
    ) -> Result<Option<CsrfBinding>, CsrfRejection> {
        if let Some(id) = (self.session_of)(request).map_err(CsrfRejection::SessionUnknown)? {
            let bytes = [b"session:", &id[..]].concat();
            return Ok(Some(CsrfBinding { issuer: Arc::clone(self), bytes, visitor: None }));
        }
        Ok(self.visitors.parse(headers).map(|visitor| self.of_visitor(visitor)))
    }

    /// The binding of the request, or that of a new visitor.
    pub(super) fn binding(
        self: &Arc<Self>,
        request: &Extensions,
        headers: &HeaderMap,
    ) -> Result<CsrfBinding, CsrfRejection> {
        let known = self.known_binding(request, headers)?;
        Ok(known.unwrap_or_else(|| self.of_visitor(self.visitors.issue().0)))
    }

    fn of_visitor(self: &Arc<Self>, visitor: VisitorId) -> CsrfBinding {
        let bytes = [b"visitor:", visitor.as_bytes()].concat();
        CsrfBinding { issuer: Arc::clone(self), bytes, visitor: Some(visitor) }
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer")
            .field("keys", &self.keys)
            .field("visitors", &self.visitors)
            .finish_non_exhaustive()
    }
}
