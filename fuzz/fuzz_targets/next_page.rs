//! The page after a sign-in: always a page of this site.
#![no_main]

use http::HeaderValue;
use libfuzzer_sys::fuzz_target;
use tracera::pages::return_target::ReturnTarget;
use url::Url;

fuzz_target!(|address: &str| {
    let Some(target) = ReturnTarget::parse(address) else { return };
    let ours = Url::parse("https://tracera.example/login").expect("a URL");
    let there = ours.join(&target.landing()).expect("a redirect a browser can follow");
    assert_eq!(there.origin(), ours.origin());
    assert!(["/", "/account", "/email", "/confirm"].contains(&there.path()), "{there}");
    assert!(HeaderValue::from_str(target.as_str()).is_ok());
    let again = ReturnTarget::parse(target.as_str());
    assert_eq!(again.as_ref(), Some(&target), "read again it is the same");
});
