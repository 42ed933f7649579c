//! Steam's response to a request for an inventory.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tracera::portfolio::inventory::{Reply, parse};

fuzz_target!(|body: &[u8]| {
    let Ok(Reply::Page(page)) = parse(body) else { return };
    for item in &page.items {
        assert!(page.kinds.contains_key(&item.item_id), "an item is of a known kind");
        let printed = [item.name_tag.as_deref(), Some(item.item_id.as_str())];
        assert!(!printed.into_iter().flatten().any(|text| text.contains(char::is_control)));
    }
});
