//! The page after a sign-in: always a page of this site.
#![no_main]

use http::HeaderValue;
use libfuzzer_sys::fuzz_target;
use tracera::web::next::Next;
use url::Url;

fuzz_target!(|address: &str| {
    let Some(next) = Next::parse(address) else { return };
    let ours = Url::parse("https://tracera.example/login").expect("a URL");
    let there = ours.join(next.as_str()).expect("a redirect a browser can follow");
    assert_eq!(there.origin(), ours.origin());
    assert!(["/", "/account", "/email"].contains(&there.path()), "{there}");
    assert!(HeaderValue::from_str(next.as_str()).is_ok());
    assert_eq!(Next::parse(next.as_str()).as_ref(), Some(&next), "read again it is the same");
});
