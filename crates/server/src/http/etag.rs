//! Entity tags: whether a client already has the current version (RFC 9110, 8.8.3 and 13.1.2).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, header};

/// A weak tag, because the content may be sent in several encodings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ETag(String);

impl ETag {
    /// The tag of a version's digest.
    pub fn of(version: &[u8]) -> Self {
        Self(URL_SAFE_NO_PAD.encode(version))
    }

    /// The value of the `ETag` header.
    pub fn header(&self) -> HeaderValue {
        HeaderValue::try_from(self.to_string()).expect("base64url in quotes")
    }

    /// Whether `If-None-Match` contains the tag, weak or strong.
    pub fn is_known_to(&self, request: &HeaderMap) -> bool {
        let lists = request.get_all(header::IF_NONE_MATCH).iter();
        lists
            .filter_map(|list| list.to_str().ok())
            .any(|list| list.trim() == "*" || self.is_in(list))
    }

    fn is_in(&self, mut list: &str) -> bool {
        // A tag may contain a comma, so the list is parsed tag by tag.
        while let Some((_, rest)) = list.split_once('"') {
            let Some((tag, rest)) = rest.split_once('"') else { return false };
            if tag == self.0 {
                return true;
            }
            list = rest;
        }
        false
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "W/\"{}\"", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_known_however_its_tag_comes() {
        let tag = ETag::of(&[1, 2, 3]);
        assert_eq!(tag.to_string(), "W/\"AQID\"");
        let is_known = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::IF_NONE_MATCH, HeaderValue::from_static(line));
            }
            tag.is_known_to(&headers)
        };
        for known in [
            &["\"AQID\""][..],
            &["W/\"AQID\""],
            &["*"],
            &["\"x\", W/\"AQID\""],
            &["\"a,b\",\"AQID\""],
            &["\"x\"", "\"AQID\""],
        ] {
            assert!(is_known(known), "{known:?}");
        }
        for unknown in [&[][..], &["AQID"], &["\"AQI\""], &["\"x,AQID\""], &["\"AQID"], &[""]] {
            assert!(!is_known(unknown), "{unknown:?}");
        }
    }
}
