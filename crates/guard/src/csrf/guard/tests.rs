use axum::routing::get;
use axum::{Extension, Router};
use http::header::COOKIE;
use http::{StatusCode, header};
use http_body_util::BodyExt;
use proptest::prelude::*;
use tower::{Layer, Service, ServiceExt};

use super::*;

type Session = Result<Option<&'static str>, StatusCode>;
const FORM_LINE: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

fn session_of(request: &Extensions) -> Session {
    *request.get().unwrap()
}

fn guard() -> CsrfGuard {
    CsrfGuard::new(([7; 32], [[6; 32]]), session_of)
}

fn app(session: Session, guard: CsrfGuard) -> Router {
    let act = get(async || "seen").post(async |body: String| body).connect(async || "open");
    Router::new()
        .route("/csrf", get(issue_csrf_token))
        .route("/act", act)
        .layer(guard)
        .layer(Extension(session))
}

async fn send(
    app: &Router,
    method: &str,
    path: &str,
    lines: &[(&str, &str)],
    body: &str,
) -> Response {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in lines {
        request = request.header(*name, *value);
    }
    app.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap()
}

async fn text(response: Response) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

async fn post(app: &Router, token: &str, cookie: &str) -> StatusCode {
    send(app, "POST", "/act", &[("x-csrf-token", token), ("cookie", cookie)], "").await.status()
}

/// A token, and its visitor cookie.
async fn token(app: &Router) -> (String, String) {
    let response = send(app, "GET", "/csrf", &[], "").await;
    let cookie = response.headers().get(SET_COOKIE).map_or("", |line| line.to_str().unwrap());
    let cookie = cookie.split(';').next().unwrap().to_owned();
    (text(response).await.split('"').nth(3).unwrap().to_owned(), cookie)
}

#[tokio::test]
async fn a_token_is_good_for_the_session_or_visitor_it_was_handed_to() {
    let of = |session: Session| app(session, guard());
    let (ada, eve, nobody) = (of(Ok(Some("ada"))), of(Ok(Some("eve"))), of(Ok(None)));
    let (of_ada, no_cookie) = token(&ada).await;
    let (of_visitor, visitor) = token(&nobody).await;
    let (_, of_another) = token(&nobody).await;
    assert_eq!(no_cookie, "", "a session needs no visitor cookie");
    for (app, token, cookie, status) in [
        (&ada, &*of_ada, "", 200),
        (&eve, &*of_ada, "", 403),
        (&nobody, &*of_ada, &*visitor, 403),
        (&ada, &*of_visitor, &*visitor, 403),
        (&nobody, &*of_visitor, &*visitor, 200),
        (&nobody, &*of_visitor, &*of_another, 403),
        (&nobody, &*of_visitor, "", 403),
        (&ada, "", "", 403),
    ] {
        assert_eq!(post(app, token, cookie).await, status);
    }
    for method in ["GET", "CONNECT"] {
        assert_eq!(send(&ada, method, "/act", &[], "").await.status(), 200, "{method}");
    }
    for method in ["PUT", "PATCH", "DELETE", "TRACE", "BREW", "get"] {
        assert_eq!(send(&ada, method, "/act", &[], "").await.status(), 403, "{method}");
    }
}

/// The bound bytes and the MAC may change only together with a new purpose, because pages stay open
/// while a server is upgraded. Computed with Python's `hmac`.
#[test]
fn tokens_and_visitors_of_earlier_releases_stay_good() {
    const OF_SESSION: &str =
        "CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQlmz1xMJoph9GNyBp3v93v16pOWBGkUM4kc4mMHyTYhTA";
    const OF_VISITOR: &str =
        "CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQmfEA0s9mKginrCr97mINKkxpgHcR2KwEzpHPVB8Fu-4Q";
    const VISITOR: &str =
        "__Host-visitor=AgICAgICAgICAgICAgICAi3vKnKf4uscRhnSISPHnGbwfBk_xirHwwggJSFZx-3t";
    let guard = CsrfGuard::new(([7; 32], []), |request: &Extensions| {
        Ok::<_, StatusCode>(request.get::<[u8; 16]>().copied())
    })
    .visitor_cookie(VisitorCookie::new([8; 32], [], true));
    let mut signed_in = Extensions::new();
    signed_in.insert([1_u8; 16]);
    let headers = HeaderMap::from_iter([(COOKIE, HeaderValue::from_static(VISITOR))]);
    assert!(guard.verify(&signed_in, &headers, OF_SESSION).is_ok());
    assert!(guard.verify(&Extensions::new(), &headers, OF_VISITOR).is_ok());
}

#[tokio::test]
async fn a_refusal_says_why() {
    let refused = |rejection: CsrfRejection, _: &http::request::Parts| {
        (StatusCode::IM_A_TEAPOT, rejection.to_string()).into_response()
    };
    let app = app(Ok(None), guard().form_field("csrf_token").on_rejection(refused));
    let (token, cookie) = token(&app).await;
    let form = |value: &str| format!("a=b&csrf_token={value}");
    let large = form(&token) + "&x=" + &"x".repeat(MAX_FORM_BYTES);
    let none = "the request carries no token";
    let more = "the request carries more than one token";
    let visitor = "the request has neither a session nor a visitor cookie";
    let other = "the token belongs to another session or visitor";
    let too_large = "the form is too large to look for its token";
    for (lines, body, reason) in [
        (&[("cookie", &*cookie)][..], "", none),
        (&[("cookie", &cookie), FORM_LINE], "a=b", none),
        (&[("cookie", &cookie), ("content-type", "text/plain")], &*form(&token), none),
        (&[("cookie", &cookie), ("x-csrf-token", &token), ("x-csrf-token", &token)], "", more),
        (&[("cookie", &cookie), FORM_LINE], &form("made-up"), other),
        (&[("cookie", &cookie), FORM_LINE], &(form(&token) + "&" + &form(&token)), more),
        (&[("x-csrf-token", &token)], "", visitor),
        (&[FORM_LINE], &form(&token), visitor),
        (&[("cookie", &cookie), ("x-csrf-token", "x")], "", other),
        (&[("cookie", &cookie), ("x-csrf-token", "x"), FORM_LINE], &form(&token), other),
        (&[("cookie", &cookie), FORM_LINE], &large, too_large),
    ] {
        let response = send(&app, "POST", "/act", lines, body).await;
        assert_eq!(response.status(), StatusCode::IM_A_TEAPOT, "{lines:?} {body:.80}");
        assert_eq!(text(response).await, reason, "{lines:?} {body:.80}");
    }
}

#[tokio::test]
async fn a_form_carries_its_token_in_a_field_and_reaches_the_handler_whole() {
    let app = app(Ok(Some("ada")), guard().form_field("csrf_token"));
    let (token, _) = token(&app).await;
    for (content_type, body) in [
        ("application/x-www-form-urlencoded", format!("a=b&csrf_token={token}&c=%20d")),
        ("Application/X-WWW-Form-URLencoded; charset=utf-8", format!("%63srf_token={token}")),
    ] {
        let response = send(&app, "POST", "/act", &[("content-type", content_type)], &body).await;
        assert_eq!(response.status(), 200, "{content_type}");
        assert_eq!(text(response).await, body);
    }
    let by_header = [("x-csrf-token", &*token), FORM_LINE];
    let response = send(&app, "POST", "/act", &by_header, "no=token").await;
    assert_eq!(text(response).await, "no=token");

    let header_only = self::app(Ok(Some("ada")), guard());
    let form = format!("csrf_token={token}");
    assert_eq!(send(&header_only, "POST", "/act", &[FORM_LINE], &form).await.status(), 403);
}

#[tokio::test]
async fn whoever_answers_a_refusal_sees_the_form() {
    let again = |_, parts: &http::request::Parts| {
        let RefusedForm(form) = parts.extensions.get().unwrap();
        (StatusCode::FORBIDDEN, form.clone()).into_response()
    };
    let app = app(Ok(Some("ada")), guard().form_field("csrf_token").on_rejection(again));
    let response = send(&app, "POST", "/act", &[FORM_LINE], "csrf_token=old&text=typed").await;
    assert_eq!(response.status(), 403);
    assert_eq!(text(response).await, "csrf_token=old&text=typed");
}

#[tokio::test]
async fn a_session_that_is_not_known_is_neither_signed_in_nor_a_visitor() {
    let (of_visitor, visitor) = token(&app(Ok(None), guard())).await;
    let unknown = app(Err(StatusCode::SERVICE_UNAVAILABLE), guard().form_field("csrf_token"));
    assert_eq!(post(&unknown, &of_visitor, &visitor).await, 503);
    assert_eq!(send(&unknown, "POST", "/act", &[FORM_LINE], "csrf_token=x").await.status(), 503);
    assert_eq!(send(&unknown, "GET", "/csrf", &[], "").await.status(), 503);
    assert_eq!(send(&unknown, "GET", "/act", &[], "").await.status(), 200);
}

#[tokio::test]
async fn only_the_requests_of_the_predicate_are_looked_at() {
    let guard = guard().only(|request| request.uri().query() != Some("hook"));
    let app = app(Ok(None), guard);
    assert_eq!(send(&app, "POST", "/act", &[], "").await.status(), 403);
    assert_eq!(send(&app, "POST", "/act?hook", &[], "").await.status(), 200);
    assert_eq!(
        send(&app, "GET", "/csrf?hook", &[], "").await.status(),
        500,
        "outside of the guard"
    );
}

#[tokio::test]
async fn handlers_find_the_same_binding_however_often_they_ask() {
    async fn twice(one: CsrfBinding, other: CsrfBinding) -> String {
        format!("{}", one.as_bytes() == other.as_bytes())
    }
    let app = Router::new()
        .route("/", get(twice).post(async |binding: CsrfBinding| format!("{binding:?}")))
        .layer(guard().secure(false))
        .layer(Extension(Session::Ok(None)));
    assert_eq!(text(send(&app, "GET", "/", &[], "").await).await, "true", "a new visitor");

    let guard = guard().secure(false);
    let mut visitor = Extensions::new();
    visitor.insert(Session::Ok(None));
    let binding = guard.binding(&visitor, &HeaderMap::new()).unwrap();
    let cookie = binding.set_cookie().unwrap();
    let cookie = cookie.to_str().unwrap().split(';').next().unwrap();
    assert!(cookie.starts_with("visitor="), "{cookie}");
    let lines = [("x-csrf-token", &*binding.token()), ("cookie", cookie)];
    assert_eq!(text(send(&app, "POST", "/", &lines, "").await).await, "CsrfBinding(visitor)");
}

#[tokio::test]
async fn only_a_service_that_was_ready_is_called_and_by_no_refused_request() {
    /// Fails when it is called without `poll_ready`.
    #[derive(Default)]
    struct Strict {
        is_ready: bool,
    }
    impl Clone for Strict {
        fn clone(&self) -> Self {
            Self::default()
        }
    }
    impl Service<Request> for Strict {
        type Response = Response;
        type Error = std::convert::Infallible;
        type Future = std::future::Ready<Result<Response, Self::Error>>;

        fn poll_ready(
            &mut self,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), Self::Error>> {
            self.is_ready = true;
            std::task::Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request) -> Self::Future {
            assert!(std::mem::take(&mut self.is_ready), "it was not asked whether it is ready");
            std::future::ready(Ok("reached".into_response()))
        }
    }
    let mut extensions = Extensions::new();
    extensions.insert(Session::Ok(Some("ada")));
    let guard = guard().form_field("csrf_token");
    let token = guard.binding(&extensions, &HeaderMap::new()).unwrap().token();
    let mut service = guard.layer(Strict::default());
    for (body, status) in [("csrf_token=x".to_owned(), 403), (format!("csrf_token={token}"), 200)] {
        let mut request = Request::new(Body::from(body));
        *request.method_mut() = Method::POST;
        *request.extensions_mut() = extensions.clone();
        let form = HeaderValue::from_static(FORM);
        request.headers_mut().insert(header::CONTENT_TYPE, form);
        let response = service.ready().await.unwrap().call(request).await.unwrap();
        assert_eq!(response.status(), status);
    }
}

#[test]
fn a_form_has_exactly_one_token() {
    for (body, token) in [
        ("csrf_token=a%2Db&email=x", Ok(Some("a-b"))),
        ("email=x&csrf_token=a", Ok(Some("a"))),
        ("csrf_token=", Ok(Some(""))),
        ("csrf_token=a&csrf_token=a", Err(())),
        ("csrf_token=a&%63srf_token=b", Err(())),
        ("{\"csrf_token\":\"a\"}", Ok(None)),
        ("", Ok(None)),
    ] {
        let found = only_field(body.as_bytes(), "csrf_token");
        let found = found.as_ref().map(Option::as_deref).map_err(drop);
        assert_eq!(found, token, "{body}");
    }
}

proptest! {
    #[test]
    fn no_made_up_form_passes(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let app = app(Ok(Some("ada")), guard().form_field("csrf_token"));
        let request = Request::post("/act").header(FORM_LINE.0, FORM_LINE.1);
        let response = runtime.block_on(app.oneshot(request.body(Body::from(body)).unwrap()));
        prop_assert_eq!(response.unwrap().status(), 403);
    }
}
