//! User agents: what a person is shown of one is never empty, also where a session kept only the
//! beginning of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tracera::auth::client::Client;

fuzz_target!(|agent: &str| {
    let client = Client::from_user_agent(agent);
    let label = client.label();
    assert!(label.len() <= 600, "a session keeps it");
    assert!(!client.phrase().is_empty());
    for end in 0..label.len() {
        let kept = &label[..label.floor_char_boundary(end)];
        assert!(!Client::from_label(kept).phrase().is_empty());
    }
});
