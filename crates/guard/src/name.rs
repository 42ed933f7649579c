//! Names that need no escaping in Redis keys, headers and cookies.

/// Whether a name consists of `a-z`, `0-9`, `-` and `_`, and is not empty.
pub(crate) const fn is_name(name: &str) -> bool {
    let name = name.as_bytes();
    let mut at = 0;
    while at < name.len() {
        if !matches!(name[at], b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_') {
            return false;
        }
        at += 1;
    }
    !name.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_in_redis_keys_and_in_headers() {
        for (name, good) in [
            ("auth", true),
            ("magic-link_2", true),
            ("", false),
            ("Auth", false),
            ("a b", false),
            ("a\"", false),
            ("a:b", false),
            ("ä", false),
        ] {
            assert_eq!(is_name(name), good, "{name:?}");
        }
    }
}
