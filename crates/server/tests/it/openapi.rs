//! `docs/openapi.json` matches the server: it has the paths and methods of the URL table, and
//! responses fit its schemas.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::browser::{Answer, Browser};
use crate::harness::TestApp;
use crate::portfolio::World;
use crate::portfolio::upstream::steam::asset;
use schema::complaint;

mod schema;

const ROUTES: &str = include_str!("../../src/router.rs");
const MANY: (&str, &str) = ("AUTH_RATE_LIMIT_PER_MINUTE", "10000");

fn document() -> Value {
    serde_json::from_str(include_str!("../../../../docs/openapi.json")).unwrap()
}

/// The description of a response with that status, with references resolved.
fn described<'d>(document: &'d Value, path: &str, method: &str, status: &str) -> &'d Value {
    let response = &document["paths"][path][method]["responses"][status];
    match response["$ref"].as_str() {
        Some(reference) => document.pointer(&reference[1..]).unwrap(),
        None => response,
    }
}

/// Checks that the document allows `answer` for this operation.
#[track_caller]
fn fits(document: &Value, method: &Method, path: &str, answer: &Answer) {
    let status = answer.status.as_str();
    let response = described(document, path, &method.as_str().to_lowercase(), status);
    assert!(response["description"].is_string(), "{method} {path}: {status} is not described");
    let kind = answer.header("content-type").split(';').next().unwrap();
    if kind.is_empty() {
        assert!(response["content"].is_null() && answer.body.is_empty(), "{method} {path}");
        return;
    }
    let content = &response["content"][kind];
    assert!(content.is_object(), "{method} {path}: {status} is never {kind}");
    if kind == "application/json" {
        let wrong = complaint(document, &content["schema"], &answer.json(), "");
        assert_eq!(wrong, None, "{method} {path} {status}: {}", answer.body);
    }
}

#[tokio::test]
async fn the_server_hands_out_its_description() {
    let app = TestApp::start().await;
    let answer = app.browser().get("/api/v1/openapi.json").await.expect(200);
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.json(), document());
}

#[tokio::test]
async fn the_openapi_document_has_the_paths_and_methods_of_the_url_table() {
    let document = document();
    let described = document["paths"].as_object().unwrap();
    let served: BTreeSet<_> =
        ROUTES.split('"').filter(|text| text.starts_with("/api/v1/")).collect();
    assert_eq!(described.keys().map(String::as_str).collect::<BTreeSet<_>>(), served);

    let app = TestApp::start_with(&[MANY]).await;
    let browser = app.signed_in("alice@example.com").await;
    for (path, operations) in described {
        // No route accepts PATCH, so the response lists the methods that the route accepts.
        let answer = browser.call(Method::PATCH, &path.replace(['{', '}'], ""), None).await;
        let allowed = answer.expect_error(405, "method_not_allowed");
        let allowed: BTreeSet<_> =
            allowed.header("allow").split(',').filter(|it| *it != "HEAD").collect();
        let described: Vec<_> =
            operations.as_object().unwrap().keys().map(|it| it.to_uppercase()).collect();
        assert_eq!(
            described.iter().map(String::as_str).collect::<BTreeSet<_>>(),
            allowed,
            "{path}"
        );
    }
}

#[test]
fn the_pages_are_what_the_openapi_document_makes_and_their_links_lead_somewhere() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../script/docs");
    let checked = std::process::Command::new(script).arg("--check").output().unwrap();
    let complaints = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "script/docs says:\n{complaints}");
}

async fn check(
    browser: &Browser,
    document: &Value,
    method: Method,
    path: &str,
    query: &str,
    body: Option<Value>,
) {
    let answer = browser.call(method.clone(), &format!("{path}{query}"), body.as_ref()).await;
    fits(document, &method, path, &answer);
}

#[tokio::test]
async fn answers_fit_the_openapi_document() {
    let document = document();
    let world = World::build(vec![asset(1, "A"), asset(2, "B"), asset(3, "B")], &[MANY]).await;
    let (alice, stranger) = (&world.browser, world.app.browser());
    let steam_less = world.app.signed_in("bob@example.com").await;
    let (get, post, delete) = (Method::GET, Method::POST, Method::DELETE);

    fits(&document, &post, "/api/v1/portfolio/import", &world.import().await.expect(200));
    for path in document["paths"].as_object().unwrap().keys() {
        let kinds = &described(&document, path, "get", "200")["content"];
        if kinds["application/json"].is_object() || kinds["text/csv"].is_object() {
            fits(&document, &get, path, &alice.get(path).await.expect(200));
            fits(&document, &get, path, &stranger.get(path).await);
            fits(&document, &get, path, &steam_less.get(path).await.expect(200));
        }
    }
    let held = alice.get("/api/v1/portfolio").await.json();
    let item = held["holdings"][0]["item_id"].as_str().unwrap();
    check(alice, &document, get.clone(), "/api/v1/portfolio", &format!("?item_id={item}"), None)
        .await;

    for (method, path, query, body) in [
        (&get, "/api/v1/auth/magic/verify", "?token=wrong", None),
        (&get, "/api/v1/auth/magic/verify", "", None),
        (&get, "/api/v1/portfolio", "?sort=weight", None),
        (&get, "/api/v1/portfolio/history", "?limit=0", None),
        (&get, "/api/v1/auth/events", "?limit=1", None),
        (&post, "/api/v1/auth/magic/request", "", Some(json!({ "email": "carol@example.com" }))),
        (&post, "/api/v1/auth/magic/request", "", Some(json!({ "email": "nobody" }))),
        (&post, "/api/v1/auth/magic/request", "", None),
        (&post, "/api/v1/auth/magic/verify", "", Some(json!({ "token": "wrong" }))),
        (&post, "/api/v1/auth/email", "", Some(json!({ "email": "alice@example.net" }))),
        (&post, "/api/v1/auth/email/confirm", "", Some(json!({ "token": "wrong" }))),
        (&post, "/api/v1/auth/undo", "", Some(json!({ "token": "wrong" }))),
        (&post, "/api/v1/portfolio/import", "", None),
        (&delete, "/api/v1/auth/sessions", "", None),
        (&post, "/api/v1/auth/logout", "", None),
    ] {
        check(&stranger, &document, method.clone(), path, query, body.clone()).await;
        check(&steam_less, &document, method.clone(), path, query, body.clone()).await;
        let answer =
            alice.send(method.clone(), &format!("{path}{query}"), &[], body.as_ref()).await;
        fits(&document, method, path, &answer);
    }
    for (path, there) in [
        ("/api/v1/auth/sessions/{handle}", "/api/v1/auth/sessions/AAAAAAAAAAAA"),
        ("/api/v1/auth/providers/{provider}", "/api/v1/auth/providers/steam"),
        ("/api/v1/auth/providers/{provider}", "/api/v1/auth/providers/nobody"),
    ] {
        fits(&document, &delete, path, &alice.delete(there).await);
        fits(&document, &delete, path, &stranger.delete(there).await);
    }
}

#[test]
fn the_checker_of_schemas_sees_what_does_not_fit() {
    let document = document();
    let fits = |schema: Value, value: Value| complaint(&document, &schema, &value, "").is_none();
    let strict = json!({
        "type": "object", "properties": { "a": { "type": "integer", "minimum": 1 } },
        "required": ["a"], "additionalProperties": false
    });
    assert!(fits(strict.clone(), json!({ "a": 1 })));
    for wrong in
        [json!({}), json!({ "a": 0 }), json!({ "a": "1" }), json!({ "a": 1, "b": 1 }), json!([])]
    {
        assert!(!fits(strict.clone(), wrong.clone()), "{wrong}");
    }
    assert!(fits(json!({ "type": ["string", "null"], "enum": ["x", null] }), Value::Null));
    assert!(!fits(json!({ "type": "string", "enum": ["x"] }), json!("y")));
    assert!(!fits(json!({ "$ref": "#/components/schemas/Error" }), json!({ "error": "x" })));
    assert!(!fits(json!({ "oneOf": [{ "type": "string" }, { "type": "null" }] }), json!(1)));
    assert!(!fits(json!({ "type": "array", "items": { "type": "boolean" } }), json!([true, 1])));
}
