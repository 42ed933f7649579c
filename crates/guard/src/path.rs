//! Decides whether a request path is under a prefix, in any spelling.
//!
//! A guard for a part of the URL space must cover every path that any software behind it could read
//! as part of it. Covering one path too many costs nothing.

/// The number of decodings after which a path counts as an evasion.
const MAX_DECODINGS: usize = 4;

/// True if any software could read `path` as `prefix` or as a path under it.
///
/// 1. Case is ignored.
/// 2. Percent-encoding is decoded, even repeated encoding. A path encoded more than three times
///    counts as under every prefix.
/// 3. Doubled and trailing slashes, `.` segments, control bytes and spaces around a segment are
///    ignored. A backslash is a slash. A segment ends at `;`, and at an encoded `?` or `#`.
/// 4. A path with a `..` segment, in any of these spellings, counts as under every prefix, because
///    software resolves it differently. Browsers never send one.
///
/// Use the answer only to restrict what is under a prefix, never to grant access.
///
/// ```
/// use tracera_guard::path_is_under;
///
/// assert!(path_is_under("/api/v1/auth/login", "/api/v1/auth/"));
/// assert!(path_is_under("//API/v1/./%61uth;v=1/login", "/api/v1/auth/"));
/// assert!(path_is_under("/api/v1/%1d../../x/../auth/login", "/api/v1/auth/"));
/// assert!(!path_is_under("/api/v1/authors", "/api/v1/auth/"));
/// ```
pub fn path_is_under(path: &str, prefix: &str) -> bool {
    if is_plain(path) && is_plain(prefix) {
        let rest = path.strip_prefix(prefix.trim_end_matches('/'));
        return rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    }
    any_reading_is_under(path, prefix)
}

fn any_reading_is_under(path: &str, prefix: &str) -> bool {
    let (Some(path), Some(prefix)) = (decode(path), decode(prefix)) else {
        return true;
    };
    let mut found = segments(&path);
    let is_beneath = segments(&prefix).all(|expected| found.next() == Some(expected));
    is_beneath || segments(&path).any(|segment| segment == b"..")
}

/// The bytes whose meaning in a path is unambiguous.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = u8::MIN;
    loop {
        plain[byte as usize] = matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'/');
        if byte == u8::MAX {
            break plain;
        }
        byte += 1;
    }
};

/// Whether the path has only one reading. Nearly all have.
fn is_plain(path: &str) -> bool {
    let mut was_slash = false;
    path.bytes().all(|byte| {
        let is_slash = byte == b'/';
        let is_doubled = is_slash && was_slash;
        was_slash = is_slash;
        PLAIN[usize::from(byte)] && !is_doubled
    })
}

/// The segments without empty ones, `.` and parameters.
fn segments(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| matches!(byte, b'/' | b'\\'))
        .map(|segment| {
            let end = segment.iter().position(|byte| matches!(byte, b';' | b'?' | b'#'));
            segment[..end.unwrap_or(segment.len())].trim_ascii()
        })
        .filter(|segment| !matches!(*segment, b"" | b"."))
}

/// The path in lower case, fully percent-decoded and without control bytes; `None` if it is encoded
/// too often.
fn decode(path: &str) -> Option<Vec<u8>> {
    let mut path = path.as_bytes().to_ascii_lowercase();
    for _ in 0..MAX_DECODINGS {
        let decoded = decode_once(&path);
        if decoded == path {
            path.retain(|byte| !byte.is_ascii_control());
            return Some(path);
        }
        path = decoded;
    }
    None
}

fn decode_once(path: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match (byte, tail) {
            (b'%', &[high, low, ..]) => match (hex(high), hex(low)) {
                (Some(high), Some(low)) => {
                    decoded.push((high << 4 | low).to_ascii_lowercase());
                    rest = &tail[2..];
                }
                _ => decoded.push(byte),
            },
            _ => decoded.push(byte),
        }
    }
    decoded
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{any_reading_is_under, decode_once, path_is_under};

    const PREFIX: &str = "/api/v1/auth/";

    #[test]
    fn every_spelling_of_the_prefix_is_under_it() {
        for path in [
            "/api/v1/auth",
            "/api/v1/auth/",
            "/api/v1/auth/login",
            "/api/v1/auth/login/",
            "/api/v1/auth//login",
            "//api/v1/auth/login",
            "/api//v1///auth/login",
            "/API/V1/Auth/login",
            "/api/v1/%61uth/login",
            "/api/v1/%61%75%74%68/login",
            "/api/v1/%2541uth/login",
            "/api/v1%2fauth%2flogin",
            "/api/v1%2Fauth/login",
            "/api/v1%252fauth/login",
            "/api/v1\\auth\\login",
            "/api/v1/%5cauth/login",
            "/api/v1/./auth/login",
            "/api/v1/%2e/auth/login",
            "/api/v1/x/../auth/login",
            "/api/v1/x/%2e%2E/auth/login",
            "/x/../api/y/../v1/auth/login",
            "/../../api/v1/auth/login",
            "/api/v1/auth/../auth/login",
            "/api/v1/auth;v=1/login",
            "/api;a/v1;b/auth;c",
            "/api/v1/auth%3bv=1/login",
            "/api/v1/auth%3fx/login",
            "/api/v1/auth%23x",
            "/api/v1/auth%00/login",
            "/api/v1/au%0ath/login",
            "/api/v1/auth%20/login",
            "/api/v1/auth/../../secret",
            "/api/v1/%1d../../x/../auth/me",
            "/api/v1/%20../../x/../auth/me",
            "/api/v1/..;a/../x/../auth/me",
            "/api/v1/%2e%2e/../x/../auth/me",
            "/api/v1/x//../../auth/me",
            "/api/v1/%00/../auth/me",
            "/api/v1/;x/../auth/me",
            "/api/v1/%25252525252561uth",
        ] {
            assert!(path_is_under(path, PREFIX), "{path}");
        }
    }

    #[test]
    fn other_paths_are_not_under_it() {
        for path in [
            "",
            "/",
            "*",
            "/api/v1",
            "/api/v1/authors",
            "/api/v1/auth-x/login",
            "/api/v1/portfolio",
            "/api/v2/auth/login",
            "/v1/auth/login",
            "/x/api/v1/auth/login",
            "/api/v1/%zzauth",
            "/api/v1/%6",
        ] {
            assert!(!path_is_under(path, PREFIX), "{path}");
        }
    }

    #[test]
    fn the_prefix_may_be_written_without_slashes_at_its_ends() {
        assert!(path_is_under("/api/v1/auth/login", "api/v1/AUTH"));
        assert!(path_is_under("/anything", "/"));
        assert!(path_is_under("/a%20b/c", "/a%20b"));
    }

    proptest! {
        #[test]
        fn a_plain_path_has_one_reading(
            path in "/(api|v1|auth|a|/){0,6}",
            prefix in "/(api/v1/auth/?|api/?)?",
        ) {
            prop_assert_eq!(path_is_under(&path, &prefix), any_reading_is_under(&path, &prefix));
        }

        #[test]
        fn any_path_is_read_without_panic(path in ".{0,80}") {
            path_is_under(&path, PREFIX);
        }

        /// If any of many parsers finds the prefix, the path is under it.
        #[test]
        fn what_any_reader_finds_under_the_prefix_is_under_it(
            path in "(//?|\\\\|\\.\\.?|%2e|%252E|%2f|%5c|%1d|%20|;x|%3f|api|v1|auth|AUTH|x){0,14}",
            reader: [bool; 6],
            decodings in 0..3,
        ) {
            let [drops_control, trims, cuts, merges, folds, resolves] = reader;
            let mut bytes = format!("/{path}").into_bytes();
            for _ in 0..decodings {
                bytes = decode_once(&bytes);
            }
            if drops_control {
                bytes.retain(|byte| !byte.is_ascii_control());
            }
            if folds {
                bytes.make_ascii_lowercase();
            }
            let mut found: Vec<&[u8]> = Vec::new();
            for segment in bytes[1..].split(|byte| matches!(byte, b'/' | b'\\')) {
                let segment = if trims { segment.trim_ascii() } else { segment };
                let end = segment.iter().position(|byte| cuts && matches!(byte, b';' | b'?'));
                let segment = &segment[..end.unwrap_or(segment.len())];
                match segment {
                    b"" if merges => {}
                    b"." if resolves => {}
                    b".." if resolves => drop(found.pop()),
                    _ => found.push(segment),
                }
                if found.starts_with(&[b"api", b"v1", b"auth"]) {
                    prop_assert!(path_is_under(&format!("/{path}"), PREFIX), "/{}", path);
                }
            }
        }

        /// Noise wherever a spelling can vary never hides the prefix.
        #[test]
        fn noise_never_dodges_the_prefix(
            noise in proptest::collection::vec(
                prop_oneof![
                    "/", "//", "/\\./", "/%2e/", "/%2f", "/x/\\.\\./", "/x/%2E%2e/", "\\\\"
                ],
                4,
            ),
            encode in proptest::collection::vec(0..3u8, 9),
            tail in "[a-z/%.;]{0,12}",
        ) {
            let mut letters = encode.into_iter();
            let mut spell = |word: &str| -> String {
                word.chars().map(|letter| match letters.next() {
                    Some(1) => format!("%{:02X}", letter as u32),
                    Some(2) => letter.to_ascii_uppercase().to_string(),
                    _ => letter.to_string(),
                }).collect()
            };
            let path = format!(
                "{}{}{}{}{}{}{}",
                noise[0], spell("api"), noise[1], spell("v1"), noise[2], spell("auth"), noise[3],
            );
            prop_assert!(path_is_under(&format!("{path}/{tail}"), PREFIX), "{path}/{tail}");
        }
    }
}
