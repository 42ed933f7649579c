//! E-mail addresses: what is accepted is plain, and is what it says when it is read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tracera::auth::email::Email;

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
