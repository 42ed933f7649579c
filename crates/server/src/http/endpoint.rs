//! The URL table for the layers: for each path its access, its methods, and its pattern for the
//! log.

use axum::handler::Handler;
use axum::routing::MethodRouter;
use http::Method;
use tracera_guard::path_is_under;

use crate::domain::scope::Scope;
use crate::http::App;

/// The largest body routes read unless the table says otherwise.
pub const MAX_BODY_BYTES: usize = 16 * 1024;

/// The access to a path, and where its unsafe requests carry the CSRF token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody, and the same for everybody: no session is looked for.
    NoSession,
    /// Browsers that prove their device: the signed proof takes the CSRF token's place.
    DeviceProof,
    /// Everybody, with the CSRF token in a header.
    Public,
    /// Everybody, with the CSRF token in a field of the form.
    PublicPage,
    /// Who is signed in, with the CSRF token in a header. Anybody else gets 401.
    Private,
    /// Who is signed in, with the CSRF token in a field of the form. Anybody else is sent to the
    /// sign-in page.
    PrivatePage,
}

/// What is known of a path of the table.
#[derive(Clone, Copy, Debug)]
pub struct Endpoint {
    /// Who may pass.
    pub access: Access,
    /// The path as the table has it, with names in place of what varies.
    pub pattern: &'static str,
    /// Whether browsers are sent there, although it is no page.
    pub is_navigated: bool,
    /// Whether its forms are counted by the session that posts them, not by the client's address.
    pub is_counted_by_session: bool,
    /// The largest body that is read there, in bytes.
    pub max_body: usize,
    /// What an API token needs to be taken instead of a session; `None` where none is.
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
    /// Whether it is a page, whose forms carry the CSRF token in a field.
    pub fn is_page(&self) -> bool {
        matches!(self.access, Access::PublicPage | Access::PrivatePage)
    }

    /// Whether it takes that method.
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

/// A row without methods yet.
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
    /// Answers GET, and HEAD.
    #[must_use]
    pub fn get<H: Handler<T, App>, T: 'static>(self, handler: H) -> Self {
        self.with(Methods::GET, |handlers| handlers.get(handler))
    }

    /// Answers POST.
    #[must_use]
    pub fn post<H: Handler<T, App>, T: 'static>(self, handler: H) -> Self {
        self.with(Methods::POST, |handlers| handlers.post(handler))
    }

    /// Answers DELETE.
    #[must_use]
    pub fn delete<H: Handler<T, App>, T: 'static>(self, handler: H) -> Self {
        self.with(Methods::DELETE, |handlers| handlers.delete(handler))
    }

    /// Answers PUT.
    #[must_use]
    pub fn put<H: Handler<T, App>, T: 'static>(self, handler: H) -> Self {
        self.with(Methods::PUT, |handlers| handlers.put(handler))
    }

    /// Takes API tokens of that scope.
    #[must_use]
    pub fn scope(self, scope: Scope) -> Self {
        Self { scope: Some(scope), ..self }
    }

    /// Browsers are sent there: its errors are pages for them.
    #[must_use]
    pub fn navigated(self) -> Self {
        Self { is_navigated: true, ..self }
    }

    /// Its forms are counted by session. So neither others behind the same address, nor pages that
    /// use up its requests, can block the person.
    #[must_use]
    pub fn counted_by_session(self) -> Self {
        Self { is_counted_by_session: true, ..self }
    }

    /// Reads bodies of at most so many bytes, where [`MAX_BODY_BYTES`] is too little.
    #[must_use]
    pub fn reading(self, max_body: usize) -> Self {
        Self { max_body, ..self }
    }

    fn with(self, method: u8, add: impl FnOnce(MethodRouter<App>) -> MethodRouter<App>) -> Self {
        Self { methods: Methods(self.methods.0 | method), handlers: add(self.handlers), ..self }
    }

    /// Its path and what answers there.
    pub fn into_route(self) -> (&'static str, MethodRouter<App>) {
        (self.pattern, self.handlers)
    }

    /// What the layers know of it.
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
    /// What private paths of the API begin with, up to what varies.
    private: Vec<&'static str>,
}

impl Endpoints {
    /// The endpoint of a path as it stands in a request.
    pub fn find(&self, path: &str) -> Option<Endpoint> {
        self.by_path.at(path).ok().map(|found| *found.value)
    }

    /// Whether something behind this service might take the path for a private one of the API.
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
