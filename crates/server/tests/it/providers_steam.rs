//! Sign-in and linking with Steam, and all the ways to fail.

use std::time::Duration;

use serde_json::json;
use time::OffsetDateTime;
use time::macros::format_description;
use url::form_urlencoded;

use crate::browser::{Answer, Browser};
use crate::fake_providers::{FakeProviders, Reply, query};
use crate::harness::TestApp;

const LOGIN: &str = "/api/v1/auth/steam/login";
const LINK: &str = "/api/v1/auth/steam";
const ID: &str = "76561197960435530";
const OTHER_ID: &str = "76561197960435531";

async fn start() -> (TestApp, FakeProviders) {
    start_with(&[]).await
}

async fn start_with(more: &[(&str, &str)]) -> (TestApp, FakeProviders) {
    let fake_providers = FakeProviders::start().await;
    let vars = fake_providers.vars();
    let vars: Vec<_> =
        vars.iter().map(|(name, value)| (&**name, &**value)).chain(more.iter().copied()).collect();
    (TestApp::embedded_with(&vars).await, fake_providers)
}

/// Steam's response to a redirect, as the parameters of a callback.
struct Assertion {
    path: String,
    parameters: Vec<(&'static str, String)>,
}

impl Assertion {
    fn new(
        app: &TestApp,
        fake_providers: &FakeProviders,
        location: &str,
        id: &str,
        nonce: &str,
    ) -> Self {
        let request = query(location);
        assert_eq!(request["openid.mode"], "checkid_setup");
        assert_eq!(request["openid.ns"], "http://specs.openid.net/auth/2.0");
        assert_eq!(
            request["openid.claimed_id"],
            "http://specs.openid.net/auth/2.0/identifier_select"
        );
        assert_eq!(request["openid.identity"], request["openid.claimed_id"]);
        assert_eq!(request["openid.realm"], "http://localhost:8080");
        let return_to = request["openid.return_to"].clone();
        let (address, state) = return_to.split_once("?state=").unwrap();
        let path = address.strip_prefix("http://localhost:8080").unwrap().to_owned();
        let now = OffsetDateTime::from(std::time::SystemTime::from(app.clock.now()));
        let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
        let id = format!("{}/openid/id/{id}", fake_providers.base());
        let parameters = vec![
            ("state", state.to_owned()),
            ("openid.ns", "http://specs.openid.net/auth/2.0".to_owned()),
            ("openid.mode", "id_res".to_owned()),
            ("openid.op_endpoint", format!("{}/openid/login", fake_providers.base())),
            ("openid.claimed_id", id.clone()),
            ("openid.identity", id),
            ("openid.return_to", return_to.clone()),
            ("openid.response_nonce", format!("{}{nonce}", now.format(format).unwrap())),
            ("openid.assoc_handle", "1234567890".to_owned()),
            (
                "openid.signed",
                "signed,op_endpoint,claimed_id,identity,return_to,response_nonce,assoc_handle"
                    .to_owned(),
            ),
            ("openid.sig", "W0u5DRbtHE1GG0ZKXjerUZDUGmc=".to_owned()),
        ];
        Self { path, parameters }
    }

    fn set(mut self, name: &str, value: &str) -> Self {
        let parameter = self.parameters.iter_mut().find(|(known, _)| *known == name).unwrap();
        value.clone_into(&mut parameter.1);
        self
    }

    fn callback(&self) -> String {
        let query =
            form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.parameters).finish();
        format!("{}?{query}", self.path)
    }
}

/// Sends the browser to Steam. Returns the exact URL.
async fn leave(browser: &Browser, path: &str) -> String {
    let answer = browser.get(path).await.expect(303);
    let cookie = answer.set_cookie("transaction").unwrap();
    assert!(cookie.contains("; HttpOnly; SameSite=Lax; Path=/; Max-Age=600;"), "{cookie}");
    answer.header("location").to_owned()
}

/// The page where a callback ends. The transaction cookie is kept for other transactions.
fn landed(answer: Answer) -> String {
    let answer = answer.expect(303);
    assert_eq!(answer.set_cookie("transaction"), None, "others may be under way in this browser");
    answer.header("location").to_owned()
}

async fn sign_in(
    app: &TestApp,
    fake_providers: &FakeProviders,
    browser: &Browser,
    id: &str,
    nonce: &str,
) -> String {
    let location = leave(browser, LOGIN).await;
    let assertion = Assertion::new(app, fake_providers, &location, id, nonce);
    landed(browser.get(&assertion.callback()).await)
}

#[tokio::test]
async fn steam_makes_an_account_without_an_address_and_finds_it_again() {
    let (app, fake_providers) = start_with(&[("STEAM_API_KEY", "canary-key")]).await;
    let browser = app.browser();
    assert_eq!(sign_in(&app, &fake_providers, &browser, ID, "a").await, "/");
    let me = browser.get("/api/v1/auth/me").await.json();
    assert_eq!((&me["user"]["email"], &me["user"]["name"]), (&json!(null), &json!("Robin <b>")));
    assert_eq!(me["user"]["avatar_url"], "https://avatars.example/r.jpg");
    let again = app.browser();
    assert_eq!(sign_in(&app, &fake_providers, &again, ID, "b").await, "/");
    assert_eq!(again.me().await, browser.me().await);
    let other = app.browser();
    assert_eq!(sign_in(&app, &fake_providers, &other, OTHER_ID, "c").await, "/");
    assert_ne!(other.me().await, browser.me().await);
    assert_eq!(fake_providers.calls("/openid/login"), 3, "one check for each callback");
    let sessions = browser.get("/api/v1/auth/sessions").await.json();
    assert_eq!(sessions["sessions"][0]["method"], "steam");
}

#[tokio::test]
async fn steam_leads_on_to_the_page_that_was_asked_for() {
    let (app, fake_providers) = start().await;
    let browser = app.browser();
    let to_sign_in = browser.get("/account").await.expect(303).header("location").to_owned();
    browser.get(&to_sign_in).await.expect(200);
    assert_eq!(sign_in(&app, &fake_providers, &browser, ID, "a").await, "/account");
    assert_eq!(browser.cookie("next"), None, "it is used up");
    assert_eq!(sign_in(&app, &fake_providers, &browser, ID, "b").await, "/");
}

#[tokio::test]
async fn a_name_is_not_worth_failing_for() {
    let (app, fake_providers) = start_with(&[("STEAM_API_KEY", "canary-key")]).await;
    fake_providers.instead(
        "/ISteamUser/GetPlayerSummaries/v2/",
        Reply::Says(403, "<h1>Forbidden</h1>".to_owned()),
    );
    let browser = app.browser();
    assert_eq!(sign_in(&app, &fake_providers, &browser, ID, "a").await, "/");
    assert_eq!(browser.get("/api/v1/auth/me").await.json()["user"]["name"], json!(null));
}

#[tokio::test]
async fn only_an_exact_yes_signs_in() {
    let (app, fake_providers) = start().await;
    let says = |body: &str| Reply::Says(200, body.to_owned());
    for (reply, code) in [
        (says("ns:x\nis_valid:false\n"), "steam_refused"),
        (says(""), "steam_unavailable"),
        (says("xis_valid:true\n"), "steam_unavailable"),
        (says("is_valid:trueX\n"), "steam_unavailable"),
        (says("is_valid:true\nis_valid:false\n"), "steam_unavailable"),
        (says("<html>is_valid:true</html>"), "steam_unavailable"),
        (Reply::Says(500, "is_valid:true\n".to_owned()), "steam_unavailable"),
        (Reply::Says(403, "<h1>Access Denied</h1>".to_owned()), "steam_unavailable"),
        (Reply::Redirects(format!("{}/yes", fake_providers.base())), "steam_unavailable"),
        (Reply::Floods, "steam_unavailable"),
    ] {
        fake_providers.instead("/openid/login", reply.clone());
        let browser = app.browser();
        let calls = fake_providers.calls("/openid/login");
        let target = sign_in(&app, &fake_providers, &browser, ID, &format!("{calls}")).await;
        assert_eq!(target, format!("/login?error={code}"), "{reply:?}");
        assert_eq!(browser.me().await, None, "{reply:?}");
        assert_eq!(fake_providers.calls("/openid/login"), calls + 1, "{reply:?}: asked once");
        let page = browser.get(&target).await.expect(200);
        assert!(page.body.contains("Please try again"), "{}", page.body);
    }
}

#[tokio::test]
async fn steam_has_ten_seconds() {
    let (app, fake_providers) = start().await;
    fake_providers.instead("/openid/login", Reply::Hangs);
    let browser = app.browser();
    let signing_in = sign_in(&app, &fake_providers, &browser, ID, "a");
    let target = tokio::time::timeout(Duration::from_secs(15), signing_in).await.unwrap();
    assert_eq!(target, "/login?error=steam_unavailable");
}

#[tokio::test]
async fn what_others_add_to_a_callback_is_ignored() {
    let (app, fake_providers) = start().await;
    let browser = app.browser();
    let location = leave(&browser, LOGIN).await;
    let callback = Assertion::new(&app, &fake_providers, &location, ID, "a").callback();
    assert_eq!(landed(browser.get(&format!("{callback}&utm_source=x")).await), "/");
    assert!(browser.me().await.is_some());
}

#[tokio::test]
async fn an_answer_that_does_not_fit_never_reaches_steam() {
    let (app, fake_providers) = start().await;
    let evil = FakeProviders::start().await;
    for (name, value) in [
        ("openid.ns", "http://openid.net/signon/1.1".to_owned()),
        ("openid.mode", "setup_needed".to_owned()),
        ("openid.op_endpoint", format!("{}/openid/login", evil.base())),
        ("openid.claimed_id", format!("{}/openid/id/{ID}", evil.base())),
        ("openid.identity", format!("{}/openid/id/{OTHER_ID}", fake_providers.base())),
        ("openid.return_to", format!("{}/api/v1/auth/steam/login/callback?state=x", evil.base())),
        ("openid.response_nonce", "2026-01-01T00:00:00Zx".to_owned()),
        (
            "openid.signed",
            "signed,op_endpoint,claimed_id,identity,return_to,assoc_handle".to_owned(),
        ),
        ("openid.assoc_handle", "a\u{0}b".to_owned()),
    ] {
        let browser = app.browser();
        let location = leave(&browser, LOGIN).await;
        let assertion = Assertion::new(&app, &fake_providers, &location, ID, "a").set(name, &value);
        let target = landed(browser.get(&assertion.callback()).await);
        assert_eq!(target, "/login?error=steam_refused", "{name}");
        // The failed callback has spent the transaction.
        let genuine = Assertion::new(&app, &fake_providers, &location, ID, "a");
        assert_eq!(
            browser.get(&genuine.callback()).await.strayed(),
            "/login?error=steam_refused",
            "{name}"
        );
        assert_eq!(browser.me().await, None, "{name}");
    }
    for extra in
        ["&openid.ax.value.email=x", "&openid%2Eclaimed_id=x", "&openid.claimed_id%00=x", "&code=y"]
    {
        let browser = app.browser();
        let location = leave(&browser, LOGIN).await;
        let callback = Assertion::new(&app, &fake_providers, &location, ID, "a").callback();
        let target = landed(browser.get(&format!("{callback}{extra}")).await);
        assert_eq!(target, "/login?error=steam_refused", "{extra}");
    }
    assert_eq!((fake_providers.calls("/openid/login"), evil.calls("/openid/login")), (0, 0));
}

#[tokio::test]
async fn an_answer_belongs_to_the_browser_that_asked() {
    let (app, fake_providers) = start().await;
    let (asked, empty, other) = (app.browser(), app.browser(), app.browser());
    let location = leave(&asked, LOGIN).await;
    leave(&other, LOGIN).await;
    for browser in [&empty, &other] {
        let location = leave(&asked, LOGIN).await;
        let callback = Assertion::new(&app, &fake_providers, &location, ID, "a").callback();
        assert_eq!(browser.get(&callback).await.strayed(), "/login?error=sign_in_expired");
        assert_eq!(browser.me().await, None);
    }
    assert_eq!(fake_providers.calls("/openid/login"), 0);
    // An earlier transaction of the same browser is still valid.
    let callback = Assertion::new(&app, &fake_providers, &location, ID, "a").callback();
    assert_eq!(landed(asked.get(&callback).await), "/");
}

#[tokio::test]
async fn of_two_tabs_each_signs_in_whichever_answer_comes_first() {
    let (app, fake_providers) = start().await;
    let browser = app.browser();
    let (older, newer) = (leave(&browser, LOGIN).await, leave(&browser, LOGIN).await);
    let older = Assertion::new(&app, &fake_providers, &older, ID, "a").callback();
    let newer = Assertion::new(&app, &fake_providers, &newer, ID, "b").callback();
    assert_eq!(landed(browser.get(&newer).await), "/");
    assert_eq!(landed(browser.get(&older).await), "/");
    assert!(browser.me().await.is_some());
}

#[tokio::test]
async fn a_transaction_ends_after_ten_minutes() {
    let (app, fake_providers) = start().await;
    for (minutes, target) in [(9, "/"), (10, "/login?error=sign_in_expired")] {
        let browser = app.browser();
        let location = leave(&browser, LOGIN).await;
        app.advance(Duration::from_mins(minutes));
        let callback = Assertion::new(&app, &fake_providers, &location, ID, "a").callback();
        assert_eq!(landed(browser.get(&callback).await), target, "{minutes}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_fifty_equal_callbacks_of_a_browser_one_counts_and_one_session_is_left() {
    let (app, fake_providers) = start().await;
    let browser = app.browser();
    let location = leave(&browser, LOGIN).await;
    let callback = Assertion::new(&app, &fake_providers, &location, ID, "a").callback();
    let calls = (0..50).map(|_| {
        let (browser, callback) = (browser.fork(), callback.clone());
        tokio::spawn(async move {
            browser.get(&callback).await.expect(303).header("location").to_owned()
        })
    });
    let mut in_at_home = 0;
    for call in calls.collect::<Vec<_>>() {
        in_at_home += usize::from(call.await.unwrap() == "/");
    }
    assert_eq!((in_at_home, fake_providers.calls("/openid/login")), (50, 1));
    let again = app.browser();
    sign_in(&app, &fake_providers, &again, ID, "b").await;
    let sessions = again.get("/api/v1/auth/sessions").await.json();
    assert_eq!(sessions["sessions"].as_array().unwrap().len(), 2, "this one and one of the fifty");
}

#[tokio::test]
async fn a_nonce_counts_once_even_if_steam_says_yes_twice() {
    let (app, fake_providers) = start().await;
    let (first, second) = (app.browser(), app.browser());
    assert_eq!(sign_in(&app, &fake_providers, &first, ID, "a").await, "/");
    assert_eq!(
        sign_in(&app, &fake_providers, &second, ID, "a").await,
        "/login?error=steam_refused"
    );
    assert_eq!(fake_providers.calls("/openid/login"), 1);
}

#[tokio::test]
async fn cancelling_changes_nothing() {
    let (app, fake_providers) = start().await;
    let browser = app.browser();
    let location = leave(&browser, LOGIN).await;
    let state = query(&query(&location)["openid.return_to"])["state"].clone();
    let callback = format!(
        "{LOGIN}/callback?state={state}&openid.mode=cancel&openid.ns=http%3A%2F%2Fspecs.openid.\
         net%2Fauth%2F2.0"
    );
    assert_eq!(landed(browser.get(&callback).await), "/login?error=cancelled");
    assert_eq!(browser.get(&callback).await.strayed(), "/login?error=cancelled");
    assert_eq!(fake_providers.calls("/openid/login"), 0);
}

#[tokio::test]
async fn linking_gives_the_account_another_sign_in_method() {
    let (app, fake_providers) = start().await;
    let browser = app.signed_in("a@example.com").await;
    let location = leave(&browser, LINK).await;
    let assertion = Assertion::new(&app, &fake_providers, &location, ID, "a");
    assert_eq!(assertion.path, "/api/v1/auth/steam/callback");
    assert_eq!(landed(browser.get(&assertion.callback()).await), "/");
    let providers = browser.get("/api/v1/auth/providers").await.json();
    let steam = &providers["providers"][2];
    assert_eq!(
        (&steam["provider"], &steam["linked"], &steam["configured"]),
        (&json!("steam"), &json!(true), &json!(true))
    );
    assert_eq!(
        (&steam["linked_at"], &steam["steam_id"]),
        (&json!("2030-03-17T17:46:40Z"), &json!(ID))
    );
    app.notice_to("a@example.com", "Steam was linked").await;
    let other = app.browser();
    assert_eq!(sign_in(&app, &fake_providers, &other, ID, "b").await, "/");
    assert_eq!(other.me().await, browser.me().await);

    browser.delete("/api/v1/auth/providers/steam").await.expect(204);
    browser.delete("/api/v1/auth/providers/steam").await.expect_error(404, "not_found");
    app.notice_to("a@example.com", "Steam was unlinked").await;
    let stranger = app.browser();
    assert_eq!(sign_in(&app, &fake_providers, &stranger, ID, "c").await, "/");
    assert_ne!(stranger.me().await, browser.me().await);
    stranger.delete("/api/v1/auth/providers/steam").await.expect_error(409, "last_way_in");
}

#[tokio::test]
async fn linking_is_for_who_began_it_while_they_are_signed_in() {
    let (app, fake_providers) = start().await;
    app.browser().get(LINK).await.expect_error(401, "unauthenticated");
    // As another user, and as the same user in another session.
    for other in ["b@example.com", "a@example.com"] {
        let browser = app.signed_in("a@example.com").await;
        let location = leave(&browser, LINK).await;
        let callback = Assertion::new(&app, &fake_providers, &location, ID, "a").callback();
        let transaction = browser.cookie("transaction").unwrap();
        browser.logout().await.expect(204);
        browser.get(&callback).await.expect_error(401, "unauthenticated");
        browser.set_cookie("transaction", &transaction);
        app.sign_in(&browser, other).await;
        assert_eq!(landed(browser.get(&callback).await), "/?error=session_changed", "{other}");
    }
    assert_eq!(fake_providers.calls("/openid/login"), 0);
    let stranger = app.browser();
    assert_eq!(sign_in(&app, &fake_providers, &stranger, ID, "b").await, "/", "linked to nobody");
}

/// Starts linking on the account page. Returns the URL at the provider.
async fn leave_account_page(browser: &Browser, provider: &str) -> String {
    let token = browser.form_token("/account").await;
    let fields = [("csrf_token", &*token), ("provider", provider), ("next", "/account")];
    let page = browser.submit("/account/providers/link", &fields).await.expect(200).body;
    let (_, rest) = page.split_once("url=").unwrap();
    rest.split_once('"').unwrap().0.replace("&#38;", "&").replace("&amp;", "&")
}

#[tokio::test]
async fn a_link_begun_on_the_account_page_ends_there() {
    let (app, fake_providers) = start().await;
    assert_eq!(sign_in(&app, &fake_providers, &app.browser(), ID, "a").await, "/");
    let browser = app.signed_in("a@example.com").await;
    for (id, target, sentence) in [
        (ID, "/account?error=identity_taken", "opens another Tracera account"),
        (OTHER_ID, "/account?done=steam_linked", "Steam is linked."),
    ] {
        let location = leave_account_page(&browser, "steam").await;
        let callback = Assertion::new(&app, &fake_providers, &location, id, id).callback();
        assert_eq!(landed(browser.get(&callback).await), target);
        let page = browser.get(target).await.expect(200).body;
        assert!(page.contains(sentence), "{page}");
    }
    for provider in ["google", "github"] {
        let location = leave_account_page(&browser, provider).await;
        let cancelled = format!(
            "/api/v1/auth/{provider}/callback?error=access_denied&state={}",
            query(&location)["state"]
        );
        let by_way = landed(browser.get(&cancelled).await);
        assert_eq!(by_way, "/login?error=cancelled&next=%2Faccount");
        let target = browser.get(&by_way).await.expect(303).header("location").to_owned();
        assert_eq!(target, "/account?error=cancelled");
        assert!(browser.get(&target).await.expect(200).body.contains("You cancelled."));
    }
}

#[tokio::test]
async fn signing_in_and_linking_are_not_confused() {
    let (app, fake_providers) = start().await;
    let browser = app.signed_in("a@example.com").await;
    let location = leave(&browser, LINK).await;
    let mut assertion = Assertion::new(&app, &fake_providers, &location, ID, "a");
    assertion.path = "/api/v1/auth/steam/login/callback".to_owned();
    assert_eq!(landed(browser.get(&assertion.callback()).await), "/login?error=sign_in_expired");
    let location = leave(&browser, LOGIN).await;
    let mut assertion = Assertion::new(&app, &fake_providers, &location, ID, "a");
    assertion.path = "/api/v1/auth/steam/callback".to_owned();
    assert_eq!(landed(browser.get(&assertion.callback()).await), "/?error=sign_in_expired");
    assert_eq!(fake_providers.calls("/openid/login"), 0);
}

#[tokio::test]
async fn another_site_cannot_begin_linking() {
    let (app, _fakes) = start().await;
    let browser = app.signed_in("a@example.com").await;
    for (site, status) in
        [("cross-site", 403), ("same-site", 403), ("same-origin", 303), ("none", 303)]
    {
        browser.with_header("sec-fetch-site", site).get(LINK).await.expect(status);
    }
}

#[tokio::test]
async fn changing_sign_in_methods_needs_a_recent_sign_in() {
    let (app, fake_providers) = start().await;
    let browser = app.signed_in("a@example.com").await;
    let location = leave(&browser, LINK).await;
    let callback = Assertion::new(&app, &fake_providers, &location, ID, "a").callback();
    assert_eq!(landed(browser.get(&callback).await), "/");
    app.advance(Duration::from_secs(15 * 60 + 1));
    browser.get(LINK).await.expect_error(403, "reauthentication_required");
    browser
        .delete("/api/v1/auth/providers/steam")
        .await
        .expect_error(403, "reauthentication_required");
    let google = browser.post("/api/v1/auth/providers/google/link", &json!({})).await;
    google.expect_error(403, "reauthentication_required");
    let email = browser.post("/api/v1/auth/email", &json!({ "email": "b@example.com" })).await;
    email.expect_error(403, "reauthentication_required");
    // Signing in again with the linked identity is enough.
    assert_eq!(sign_in(&app, &fake_providers, &browser, ID, "b").await, "/");
    browser.delete("/api/v1/auth/providers/steam").await.expect(204);
}

#[tokio::test]
async fn an_identity_that_is_owned_stays_where_it_is() {
    let (app, fake_providers) = start().await;
    let owner = app.browser();
    assert_eq!(sign_in(&app, &fake_providers, &owner, ID, "a").await, "/");
    let browser = app.signed_in("a@example.com").await;
    let location = leave(&browser, LINK).await;
    let callback = Assertion::new(&app, &fake_providers, &location, ID, "b").callback();
    assert_eq!(landed(browser.get(&callback).await), "/?error=identity_taken");
    let page = browser.get("/?error=identity_taken").await.expect(200);
    assert!(page.body.contains("opens another Tracera account"), "{}", page.body);
    let events = browser.get("/api/v1/auth/events").await.json();
    assert_eq!(events["events"][0]["event"], "link_failed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_users_linking_one_steam_account_fifty_times_one_owns_it() {
    let (app, fake_providers) = start().await;
    let users = [app.signed_in("a@example.com").await, app.signed_in("b@example.com").await];
    let mut callbacks = Vec::new();
    for at in 0..50 {
        let browser = users[at % 2].fork();
        let location = leave(&browser, LINK).await;
        let callback =
            Assertion::new(&app, &fake_providers, &location, ID, &at.to_string()).callback();
        callbacks.push((at % 2, browser, callback));
    }
    let calls: Vec<_> = callbacks
        .into_iter()
        .map(|(user, browser, callback)| {
            tokio::spawn(async move { (user, landed(browser.get(&callback).await)) })
        })
        .collect();
    let mut landings = Vec::new();
    for call in calls {
        landings.push(call.await.unwrap());
    }
    let owner = landings.iter().find(|(_, target)| target == "/").unwrap().0;
    for (user, target) in landings {
        assert_eq!(target, if user == owner { "/" } else { "/?error=identity_taken" });
    }
}

#[tokio::test]
async fn an_account_without_an_address_gets_one_by_a_confirmed_link() {
    let (app, fake_providers) = start().await;
    let browser = app.browser();
    assert_eq!(sign_in(&app, &fake_providers, &browser, ID, "a").await, "/");
    browser.post("/api/v1/auth/email", &json!({ "email": "a@example.com" })).await.expect(200);
    let link = app.notice_to("a@example.com", "Confirm your address").await.link;
    let token = crate::harness::token_of(&link);
    assert!(
        browser
            .get(link.strip_prefix("http://localhost:8080").unwrap())
            .await
            .expect(200)
            .body
            .contains(&token)
    );
    let confirm = json!({ "token": token });
    // For a visitor or another account the link does nothing.
    app.browser()
        .post("/api/v1/auth/email/confirm", &confirm)
        .await
        .expect_error(401, "unauthenticated");
    let other = app.signed_in("b@example.com").await;
    other.post("/api/v1/auth/email/confirm", &confirm).await.expect_error(400, "link_invalid");
    let user = browser.post("/api/v1/auth/email/confirm", &confirm).await.expect(200).json();
    assert_eq!(user["user"]["email"], "a@example.com");
    browser.post("/api/v1/auth/email/confirm", &confirm).await.expect_error(400, "link_invalid");
    assert_eq!(app.signed_in("a@example.com").await.me().await, browser.me().await);
    browser.delete("/api/v1/auth/providers/steam").await.expect(204);

    browser.post("/api/v1/auth/email", &json!({ "email": "b@example.com" })).await.expect(200);
    let link = app.notice_to("b@example.com", "Confirm your address").await.link;
    let refused = browser
        .post("/api/v1/auth/email/confirm", &json!({ "token": crate::harness::token_of(&link) }))
        .await;
    refused.expect_error(409, "email_taken");
}

#[tokio::test]
async fn who_wanted_an_address_first_gets_nothing_when_its_owner_comes() {
    let (app, fake_providers) = start().await;
    let attacker = app.browser();
    assert_eq!(sign_in(&app, &fake_providers, &attacker, ID, "a").await, "/");
    attacker
        .post("/api/v1/auth/email", &json!({ "email": "victim@example.com" }))
        .await
        .expect(200);
    let link = app.notice_to("victim@example.com", "Confirm your address").await.link;
    let victim = app.signed_in("victim@example.com").await;
    assert_ne!(victim.me().await, attacker.me().await);
    let providers = victim.get("/api/v1/auth/providers").await.json();
    assert_eq!(providers["providers"][2]["linked"], false);
    // The pending change is void, even with the link at hand.
    let late = attacker
        .post("/api/v1/auth/email/confirm", &json!({ "token": crate::harness::token_of(&link) }))
        .await;
    late.expect_error(400, "link_invalid");
}
