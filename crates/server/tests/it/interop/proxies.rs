//! The proxy samples: they forward the client's address as they see it and log no secret. The
//! failure of one instance goes unnoticed.

use reqwest::StatusCode;

use super::proxy::Proxy;
use crate::harness::TestApp;

const LIMITED: &str = "/api/v1/auth/methods";

/// Two instances over one Redis behind a proxy at 127.0.0.1.
async fn instances() -> (TestApp, [std::net::SocketAddr; 2]) {
    let vars = [("TRUSTED_PROXIES", "127.0.0.1"), ("AUTH_RATE_LIMIT_PER_MINUTE", "20")];
    let mut app = TestApp::start_with(&vars).await;
    let second = app.add_instance().await;
    let first = app.instances[0].addr;
    (app, [first, second])
}

async fn keeps_its_promises(proxy: Proxy) {
    let (eve, alice) = (proxy.client([127, 0, 0, 2]), proxy.client([127, 0, 0, 3]));

    // Eve counts as one client, whatever address she claims.
    for request in 0..20 {
        let claimed = format!("203.0.113.{request}");
        let answer = eve
            .get(proxy.url(LIMITED))
            .header("x-forwarded-for", &claimed)
            .header("forwarded", format!("for={claimed}"))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "request {request}");
    }
    let refused = eve.get(proxy.url(LIMITED)).header("forwarded", "for=203.0.113.99");
    assert_eq!(refused.send().await.unwrap().status(), StatusCode::TOO_MANY_REQUESTS);
    // Alice has a limit of her own.
    let answer = alice.get(proxy.url(LIMITED)).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(answer.headers().contains_key("x-frame-options"));

    // Nor is an id that she chose in the log.
    let chosen = alice.get(proxy.url("/healthz")).header("x-request-id", "chosen").send();
    assert_ne!(chosen.await.unwrap().headers()["x-request-id"], "chosen");

    // A page may redirect to https. A program's cookie must not be sent unencrypted.
    let plain = format!("http://localhost:{}", proxy.http);
    let page = alice.get(format!("{plain}/login")).send().await.unwrap();
    let to_https = [StatusCode::MOVED_PERMANENTLY, StatusCode::PERMANENT_REDIRECT];
    assert!(to_https.contains(&page.status()), "{}", page.status());
    assert!(page.headers()["location"].to_str().unwrap().starts_with("https://"));

    // The token of a mailed link is in no log.
    let link = proxy.url("/api/v1/auth/magic/verify?token=SECRET-OF-A-LINK");
    alice.get(&link).header("referer", &link).send().await.unwrap();
    let logs = proxy.logs();
    assert!(!logs.contains("SECRET-OF-A-LINK"), "{logs}");
}

/// Stops one instance during requests and posts; none is lost.
async fn misses_no_instance(mut app: TestApp, proxy: Proxy) {
    drop(app.instances.remove(0));
    let alice = proxy.client([127, 0, 0, 4]);
    for request in 0..20 {
        let answer = alice.get(proxy.url("/healthz")).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "request {request}");
    }
}

#[tokio::test]
async fn the_nginx_sample_keeps_its_promises() {
    let (app, instances) = instances().await;
    keeps_its_promises(Proxy::nginx(instances).await).await;
    misses_no_instance(app, Proxy::nginx(instances).await).await;
}

#[tokio::test]
async fn the_haproxy_sample_keeps_its_promises() {
    let (app, instances) = instances().await;
    keeps_its_promises(Proxy::haproxy(instances).await).await;
    misses_no_instance(app, Proxy::haproxy(instances).await).await;
}

#[tokio::test]
async fn the_caddy_sample_keeps_its_promises() {
    let (app, instances) = instances().await;
    keeps_its_promises(Proxy::caddy(instances).await).await;
    misses_no_instance(app, Proxy::caddy(instances).await).await;
}

#[tokio::test]
async fn the_apache_sample_keeps_its_promises() {
    let (app, instances) = instances().await;
    keeps_its_promises(Proxy::apache(instances).await).await;
    misses_no_instance(app, Proxy::apache(instances).await).await;
}
