//! The size of responses: compression, and caching of assets.

use super::*;

const GZIP: (&str, &str) = ("accept-encoding", "gzip");

#[tokio::test]
async fn a_portfolio_is_compressed_unless_a_stranger_chose_what_it_repeats() {
    let world = World::with((1..=5).map(|id| asset(id, &format!("Item {id}"))).collect()).await;
    world.import().await.expect(200);
    let browser = world.browser.undecoded();
    let encoding = async |path: &str, more: &[(&str, &str)]| {
        let headers = [&[GZIP], more].concat();
        let answer = browser.send(Method::GET, path, &headers, None).await.expect(200);
        assert_eq!(answer.header("vary").is_empty(), path.contains("?q") && more.is_empty());
        answer.header("content-encoding").to_owned()
    };
    assert_eq!(encoding("/", &[]).await, "gzip");
    assert_eq!(encoding("/api/v1/portfolio", &[]).await, "gzip");
    assert_eq!(encoding("/?q=ak", &[("sec-fetch-site", "same-origin")]).await, "gzip");
    assert_eq!(encoding("/?q=ak", &[]).await, "", "nobody says whose link that was");
    let plain =
        world.browser.send(Method::GET, "/", &[("accept-encoding", "identity")], None).await;
    assert_eq!(plain.expect(200).header("content-encoding"), "");
}

#[tokio::test]
async fn assets_are_named_by_their_content_and_kept_for_a_year() {
    let world = World::with(vec![]).await;
    let page = world.browser.get("/").await.expect(200).body;
    let named: Vec<_> = page.split('"').filter(|it| it.starts_with("/assets/")).collect();
    assert!(named.len() >= 5, "{page}");
    let browser = world.browser.undecoded();
    for path in named {
        let kept = browser.send(Method::GET, path, &[GZIP], None).await.expect(200);
        assert_eq!(kept.header("cache-control"), "public, max-age=31536000, immutable", "{path}");
        if path.starts_with("/assets/app.") || path.starts_with("/assets/portfolio.") {
            assert_eq!(kept.header("content-encoding"), "gzip", "{path}");
        }
        let tag = kept.header("etag").trim_start_matches("W/").to_owned();
        let known = [("if-none-match", &*tag)];
        world.browser.send(Method::GET, path, &known, None).await.expect(304);
    }
    let plain = world.browser.get("/assets/app.css").await.expect(200);
    assert_eq!(plain.header("cache-control"), "no-cache");
    world.browser.get("/assets/app.AAAAAAAAAAAA.css").await.expect(404);
}
