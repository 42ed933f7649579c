//! E-mail addresses: an accepted address is plain, and parses to itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tracera::domain::email::Email;

fuzz_target!(|text: &str| {
    let Ok(email) = Email::parse(text) else { return };
    let address = email.as_str();
    assert!(address.len() <= 254 && address.is_ascii());
    assert!(
        !address.bytes().any(|byte| byte.is_ascii_control() || b" ,;:<>\"()\\".contains(&byte)),
        "{address}"
    );
    assert_eq!(address.matches('@').count(), 1);
    assert_eq!(Email::parse(address).as_ref(), Ok(&email));
    assert!(!email.masked().is_empty());
});
