//! One more OpenID Connect issuer beside Google, under the name that the operator gave it.

use serde_json::{Value, json};

use crate::fake_providers::FakeProviders;
use crate::harness::TestApp;
use crate::providers_oauth::{email, google, landed, leave, link, sign_in};

const OIDC: &str = "/api/v1/auth/oidc";

async fn start() -> (TestApp, FakeProviders) {
    let fake_providers = FakeProviders::start().await;
    let vars = [fake_providers.vars(), fake_providers.oidc_vars()].concat();
    let vars: Vec<_> = vars.iter().map(|(name, value)| (&**name, &**value)).collect();
    (TestApp::embedded_with(&vars).await, fake_providers)
}

#[tokio::test]
async fn another_issuer_is_a_provider_of_its_own_with_a_name() {
    let (app, fake_providers) = start().await;
    let browser = app.browser();
    let login = browser.get("/login").await.expect(200).body;
    assert!(login.contains("Continue with Traders&#39; Guild"), "{login}");
    let methods = browser.get("/api/v1/auth/methods").await.expect(200).json();
    let expected = json!({ "method": "oidc", "url": OIDC, "name": "Traders' Guild" });
    assert_eq!(methods["methods"].as_array().unwrap().last(), Some(&expected));

    let person = google(&app, "1", "a@gmail.com");
    assert_eq!(sign_in(&fake_providers, &browser, OIDC, person.clone()).await, "/");
    assert_eq!(email(&browser).await, "a@gmail.com");
    // The same subject at Google is somebody else, whose address has an account already.
    let other = app.browser();
    let at_google = sign_in(&fake_providers, &other, "/api/v1/auth/google", person.clone()).await;
    assert_eq!(at_google, "/login?error=proof_mailed");
    let again = app.browser();
    assert_eq!(sign_in(&fake_providers, &again, OIDC, person).await, "/");
    assert_eq!(again.me().await, browser.me().await);

    let sessions = browser.get("/api/v1/auth/sessions").await.expect(200).json();
    assert!(sessions["sessions"].as_array().unwrap().iter().all(|it| it["method"] == "oidc"));
    let events = browser.get("/api/v1/auth/events").await.expect(200).json();
    assert_eq!(events["events"][0]["method"], "oidc");
    let account = browser.get("/account").await.expect(200).body;
    assert!(account.contains("Unlink Traders&#39; Guild"), "{account}");
    assert!(account.contains("Signed in: Traders&#39; Guild"), "{account}");
    let data = browser.get("/account/data.json").await.expect(200).json();
    assert_eq!(data["linked"][0]["provider"], "oidc");
}

#[tokio::test]
async fn another_issuer_is_linked_and_unlinked_under_its_name() {
    let (app, fake_providers) = start().await;
    let browser = app.signed_in("a@example.com").await;
    let person = google(&app, "1", "elsewhere@example.com");
    assert_eq!(link(&fake_providers, &browser, "oidc", person.clone()).await, "/");
    app.notice_to("a@example.com", "Traders' Guild was linked").await;
    let linked = || async {
        let providers = browser.get("/api/v1/auth/providers").await.expect(200).json();
        let of = |name: &str| {
            providers["providers"]
                .as_array()
                .unwrap()
                .iter()
                .find(|it| it["provider"] == name)
                .unwrap()
                .clone()
        };
        let (google, oidc) = (of("google"), of("oidc"));
        assert_eq!((&google["linked"], &oidc["configured"]), (&json!(false), &json!(true)));
        oidc["linked"].clone()
    };
    assert_eq!(linked().await, true);
    let second = google(&app, "2", "b@example.com");
    let another = link(&fake_providers, &browser, "oidc", second).await;
    assert_eq!(another, "/login?error=already_linked");
    browser.delete("/api/v1/auth/providers/oidc").await.expect(204);
    app.notice_to("a@example.com", "Traders' Guild was unlinked").await;
    assert_eq!(linked().await, false);
    // It opens an account of its own from now on, and is the only way in if mail is.
    let own = app.browser();
    assert_eq!(sign_in(&fake_providers, &own, OIDC, person).await, "/");
    assert_ne!(own.me().await, browser.me().await);
}

#[tokio::test]
async fn another_issuer_never_runs_a_mailbox() {
    let (app, fake_providers) = start().await;
    for (sub, address, hd) in
        [("1", "a@gmail.com", Value::Null), ("2", "b@corp.example", json!("corp.example"))]
    {
        let before = app.browser();
        let mut person = google(&app, sub, address);
        person["hd"] = hd;
        assert_eq!(sign_in(&fake_providers, &before, OIDC, person).await, "/");
        app.signed_in(address).await;
        assert_eq!(before.me().await, None, "the owner of the mailbox has come");
    }
}

#[tokio::test]
async fn errors_of_another_issuer_have_codes_of_their_own() {
    let (app, fake_providers) = start().await;
    for (report, code) in [
        ("error=access_denied", "cancelled"),
        ("error=server_error", "oidc_refused"),
        ("code=x&iss=https%3A%2F%2Fevil.example", "oidc_refused"),
    ] {
        let browser = app.browser();
        let location = leave(&browser, OIDC).await;
        let state = crate::fake_providers::query(&location)["state"].clone();
        let answer = browser.get(&format!("{OIDC}/callback?{report}&state={state}")).await;
        assert_eq!(landed(answer), format!("/login?error={code}"), "{report}");
        let page = browser.get(&format!("/login?error={code}")).await.expect(200).body;
        assert!(!page.contains("That did not work"), "{page}");
    }
    assert_eq!(fake_providers.calls("/token"), 0);
    // An answer for one provider is none for another, even of the same issuer.
    let browser = app.browser();
    let location = leave(&browser, OIDC).await;
    let callback = fake_providers.agree(&location, google(&app, "1", "a@gmail.com"));
    let elsewhere = browser.get(&callback.replace("oidc", "google")).await;
    assert_eq!(landed(elsewhere), "/login?error=sign_in_expired");
}
