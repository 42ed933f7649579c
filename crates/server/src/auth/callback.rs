//! The query of an OAuth callback.

use std::fmt;

use url::form_urlencoded;

/// What a provider sends back. Parameters it adds of its own are ignored; these four may each come once.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct OauthCallback {
    /// Ours, unchanged.
    pub state: Option<String>,
    /// To be exchanged for a token.
    pub code: Option<String>,
    /// Which issuer answers.
    pub iss: Option<String>,
    /// Why there is no code.
    pub error: Option<String>,
}

impl OauthCallback {
    /// Reads a query; `None` if one of the parameters stands there twice.
    pub fn parse(query: &str) -> Option<Self> {
        let mut callback = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let field = match &*name {
                "state" => &mut callback.state,
                "code" => &mut callback.code,
                "iss" => &mut callback.iss,
                "error" => &mut callback.error,
                _ => continue,
            };
            if field.replace(value.into_owned()).is_some() {
                return None;
            }
        }
        Some(callback)
    }
}

impl fmt::Debug for OauthCallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OauthCallback(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_parameter_is_refused_and_an_unknown_one_ignored() {
        let callback =
            OauthCallback::parse("code=a%2Bb&state=s&scope=openid&scope=email&authuser=0&hd=x").unwrap();
        assert_eq!(callback.code.as_deref(), Some("a+b"));
        assert_eq!(callback.state.as_deref(), Some("s"));
        for query in ["code=a&code=b", "state=s&state=s", "iss=a&iss=b", "error=a&error=a", "code=a&%63ode=b"]
        {
            assert_eq!(OauthCallback::parse(query), None, "{query}");
        }
        assert!(!format!("{callback:?}").contains("a+b"));
    }
}
