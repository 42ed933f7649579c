//! The URL table for the layers. For each path it has the access rule, the methods, and the pattern
//! for the log.

use axum::handler::Handler;
use axum::routing::MethodRouter;
use http::Method;
use tracera_guard::path_is_under;

use crate::domain::scope::Scope;
use crate::http::App;

/// The default limit on a request body.
pub const MAX_BODY_BYTES: usize = 16 * 1024;

/// The access rule of a path. It includes where unsafe requests have the CSRF token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Open to everybody, with the same response for all: no session is loaded.
    NoSession,
    /// Open to browsers that prove their device. The signed proof replaces the CSRF token.
    DeviceProof,
    /// Open to everybody, with the CSRF token in a header.
    Public,
    /// Open to everybody, with the CSRF token in a form field.
    PublicPage,
    /// For signed-in users, with the CSRF token in a header. Others get 401.
    Private,
    /// For signed-in users, with the CSRF token in a form field. Others are redirected to the
    /// sign-in page.
    PrivatePage,
}

/// The properties of a path in the table.
#[derive(Clone, Copy, Debug)]
pub struct Endpoint {
    /// The access rule.
    pub access: Access,
    /// The path in the table, with names for its variable parts.
    pub pattern: &'static str,
    /// Whether browsers navigate to it although it is not a page.
    pub is_navigated: bool,
    /// Whether its forms are limited per session rather than per client address.
    pub is_counted_by_session: bool,
    /// The limit on its request body, in bytes.
    pub max_body: usize,
    /// The scope that an API token needs here; `None` if tokens are not accepted.
    pub scope: Option<Scope>,
    methods: Methods,
}

#[derive(Clone, Copy, Debug, Default)]
struct Methods(u8);

impl Methods {
    const GET: u8 = 1;
    const POST: u8 = 2;
    const DELETE: u8 = 4;
    const PUT: u8 = 8;

    fn takes(self, method: &Method) -> bool {
        let bit = match *method {
            Method::GET | Method::HEAD => Self::GET,
            Method::POST => Self::POST,
            Method::DELETE => Self::DELETE,
            Method::PUT => Self::PUT,
            _ => 0,
        };
        self.0 & bit != 0
    }
}

impl Endpoint {
    /// Whether it is a page, whose forms have the CSRF token in a field.
    pub fn is_page(&self) -> bool {
        matches!(self.access, Access::PublicPage | Access::PrivatePage)
    }

    /// Whether it accepts the method.
    pub fn takes(&self, method: &Method) -> bool {
        self.methods.takes(method)
    }
}

/// One row of the table.
pub struct Row {
    pattern: &'static str,
    is_navigated: bool,
    is_counted_by_session: bool,
    max_body: usize,
    scope: Option<Scope>,
    methods: Methods,
    handlers: MethodRouter<App>,
}

/// A row without methods.
pub fn at(pattern: &'static str) -> Row {
    Row {
        pattern,
        is_navigated: false,
        is_counted_by_session: false,
        max_body: MAX_BODY_BYTES,
        scope: None,
        methods: Methods::default(),
        handlers: MethodRouter::new(),
    }
}

impl Row {
    /// Handles GET and HEAD.
    #[must_use]
    pub fn get<H: Handler<T, App>, T: 'static>(self, handler: H) -> Self {
        self.with(Methods::GET, |handlers| handlers.get(handler))
    }

    /// Handles POST.
    #[must_use]
    pub fn post<H: Handler<T, App>, T: 'static>(self, handler: H) -> Self {
        self.with(Methods::POST, |handlers| handlers.post(handler))
    }

    /// Handles DELETE.
    #[must_use]
    pub fn delete<H: Handler<T, App>, T: 'static>(self, handler: H) -> Self {
        self.with(Methods::DELETE, |handlers| handlers.delete(handler))
    }

    /// Handles PUT.
    #[must_use]
    pub fn put<H: Handler<T, App>, T: 'static>(self, handler: H) -> Self {
        self.with(Methods::PUT, |handlers| handlers.put(handler))
    }

    /// Accepts API tokens with this scope.
    #[must_use]
    pub fn scope(self, scope: Scope) -> Self {
        Self { scope: Some(scope), ..self }
    }

    /// Browsers navigate to it, so its errors are rendered as pages.
    #[must_use]
    pub fn navigated(self) -> Self {
        Self { is_navigated: true, ..self }
    }

    /// Limits its forms per session. So neither others at the same address, nor pages that use up
    /// its requests, can block the user.
    #[must_use]
    pub fn counted_by_session(self) -> Self {
        Self { is_counted_by_session: true, ..self }
    }

    /// Limits request bodies to `max_body` bytes instead of [`MAX_BODY_BYTES`].
    #[must_use]
    pub fn reading(self, max_body: usize) -> Self {
        Self { max_body, ..self }
    }

    fn with(self, method: u8, add: impl FnOnce(MethodRouter<App>) -> MethodRouter<App>) -> Self {
        Self { methods: Methods(self.methods.0 | method), handlers: add(self.handlers), ..self }
    }

    /// The path and its handlers.
    pub fn into_route(self) -> (&'static str, MethodRouter<App>) {
        (self.pattern, self.handlers)
    }

    /// The properties for the layers.
    pub fn endpoint(&self, access: Access) -> Endpoint {
        let Self { pattern, is_navigated, is_counted_by_session, max_body, scope, methods, .. } =
            *self;
        Endpoint { access, pattern, is_navigated, is_counted_by_session, max_body, scope, methods }
    }
}

/// All endpoints by path.
#[derive(Clone, Debug, Default)]
pub struct Endpoints {
    by_path: matchit::Router<Endpoint>,
    /// The constant prefixes of the API's private paths.
    private: Vec<&'static str>,
}

impl Endpoints {
    /// The endpoint for a request's path.
    pub fn find(&self, path: &str) -> Option<Endpoint> {
        self.by_path.at(path).ok().map(|found| *found.value)
    }

    /// Whether a proxy or another server might interpret the path as a private one of the API.
    pub fn resembles_private(&self, path: &str) -> bool {
        self.private.iter().any(|private| path_is_under(path, private))
    }
}

impl FromIterator<Endpoint> for Endpoints {
    fn from_iter<I: IntoIterator<Item = Endpoint>>(endpoints: I) -> Self {
        let mut all = Self::default();
        for endpoint in endpoints {
            let pattern = endpoint.pattern;
            all.by_path.insert(pattern, endpoint).expect("the table has no conflicting paths");
            if endpoint.access == Access::Private {
                all.private.push(pattern.split('{').next().unwrap_or(pattern));
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_private_path_resembles_it() {
        let endpoints: Endpoints = [
            at("/api/v1/auth/logout").endpoint(Access::Private),
            at("/api/v1/auth/sessions/{handle}").endpoint(Access::Private),
            at("/api/v1/auth/csrf").endpoint(Access::Public),
        ]
        .into_iter()
        .collect();
        for spelling in [
            "/api/v1/auth/logout",
            "/api/v1/auth/logout/",
            "//api//v1/auth/logout",
            "/api/v1/./auth/x/../logout",
            "/api/v1/auth/%6cogout",
            "/api/v1/auth%2flogout",
            "/api/v1/auth/%256cogout",
            "/API/v1/Auth/LOGOUT",
            "/api/v1/auth/logout;x=1",
            "/api\\v1\\auth\\logout",
            "/%2e/api/v1/auth/logout",
            "/api/v1/auth/Sessions/x",
        ] {
            assert!(endpoints.resembles_private(spelling), "{spelling}");
        }
        for other in ["/", "/api/v1/auth/csrf/", "/api/v1/auth/nothing", "/api/v1/auth/logouts"] {
            assert!(!endpoints.resembles_private(other), "{other}");
        }
    }
}
