//! Price feeds in every supported format.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tracera::portfolio::feeds;

fuzz_target!(|body: &[u8]| {
    if let Ok((prices, _skipped)) = feeds::read(body, "USD") {
        assert!(!prices.is_empty(), "a feed without a price is refused");
        assert_eq!(prices.rows().filter(|row| row.0.contains(char::is_control)).count(), 0);
    }
});
