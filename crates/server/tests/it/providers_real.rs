//! Sign-in with real implementations of the providers' protocols: `oidc-provider` as Google and as
//! one more issuer, `python3-openid` as Steam.

use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use serde_json::json;
use tracera_testkit::{OidcProvider, OpenIdProvider};

use crate::browser::Browser;
use crate::harness::TestApp;

const OURS: &str = "http://localhost:8080";

/// Follows the provider's redirects, with its cookies, until it redirects to this service.
async fn back_from(location: &str) -> String {
    tracera::tls::install_provider();
    let http = Client::builder().redirect(Policy::none()).build().unwrap();
    let mut cookies = std::collections::BTreeMap::new();
    let mut url = Url::parse(location).unwrap();
    for _ in 0..10 {
        let sent: Vec<_> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let answer = http.get(url.clone()).header("cookie", sent.join("; ")).send().await.unwrap();
        for cookie in answer.headers().get_all("set-cookie") {
            let (name, value) =
                cookie.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap();
            cookies.insert(name.to_owned(), value.to_owned());
        }
        assert!(
            answer.status().is_redirection(),
            "{}: {}",
            answer.status(),
            answer.text().await.unwrap()
        );
        url = url.join(answer.headers()["location"].to_str().unwrap()).unwrap();
        if let Some(path) = url.as_str().strip_prefix(OURS) {
            return path.to_owned();
        }
    }
    panic!("the provider sends the browser in circles");
}

async fn with_google() -> (TestApp, OidcProvider) {
    let provider = OidcProvider::like_google(&format!("{OURS}/api/v1/auth/google/callback")).await;
    let app = TestApp::on_the_systems_clock(&[
        ("GOOGLE_CLIENT_ID", OidcProvider::CLIENT_ID),
        ("GOOGLE_CLIENT_SECRET", OidcProvider::CLIENT_SECRET),
        ("GOOGLE_ISSUER_URL", provider.issuer()),
    ])
    .await;
    (app, provider)
}

async fn google(
    browser: &Browser,
    person: &str,
    change: impl Fn(String) -> String,
) -> (String, String) {
    let start = browser.get("/api/v1/auth/google").await.expect(303);
    let location = change(format!("{}&login_hint={person}", start.header("location")));
    let callback = back_from(&location).await;
    let landed = browser.get(&callback).await.expect(303);
    (landed.header("location").to_owned(), callback)
}

#[tokio::test]
async fn a_real_openid_connect_provider_signs_people_in() {
    let (app, _provider) = with_google().await;
    let browser = app.browser();
    let (target, callback) = google(&browser, "alice", |location| location).await;
    assert_eq!(target, "/", "{callback}");
    assert_eq!(browser.get("/api/v1/auth/me").await.json()["user"]["email"], "alice@example.test");
    let replay = app.browser().get(&callback).await.expect(303);
    assert_eq!(replay.header("location"), "/login?error=sign_in_expired");
    let again = app.browser();
    assert_eq!(google(&again, "alice", |location| location).await.0, "/");
    assert_eq!(again.me().await, browser.me().await);

    let unverified = app.browser();
    assert_eq!(
        google(&unverified, "unverified-eve", |location| location).await.0,
        "/login?error=email_unverified"
    );
    // A provider that does not run the mailbox cannot sign in to an existing account with the
    // address.
    app.signed_in("bob@example.test").await;
    let bob = app.browser();
    assert_eq!(google(&bob, "bob", |location| location).await.0, "/login?error=proof_mailed");
    assert_eq!(bob.me().await, None);
}

#[tokio::test]
async fn a_real_provider_notices_what_is_stripped_on_the_way() {
    let (app, _provider) = with_google().await;
    for stripped in ["code_challenge=", "nonce="] {
        let browser = app.browser();
        let strip = |location: String| {
            let mut url = Url::parse(&location).unwrap();
            let kept: Vec<_> = url.query_pairs().into_owned().collect();
            let kept =
                kept.into_iter().filter(|(name, _)| !format!("{name}=").starts_with(stripped));
            let kept: Vec<_> = kept
                .filter(|(name, _)| {
                    stripped != "code_challenge=" || name != "code_challenge_method"
                })
                .collect();
            url.query_pairs_mut().clear().extend_pairs(kept);
            url.into()
        };
        let (target, _) = google(&browser, "alice", strip).await;
        assert_eq!(target, "/login?error=google_refused", "{stripped}");
        assert_eq!(browser.me().await, None);
    }
}

#[tokio::test]
async fn a_real_provider_that_goes_by_its_defaults_signs_people_in() {
    let provider = OidcProvider::by_default(&format!("{OURS}/api/v1/auth/oidc/callback")).await;
    let app = TestApp::on_the_systems_clock(&[
        ("OIDC_CLIENT_ID", OidcProvider::CLIENT_ID),
        ("OIDC_CLIENT_SECRET", OidcProvider::CLIENT_SECRET),
        ("OIDC_ISSUER_URL", provider.issuer()),
    ])
    .await;
    let sign_in = async |browser: &Browser, person: &str| {
        let start = browser.get("/api/v1/auth/oidc").await.expect(303);
        let location = format!("{}&login_hint={person}", start.header("location"));
        let landed = browser.get(&back_from(&location).await).await.expect(303);
        landed.header("location").to_owned()
    };
    let alice = app.browser();
    assert_eq!(sign_in(&alice, "alice").await, "/");
    assert_eq!(alice.get("/api/v1/auth/me").await.json()["user"]["email"], "alice@example.test");
    for person in ["silent-sam", "unverified-eve"] {
        let (browser, again) = (app.browser(), app.browser());
        assert_eq!(sign_in(&browser, person).await, "/login?error=proof_mailed", "{person}");
        let mail = app.mail_to(&format!("{person}@example.test")).await;
        browser.redeem(&crate::harness::token_of(&mail.link)).await.expect(200);
        assert_eq!(sign_in(&again, person).await, "/", "{person}");
        assert_eq!(again.me().await, browser.me().await, "{person}");
    }
}

async fn with_steam() -> (TestApp, OpenIdProvider) {
    let provider = OpenIdProvider::start().await;
    let app = TestApp::on_the_systems_clock(&[("STEAM_OPENID_URL", &provider.endpoint())]).await;
    (app, provider)
}

async fn steam_callback(browser: &Browser, path: &str, who: &str) -> String {
    let start = browser.get(path).await.expect(303);
    back_from(&format!("{}&{who}", start.header("location"))).await
}

#[tokio::test]
async fn a_real_openid_provider_signs_people_in_and_is_linked() {
    let (app, _provider) = with_steam().await;
    let browser = app.browser();
    let alice = "__steamid=76561197960435530";
    let callback = steam_callback(&browser, "/api/v1/auth/steam/login", alice).await;
    assert_eq!(browser.get(&callback).await.expect(303).header("location"), "/");
    assert_eq!(browser.get("/api/v1/auth/me").await.json()["user"]["email"], json!(null));
    assert_eq!(
        app.browser().get(&callback).await.expect(303).header("location"),
        "/login?error=sign_in_expired"
    );

    let other = app.signed_in("bob@example.test").await;
    let callback = steam_callback(&other, "/api/v1/auth/steam", alice).await;
    assert_eq!(other.get(&callback).await.expect(303).header("location"), "/?error=identity_taken");
    let bob = "__steamid=76561197960435531";
    let callback = steam_callback(&other, "/api/v1/auth/steam", bob).await;
    assert_eq!(other.get(&callback).await.expect(303).header("location"), "/");
    let again = app.browser();
    let callback = steam_callback(&again, "/api/v1/auth/steam/login", bob).await;
    assert_eq!(again.get(&callback).await.expect(303).header("location"), "/");
    assert_eq!(again.me().await, other.me().await);
}

#[tokio::test]
async fn a_real_openid_provider_denies_what_it_did_not_sign() {
    let (app, _provider) = with_steam().await;
    let browser = app.browser();
    for (who, from, to, code) in [
        ("__steamid=76561197960435530", "76561197960435530", "76561197960435531", "steam_refused"),
        ("__steamid=76561197960435530", "openid.sig=", "openid.sig=x", "steam_refused"),
        (
            "__steamid=76561197960435530",
            "openid.assoc_handle=",
            "openid.assoc_handle=x",
            "steam_refused",
        ),
        ("__deny=1", "openid.mode=cancel", "openid.mode=cancel", "cancelled"),
    ] {
        let callback = steam_callback(&browser, "/api/v1/auth/steam/login", who).await;
        assert!(callback.contains(from), "{callback}");
        let landed = browser.get(&callback.replace(from, to)).await.expect(303);
        assert_eq!(landed.header("location"), format!("/login?error={code}"), "{from}");
        assert_eq!(browser.me().await, None);
    }
}
