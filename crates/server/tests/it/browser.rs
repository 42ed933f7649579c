//! A client with a cookie jar that checks the guarantees of every response.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, SET_COOKIE};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The security headers of every response, whatever its status.
const SECURITY_HEADERS: [(&str, &str); 4] = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "strict-origin-when-cross-origin"),
    ("x-xss-protection", "1; mode=block"),
];

/// A browser: stores cookies, and sends the CSRF token it got.
#[derive(Clone)]
pub(crate) struct Browser {
    pub(crate) base: String,
    http: Client,
    jar: Arc<Mutex<BTreeMap<String, String>>>,
    headers: HeaderMap,
}

/// A response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// In pages, each run of white space is one space, as browsers show it.
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|_| panic!("no JSON: {} {}", self.status, self.body))
    }

    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The complete `Set-Cookie` header for this cookie.
    pub(crate) fn set_cookie(&self, name: &str) -> Option<String> {
        let all = self.headers.get_all(SET_COOKIE).iter().map(|value| value.to_str().unwrap());
        all.into_iter().find(|line| line.starts_with(&format!("{name}="))).map(str::to_owned)
    }

    /// The location of a callback without a transaction of this browser. Such a callback does not
    /// change the cookies.
    #[track_caller]
    pub(crate) fn strayed(self) -> String {
        let answer = self.expect(303);
        let cookies: Vec<_> = answer.headers.get_all(SET_COOKIE).iter().collect();
        assert!(cookies.is_empty(), "{cookies:?}");
        answer.header("location").to_owned()
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self
    }

    #[track_caller]
    pub(crate) fn expect_error(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status.as_u16(), &*self.code()), (status, code), "{}", self.body);
        self
    }
}

impl Browser {
    pub(crate) fn new(addr: SocketAddr) -> Self {
        tracera::tls::install_provider();
        let http = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
            .build()
            .unwrap();
        Self {
            base: format!("http://{addr}"),
            http,
            jar: Arc::default(),
            headers: HeaderMap::new(),
        }
    }

    /// The same cookies against another instance.
    pub(crate) fn at(&self, addr: SocketAddr) -> Self {
        Self { base: format!("http://{addr}"), ..self.clone() }
    }

    /// The same cookies, without decompression of bodies.
    pub(crate) fn undecoded(&self) -> Self {
        let plain = Client::builder().redirect(reqwest::redirect::Policy::none()).no_gzip();
        Self { http: plain.build().unwrap(), ..self.clone() }
    }

    /// The same cookies and one more header on every request.
    pub(crate) fn with_header(&self, name: &'static str, value: &str) -> Self {
        let mut headers = self.headers.clone();
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        Self { headers, ..self.clone() }
    }

    /// Another browser with a copy of the cookies, as a thief would have.
    pub(crate) fn fork(&self) -> Self {
        Self { jar: Arc::new(Mutex::new(self.jar.lock().unwrap().clone())), ..self.clone() }
    }

    pub(crate) fn cookie(&self, name: &str) -> Option<String> {
        self.jar.lock().unwrap().get(name).cloned()
    }

    pub(crate) fn set_cookie(&self, name: &str, value: &str) {
        self.jar.lock().unwrap().insert(name.to_owned(), value.to_owned());
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Answer {
        self.try_send(method, path, headers, body).await.unwrap()
    }

    pub(crate) async fn try_send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> reqwest::Result<Answer> {
        self.answer(self.request(method, path, headers, body), path).await
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> RequestBuilder {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        match body {
            Some(body) => request.json(body),
            None => request,
        }
    }

    /// Like [`Browser::send`], without waiting for the response.
    pub(crate) async fn begin(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> OpenRequest {
        OpenRequest::send(self.with_cookies(self.request(method, path, headers, body))).await
    }

    /// Like [`Browser::submit`], without waiting for the response.
    pub(crate) async fn begin_form(&self, path: &str, fields: &[(&str, &str)]) -> OpenRequest {
        OpenRequest::send(self.with_cookies(self.form(path, fields))).await
    }

    fn with_cookies(&self, request: RequestBuilder) -> RequestBuilder {
        let request = request.headers(self.headers.clone());
        let jar = self.jar.lock().unwrap();
        if jar.is_empty() {
            return request;
        }
        let cookies: Vec<_> = jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        request.header("cookie", cookies.join("; "))
    }

    async fn answer(&self, request: RequestBuilder, path: &str) -> reqwest::Result<Answer> {
        let request = self.with_cookies(request);
        let response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let is_page =
            headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
        let body = response.text().await?;
        let body = if is_page { collapsed(&body) } else { body };
        let answer = Answer { status, headers, body };
        self.remember_cookies(&answer);
        self.check(&answer, path);
        Ok(answer)
    }

    fn remember_cookies(&self, answer: &Answer) {
        let mut jar = self.jar.lock().unwrap();
        for line in answer.headers.get_all(SET_COOKIE) {
            let line = line.to_str().unwrap();
            let (pair, attributes) = line.split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            if attributes.contains("Max-Age=0") {
                jar.remove(name);
            } else {
                jar.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    /// Checks the guarantees of every response: the headers once each, and no cookie value in the
    /// body.
    fn check(&self, answer: &Answer, path: &str) {
        for (name, value) in SECURITY_HEADERS {
            let found: Vec<_> = answer.headers.get_all(name).iter().collect();
            assert_eq!(found, [value], "{name} on {path}");
        }
        for name in [
            "content-security-policy",
            "permissions-policy",
            "cross-origin-opener-policy",
            "cache-control",
        ] {
            assert_eq!(answer.headers.get_all(name).iter().count(), 1, "{name} on {path}");
        }
        for value in self.jar.lock().unwrap().values() {
            assert!(
                value.len() < 20 || !answer.body.contains(value),
                "a cookie in the body of {path}"
            );
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], None).await
    }

    pub(crate) async fn csrf(&self) -> String {
        let answer = self.get("/api/v1/auth/csrf").await.expect(200);
        answer.json()["csrf_token"].as_str().unwrap().to_owned()
    }

    /// An unsafe request with a fresh CSRF token.
    pub(crate) async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let token = self.csrf().await;
        self.send(method, path, &[("x-csrf-token", &token)], body).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call(Method::POST, path, Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.call(Method::DELETE, path, None).await
    }

    /// The CSRF token in the forms of a page.
    pub(crate) async fn form_token(&self, path: &str) -> String {
        token_in(&self.get(path).await.expect(200).body)
    }

    /// Posts a form as a browser without scripts does.
    pub(crate) async fn submit(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.answer(self.form(path, fields), path).await.unwrap()
    }

    fn form(&self, path: &str, fields: &[(&str, &str)]) -> RequestBuilder {
        let body =
            url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.http
            .post(format!("{}{path}", self.base))
            .header("content-type", "application/x-www-form-urlencoded")
            .header("accept", "text/html")
            .body(body)
    }

    /// Posts this body.
    pub(crate) async fn post_text(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut request = self.http.post(format!("{}{path}", self.base)).body(body.to_owned());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.answer(request, path).await.unwrap()
    }

    /// Opens a stream of server-sent events.
    pub(crate) async fn open(&self, path: &str) -> EventStream {
        let response =
            self.with_cookies(self.http.get(format!("{}{path}", self.base))).send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["x-accel-buffering"], "no", "nginx would hold events back");
        EventStream { response, rest: String::new() }
    }

    pub(crate) async fn request_link(&self, email: &str) -> Answer {
        self.post("/api/v1/auth/magic/request", &json!({ "email": email })).await
    }

    pub(crate) async fn redeem(&self, token: &str) -> Answer {
        self.post("/api/v1/auth/magic/verify", &json!({ "token": token })).await
    }

    pub(crate) async fn logout(&self) -> Answer {
        self.call(Method::POST, "/api/v1/auth/logout", None).await
    }

    /// The signed-in user's id, or `None`.
    pub(crate) async fn me(&self) -> Option<String> {
        let answer = self.get("/api/v1/auth/me").await.expect(200);
        answer.json()["user"]["id"].as_str().map(str::to_owned)
    }
}

/// The CSRF token in the first form of this page.
pub(crate) fn token_in(page: &str) -> String {
    let (_, after) = page.split_once("name=\"csrf_token\" value=\"").expect("a form on the page");
    after.split_once('"').unwrap().0.to_owned()
}

/// An open stream of server-sent events.
pub(crate) struct EventStream {
    response: reqwest::Response,
    rest: String,
}

impl EventStream {
    /// The next event as it was sent; empty at the end of the stream.
    pub(crate) async fn next_event(&mut self) -> String {
        loop {
            if let Some((event, rest)) = self.rest.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.rest = rest;
                return event;
            }
            let Some(chunk) = self.response.chunk().await.unwrap() else { return String::new() };
            self.rest.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}

/// A request on a connection of its own, whose response has not been read.
pub(crate) struct OpenRequest(TcpStream);

impl OpenRequest {
    async fn send(request: RequestBuilder) -> Self {
        let request = request.build().unwrap();
        let url = request.url();
        let authority = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
        let mut stream = TcpStream::connect(&authority).await.unwrap();
        let (method, path) = (request.method(), url.path());
        let body = request.body().map_or(&[][..], |body| body.as_bytes().unwrap());
        let field = |(name, value): (&HeaderName, &HeaderValue)| {
            format!("{name}: {}\r\n", value.to_str().unwrap())
        };
        let fields = request.headers().iter().map(field).collect::<Vec<_>>().concat();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {authority}\r\ncontent-length: {}\r\n{fields}\r\n",
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
        Self(stream)
    }

    /// Closes the connection before the response, and waits until the service has noticed.
    pub(crate) async fn hang_up(mut self) {
        self.0.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let ended = timeout(Duration::from_secs(10), self.0.read_to_end(&mut answer)).await;
        ended.expect("the service notices in time").unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), "", "it was answered before it was given up");
    }
}

/// A page with each run of white space as one space, as browsers show it.
fn collapsed(page: &str) -> String {
    page.split_whitespace().collect::<Vec<_>>().join(" ")
}
