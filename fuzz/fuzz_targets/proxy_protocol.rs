//! What stands at the beginning of a connection behind a proxy. It is read as it arrives: no
//! beginning of a header is anything but incomplete.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tracera::http::serve::proxy_protocol::{Header, parse};

fuzz_target!(|data: &[u8]| {
    let Ok(Header::Complete { length, client }) = parse(data) else { return };
    assert!(0 < length && length <= data.len());
    let header = &data[..length];
    assert_eq!(parse(header).ok(), Some(Header::Complete { length, client }), "to its last byte");
    for end in 0..length {
        assert_eq!(parse(&header[..end]).ok(), Some(Header::Incomplete), "{end}");
    }
});
