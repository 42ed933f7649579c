//! Parses the subset of CBOR (RFC 8949) that `WebAuthn` uses: items of definite length, and maps
//! whose keys are numbers or texts. Everything else is refused.

use super::Rejection;

/// Maximum nesting depth.
const MAX_DEPTH: u8 = 8;

/// The unread bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

/// A data item. Arrays and maps are represented by their size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item<'a> {
    /// An integer.
    Number(i64),
    /// A byte string.
    Bytes(&'a [u8]),
    /// A text string.
    Text(&'a str),
    /// An array with this many items, which follow.
    Array(u64),
    /// A map with this many pairs, which follow.
    Map(u64),
    /// `false`, `true` or `null`. None of them is valid as a key or as a size.
    Simple,
}

const MALFORMED: Rejection = Rejection::AuthenticatorData;

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The unread bytes.
    pub(super) fn rest(self) -> &'a [u8] {
        self.0
    }

    pub(super) fn item(&mut self) -> Result<Item<'a>, Rejection> {
        let [head] = *self.take(1)? else { return Err(MALFORMED) };
        let (major, info) = (head >> 5, head & 0x1f);
        if major == 7 {
            return if (20..=22).contains(&info) { Ok(Item::Simple) } else { Err(MALFORMED) };
        }
        let argument = match info {
            0..=23 => u64::from(info),
            24..=27 => {
                let bytes = self.take(1 << (info - 24))?;
                bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
            }
            // Includes indefinite lengths.
            _ => return Err(MALFORMED),
        };
        match major {
            0 => Ok(Item::Number(i64::try_from(argument).map_err(|_| MALFORMED)?)),
            1 => Ok(Item::Number(-1 - i64::try_from(argument).map_err(|_| MALFORMED)?)),
            2 => Ok(Item::Bytes(self.take_long(argument)?)),
            3 => {
                let text = std::str::from_utf8(self.take_long(argument)?);
                Ok(Item::Text(text.map_err(|_| MALFORMED)?))
            }
            4 => Ok(Item::Array(argument)),
            5 => Ok(Item::Map(argument)),
            _ => Err(MALFORMED),
        }
    }

    /// The number of pairs of the map that follows.
    pub(super) fn map(&mut self) -> Result<u64, Rejection> {
        match self.item()? {
            Item::Map(pairs) => Ok(pairs),
            _ => Err(MALFORMED),
        }
    }

    /// Skips one item and everything in it.
    pub(super) fn skip(&mut self) -> Result<(), Rejection> {
        self.skip_within(MAX_DEPTH)
    }

    fn skip_within(&mut self, depth: u8) -> Result<(), Rejection> {
        let items = match self.item()? {
            Item::Array(items) => items,
            Item::Map(pairs) => pairs.checked_mul(2).ok_or(MALFORMED)?,
            _ => return Ok(()),
        };
        let depth = depth.checked_sub(1).ok_or(MALFORMED)?;
        // Each item takes at least one byte, so a forged count ends at the end of the input.
        (0..items).try_for_each(|_| self.skip_within(depth))
    }

    fn take_long(&mut self, bytes: u64) -> Result<&'a [u8], Rejection> {
        self.take(usize::try_from(bytes).map_err(|_| MALFORMED)?)
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8], Rejection> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(MALFORMED)?;
        self.0 = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn items_of_definite_length_are_read_and_others_refused() {
        for (bytes, item) in [
            (&b"\x00"[..], Item::Number(0)),
            (b"\x18\x20", Item::Number(32)),
            (b"\x39\x01\x00", Item::Number(-257)),
            (b"\x42ab", Item::Bytes(b"ab")),
            (b"\x62ab", Item::Text("ab")),
            (b"\x82", Item::Array(2)),
            (b"\xa1", Item::Map(1)),
            (b"\xf5", Item::Simple),
        ] {
            assert_eq!(Reader::new(bytes).item(), Ok(item), "{bytes:x?}");
        }
        for bytes in [
            &b""[..],
            b"\x18",                                 // cut off
            b"\x5f\x41a\xff",                        // indefinite length
            b"\xbf\xff",                             // the same
            b"\x1c",                                 // reserved
            b"\x62\xff\xff",                         // no UTF-8
            b"\xc0\x00",                             // a tag
            b"\xf9\x00\x00",                         // a float
            b"\x1b\xff\xff\xff\xff\xff\xff\xff\xff", // larger than any number here
            b"\x5b\xff\xff\xff\xff\xff\xff\xff\xff", // longer than any message
        ] {
            assert_eq!(Reader::new(bytes).item(), Err(MALFORMED), "{bytes:x?}");
        }
    }

    #[test]
    fn a_nest_is_read_over_as_one_item_and_a_deep_one_refused() {
        let mut reader = Reader::new(b"\xa2\x61a\x82\x01\x02\x61b\xa0\x07");
        reader.skip().unwrap();
        assert_eq!(reader.rest(), b"\x07");
        assert_eq!(Reader::new(&[0x81; 64]).skip(), Err(MALFORMED));
        assert_eq!(Reader::new(b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff").skip(), Err(MALFORMED));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_read_beyond_them(bytes: Vec<u8>) {
            let mut reader = Reader::new(&bytes);
            while reader.skip().is_ok() {}
            prop_assert!(bytes.ends_with(reader.rest()));
        }
    }
}
