//! A mailbox that is proved for a sign-in through a provider: where the identity is linked. And the
//! attempts of somebody else to have theirs linked.

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::fake_providers::FakeProviders;
use crate::harness::{TestApp, eventually, token_of};
use crate::providers_oauth::{email, github, google, landed, leave, link, sign_in};

const GOOGLE: &str = "/api/v1/auth/google";
const GITHUB: &str = "/api/v1/auth/github";
const OIDC: &str = "/api/v1/auth/oidc";
const PROOF_MAILED: &str = "/login?error=proof_mailed";

async fn start() -> (TestApp, FakeProviders) {
    let fake_providers = FakeProviders::start().await;
    let mut vars = [fake_providers.vars(), fake_providers.oidc_vars()].concat();
    vars.push(("AUTH_RATE_LIMIT_PER_MINUTE".to_owned(), "10000".to_owned()));
    let vars: Vec<_> = vars.iter().map(|(name, value)| (&**name, &**value)).collect();
    (TestApp::embedded_with(&vars).await, fake_providers)
}

/// Somebody of whose address the issuer says this.
fn claimed(app: &TestApp, sub: &str, address: &str, verified: Value) -> Value {
    let mut person = google(app, sub, address);
    person["email_verified"] = verified;
    person
}

/// Begins to sign in as `person`, and takes the token of the mail that follows.
async fn mailed(
    (app, fake_providers): (&TestApp, &FakeProviders),
    browser: &Browser,
    path: &str,
    (address, person): (&str, Value),
) -> String {
    let before = app.mails_to(address);
    assert_eq!(sign_in(fake_providers, browser, path, person).await, PROOF_MAILED, "{address}");
    assert_eq!(browser.me().await, None);
    eventually(|| async { (app.mails_to(address) > before).then_some(()) }).await;
    let mail = app.mail_to(address).await;
    assert_eq!(mail.code, "", "a code would be for whoever began");
    token_of(&mail.link)
}

async fn is_linked(browser: &Browser, provider: &str) -> bool {
    let providers = browser.get("/api/v1/auth/providers").await.expect(200).json();
    let mut providers = providers["providers"].as_array().unwrap().iter();
    providers.find(|it| it["provider"] == provider).unwrap()["linked"] == true
}

#[tokio::test]
async fn a_mailbox_proved_where_the_sign_in_began_links_the_identity() {
    let (app, fake_providers) = start().await;
    for (path, address, person, has_account) in [
        (GOOGLE, "a@gmail.com", google(&app, "1", "a@gmail.com"), true),
        (GOOGLE, "b@example.com", claimed(&app, "2", "b@example.com", Value::Null), false),
        (GITHUB, "c@example.com", github(3, "c@example.com"), true),
        (OIDC, "d@example.com", google(&app, "4", "d@example.com"), true),
        (OIDC, "e@example.com", claimed(&app, "5", "e@example.com", Value::Null), true),
        (OIDC, "f@example.com", claimed(&app, "6", "f@example.com", Value::Null), false),
        (OIDC, "g@example.com", claimed(&app, "7", "g@example.com", json!(false)), false),
        (OIDC, "h@example.com", claimed(&app, "8", "h@example.com", json!("true")), false),
    ] {
        let owner = if has_account { app.signed_in(address).await.me().await } else { None };
        let (provider, browser) = (path.rsplit('/').next().unwrap(), app.browser());
        let person = (address, person);
        let token = mailed((&app, &fake_providers), &browser, path, person.clone()).await;
        let page = browser.get(&format!("/api/v1/auth/magic/verify?token={token}")).await;
        let page = page.expect(200).body;
        assert!(page.contains("Sign in and link") && page.contains("this browser"), "{page}");
        browser.redeem(&token).await.expect(200);
        assert!(is_linked(&browser, provider).await, "{address}");
        assert_eq!(email(&browser).await, address);
        app.notice_to(address, "was linked to your Tracera account").await;
        let account = browser.me().await;
        assert!(owner.is_none() || owner == account, "{address}");
        // From here on the identity opens the account, from anywhere.
        let elsewhere = app.browser();
        assert_eq!(sign_in(&fake_providers, &elsewhere, path, person.1).await, "/", "{address}");
        assert_eq!(elsewhere.me().await, account, "{address}");
    }
}

/// The table of attacks in docs/decisions/0050. Each ends with the victim signed in by their own
/// click, and with an identity that does not open their account.
#[tokio::test]
async fn an_identity_is_never_linked_by_the_click_of_somebody_else() {
    let (app, fake_providers) = start().await;
    let all = (&app, &fake_providers);
    for (number, attack) in [
        "the attacker begins at home, and the victim opens the link",
        "the same, and there is no account yet",
        "the same, and the victim has begun a sign-in of their own",
        "a page of another site sends the victim, signed in at the issuer as the attacker",
        "so does a link in a message",
        "the victim sees whose identity it is, and only signs in",
        "the identity belongs to another account by then",
        "the account has another identity of the provider",
    ]
    .into_iter()
    .enumerate()
    {
        let address = &*format!("victim{number}@example.com");
        let theirs = claimed(&app, &format!("attacker{number}"), address, Value::Null);
        let person = (address, theirs.clone());
        let owner = match number {
            1 => None,
            _ => Some(app.signed_in(address).await),
        };
        let (attacker, victim) = (app.browser(), app.browser());
        match number {
            0 | 1 => {
                let token = mailed(all, &attacker, OIDC, person).await;
                let page = victim.get(&format!("/api/v1/auth/magic/verify?token={token}")).await;
                assert!(!page.expect(200).body.contains("Guild"), "{attack}");
                victim.redeem(&token).await.expect(200);
            }
            2 => {
                leave(&victim, OIDC).await;
                let token = mailed(all, &attacker, OIDC, person).await;
                victim.redeem(&token).await.expect(200);
            }
            3 | 4 => {
                let lured = victim
                    .with_header("sec-fetch-site", if number == 3 { "cross-site" } else { "none" })
                    .with_header("sec-fetch-mode", "navigate")
                    .with_header("sec-fetch-dest", "document");
                let token = mailed(all, &lured, OIDC, person).await;
                victim.redeem(&token).await.expect(200);
            }
            5 => {
                let token = mailed(all, &victim, OIDC, person).await;
                let page = victim.get(&format!("/api/v1/auth/magic/verify?token={token}")).await;
                let csrf = crate::browser::token_in(&page.expect(200).body);
                let fields = [("csrf_token", &*csrf), ("token", &token), ("link", "no")];
                victim.submit("/login/confirm", &fields).await.expect(303);
            }
            6 => {
                let token = mailed(all, &victim, OIDC, person).await;
                let other = app.signed_in("mallory@example.com").await;
                assert_eq!(link(&fake_providers, &other, "oidc", theirs.clone()).await, "/");
                victim.redeem(&token).await.expect(200);
            }
            _ => {
                let own = google(&app, "own", "elsewhere@example.com");
                let owner = owner.as_ref().unwrap();
                assert_eq!(link(&fake_providers, owner, "oidc", own).await, "/");
                let token = mailed(all, &victim, OIDC, person).await;
                victim.redeem(&token).await.expect(200);
            }
        }
        assert_eq!(email(&victim).await, address, "{attack}");
        assert_eq!(is_linked(&victim, "oidc").await, number == 7, "{attack}");
        let account = victim.me().await;
        assert!(account.is_some(), "{attack}");
        let attacker = app.browser();
        sign_in(&fake_providers, &attacker, OIDC, theirs).await;
        assert_ne!(attacker.me().await, account, "{attack}");
    }
}

#[tokio::test]
async fn an_address_that_is_only_claimed_tells_nothing_of_its_account() {
    let (app, fake_providers) = start().await;
    let owner = app.signed_in("a@example.com").await;
    for (sub, address) in [("1", "a@example.com"), ("2", "nobody@example.com")] {
        let person = claimed(&app, sub, address, Value::Null);
        let browser = app.browser();
        mailed((&app, &fake_providers), &browser, OIDC, (address, person.clone())).await;
        // Whoever is signed in links it on the account page.
        let target = sign_in(&fake_providers, &owner, OIDC, person).await;
        assert_eq!(target, "/login?error=email_unverified", "{address}");
    }
    // Without any address there is nothing to prove.
    let mut nameless = google(&app, "3", "");
    nameless["email"] = Value::Null;
    let target = sign_in(&fake_providers, &app.browser(), OIDC, nameless).await;
    assert_eq!(target, "/login?error=email_unverified");
}

#[tokio::test]
async fn whether_an_address_is_verified_is_asked_of_the_userinfo_endpoint() {
    let (app, fake_providers) = start().await;
    let told = |sub: &str, address: &str, userinfo: Value| {
        let mut person = claimed(&app, sub, address, Value::Null);
        person["userinfo"] = userinfo;
        person
    };
    let verified = json!({ "sub": "1", "email": "a@example.com", "email_verified": true });
    let browser = app.browser();
    let person = told("1", "a@example.com", verified);
    assert_eq!(sign_in(&fake_providers, &browser, OIDC, person).await, "/");
    assert_eq!(email(&browser).await, "a@example.com");
    // What it says of another address is not said of this one.
    let another = json!({ "sub": "2", "email": "b@example.com", "email_verified": true });
    let person = told("2", "c@example.com", another);
    assert_eq!(sign_in(&fake_providers, &app.browser(), OIDC, person).await, PROOF_MAILED);
    assert_eq!((app.mails_to("b@example.com"), fake_providers.calls("/userinfo")), (0, 2));
    let browser = app.browser();
    let location = leave(&browser, OIDC).await;
    let person = told("3", "d@example.com", json!({ "sub": "4" }));
    let callback = fake_providers.agree(&location, person);
    assert_eq!(landed(browser.get(&callback).await), "/login?error=oidc_refused");
}
