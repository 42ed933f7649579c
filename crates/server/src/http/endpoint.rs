//! The URL table as the layers know it: for each path who may pass, which methods it takes, and its
//! pattern for the log.

use axum::extract::Request;
use axum::handler::Handler;
use axum::routing::MethodRouter;
use http::Method;

use crate::http::App;

/// Who may pass to a path, and how its unsafe requests prove that they are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody, and the same for everybody: no session is looked for.
    NoSession,
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

/// What is known of a path of the table. In the extensions of every request that goes to one.
#[derive(Clone, Copy, Debug)]
pub struct Endpoint {
    /// Who may pass.
    pub access: Access,
    /// The path as the table has it, with names in place of what varies.
    pub pattern: &'static str,
    /// Whether browsers are sent there, although it is no page.
    pub is_navigated: bool,
    methods: Methods,
}

#[derive(Clone, Copy, Debug, Default)]
struct Methods(u8);

impl Methods {
    const GET: u8 = 1;
    const POST: u8 = 2;
    const DELETE: u8 = 4;

    fn takes(self, method: &Method) -> bool {
        let bit = match *method {
            Method::GET | Method::HEAD => Self::GET,
            Method::POST => Self::POST,
            Method::DELETE => Self::DELETE,
            _ => 0,
        };
        self.0 & bit != 0
    }
}

impl Endpoint {
    /// The one this request goes to, if it takes its method. What it does not take is answered 405
    /// whatever else.
    pub fn of(request: &Request) -> Option<Self> {
        let endpoint = *request.extensions().get::<Self>()?;
        endpoint.takes(request.method()).then_some(endpoint)
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
    methods: Methods,
    handlers: MethodRouter<App>,
}

/// A row without methods yet.
pub fn at(pattern: &'static str) -> Row {
    Row { pattern, is_navigated: false, methods: Methods::default(), handlers: MethodRouter::new() }
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

    /// Browsers are sent there: its errors are pages for them.
    #[must_use]
    pub fn navigated(self) -> Self {
        Self { is_navigated: true, ..self }
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
        let Self { pattern, is_navigated, methods, .. } = *self;
        Endpoint { access, pattern, is_navigated, methods }
    }
}

/// All endpoints by path.
#[derive(Clone, Debug, Default)]
pub struct Endpoints(matchit::Router<Endpoint>);

impl Endpoints {
    /// The endpoint of a path as it stands in a request.
    pub fn find(&self, path: &str) -> Option<Endpoint> {
        self.0.at(path).ok().map(|found| *found.value)
    }
}

impl FromIterator<Endpoint> for Endpoints {
    fn from_iter<I: IntoIterator<Item = Endpoint>>(endpoints: I) -> Self {
        let mut paths = matchit::Router::new();
        for endpoint in endpoints {
            paths.insert(endpoint.pattern, endpoint).expect("the table has no conflicting paths");
        }
        Self(paths)
    }
}
