//! How long a sign-in lasts, and where its token is sent.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};

use crate::keyring::KeyRing;
use crate::session::sign_in::SignIn;
use crate::sessions::Sessions;
use crate::testing::stage::{Browser, HOUR, SECRET, Site, Stage, new_user};

const MINUTE: Duration = Duration::from_secs(60);

async fn signed_in(site: &Site, choose: impl FnOnce(SignIn) -> SignIn) -> Browser {
    let mut browser = Browser::default();
    let sign_in = choose(SignIn::new(new_user(), "test"));
    let answer = browser.send(site, |s| async move { s.sign_in(sign_in).await }).await;
    assert_eq!(answer.status, StatusCode::OK);
    browser
}

pub(super) async fn a_sign_in_may_live_shorter_or_longer_than_others(stage: Stage) {
    let stage = stage.configure(|config| config.lifetime(HOUR));
    let [a, b] = stage.sites();
    let (short, usual, long) = (
        signed_in(&a, |sign_in| sign_in.lifetime(MINUTE)).await,
        signed_in(&a, |sign_in| sign_in).await,
        signed_in(&a, |sign_in| sign_in.lifetime(2 * HOUR)).await,
    );
    for (after, alive) in [
        (Duration::ZERO, [true, true, true]),
        (MINUTE, [false, true, true]),
        (HOUR, [false, false, true]),
        (HOUR, [false, false, false]),
    ] {
        stage.clock.advance(after);
        for (browser, alive) in [&short, &usual, &long].into_iter().zip(alive) {
            assert_eq!(browser.is_signed_in(&b).await, alive, "{after:?}");
        }
    }
}

pub(super) async fn a_sign_in_may_have_an_idle_timeout_of_its_own_or_none(stage: Stage) {
    for application in [None, Some(20 * MINUTE)] {
        let stage = Stage::again(&stage).configure(|config| {
            config.lifetime(24 * HOUR).idle_timeout(application).touch_interval(MINUTE)
        });
        let [a, b] = stage.sites();
        let mut own = signed_in(&a, |sign_in| sign_in.idle_timeout(Some(10 * MINUTE))).await;
        let never = signed_in(&a, |sign_in| sign_in.idle_timeout(None)).await;
        let usual = signed_in(&a, |sign_in| sign_in).await;
        // The deadline moves with use, and a rotation keeps it.
        own.send(&a, |s| async move { s.rotate().await }).await;
        for _ in 0..5 {
            stage.clock.advance(9 * MINUTE);
            assert!(own.is_signed_in(&b).await);
        }
        assert_eq!(usual.is_signed_in(&b).await, application.is_none());
        stage.clock.advance(10 * MINUTE);
        assert!(!own.is_signed_in(&b).await);
        // Writes find the session dead too.
        let written = own.send(&a, |s| async move { s.increment("n", 1).await }).await;
        assert!(!own.is_signed_in(&b).await, "{written:?}");
        stage.clock.advance(20 * HOUR);
        assert!(never.is_signed_in(&b).await);
    }
}

pub(super) async fn a_cookie_until_the_browser_closes_has_no_age_and_its_session_ends_all_the_same(
    stage: Stage,
) {
    let stage = stage.configure(|config| config.lifetime(HOUR));
    let [a, b] = stage.sites();
    let line = async |sign_in: SignIn| {
        let session = a.0.open(&HeaderMap::new()).await;
        session.sign_in(sign_in).await.unwrap();
        session.cookie_header().unwrap().to_str().unwrap().to_owned()
    };
    let usual = line(SignIn::new(new_user(), "test")).await;
    assert!(usual.contains("; Max-Age=3600"), "{usual}");
    let until_closed = line(SignIn::new(new_user(), "test").until_browser_closes()).await;
    assert!(!until_closed.contains("Max-Age") && !until_closed.contains("Expires"));
    let cookie = until_closed.split(';').next().unwrap().strip_prefix("session=").unwrap();
    let browser = Browser { cookie: Some(cookie.to_owned()) };
    assert!(browser.is_signed_in(&b).await);
    stage.clock.advance(HOUR);
    assert!(!browser.is_signed_in(&b).await);
}

pub(super) async fn a_token_in_a_header_is_a_session_without_a_cookie(stage: Stage) {
    let [site, _] = stage.sites();
    let keys = KeyRing::new(SECRET).unwrap();
    let config = stage.config.clone().token_header(header::AUTHORIZATION);
    let native = Sessions::new(stage.probe(), keys, config);
    let session = native.open(&HeaderMap::new()).await;
    assert_eq!(session.bearer_token(), None);
    session.sign_in(SignIn::new(new_user(), "test")).await.unwrap();
    let token = session.bearer_token().unwrap();
    let bearer = |token: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
        headers
    };
    let session = native.open(&bearer(&token)).await;
    assert!(session.user().is_ok() && session.is_from_header());
    session.rotate().await.unwrap();
    assert!(session.cookie_header().is_none(), "no cookie for who sent none");
    let rotated = session.bearer_token().unwrap();
    assert!(native.open(&bearer(&rotated)).await.user().is_ok());
    // Headers are ignored by default, and two tokens count as none.
    assert!(site.0.open(&bearer(&rotated)).await.user().is_err());
    let mut both = bearer(&rotated);
    both.insert(header::COOKIE, format!("session={rotated}").parse().unwrap());
    assert!(native.open(&both).await.user().is_err());
}
