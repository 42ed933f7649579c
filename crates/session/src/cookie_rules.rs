//! Rules for the name, domain and path of a cookie.

/// Whether `name` is a token of RFC 2616, as RFC 6265 demands of cookie names.
pub(crate) fn is_name(name: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_token)
}

/// Prefixes that browsers give a meaning to (RFC 6265bis), in any case of letters; the longer
/// first.
const PREFIXES: [&str; 4] = ["__Host-Http-", "__Host-", "__Http-", "__Secure-"];

pub(crate) fn prefix(name: &str) -> Option<&'static str> {
    PREFIXES.into_iter().find(|prefix| {
        name.get(..prefix.len()).is_some_and(|part| part.eq_ignore_ascii_case(prefix))
    })
}

/// The name without its prefix; empty for the default name.
pub(crate) fn without_prefix(name: &str) -> &str {
    let bare = &name[prefix(name).map_or(0, str::len)..];
    if bare == DEFAULT_NAME { "" } else { bare }
}

/// The name of the cookie without its prefix, if the application chose none.
const DEFAULT_NAME: &str = "session";

/// Whether `domain` is a host name.
pub(crate) fn is_domain(domain: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
    !domain.is_empty() && domain.bytes().all(allowed)
}

/// Whether `path` is absolute and has no character that ends the attribute.
pub(crate) fn is_path(path: &str) -> bool {
    path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_tokens_and_prefixes_are_known() {
        for name in ["session", "__Host-session", "a.b_c-1!"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "a;b", "a=b", "my session", "a\nb", "\"a\"", "ü", "a,b"] {
            assert!(!is_name(name), "{name:?}");
        }
        for (name, bare) in [
            ("__Host-a", "a"),
            ("__secure-a", "a"),
            ("__Host-Http-a", "a"),
            ("__http-a", "a"),
            ("__Hosta", "__Hosta"),
            ("admin", "admin"),
            ("session", ""),
            ("__Host-session", ""),
            ("__ü", "__ü"),
        ] {
            assert_eq!(without_prefix(name), bare, "{name}");
        }
    }
}
