//! The query of an OAuth callback.

use std::fmt;

use url::form_urlencoded;

use crate::auth::provider_error::ProviderError;
use crate::domain::provider::Provider;

/// The parameters of a provider's response. Each may occur once; additional parameters are ignored.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct OauthCallback {
    /// The `state` from the request; `None` also when it occurs twice.
    pub state: Option<String>,
    /// The authorization code.
    pub code: Option<String>,
    /// The issuer of the response (RFC 9207).
    pub iss: Option<String>,
    /// The error code, when there is no authorization code.
    pub error: Option<String>,
    /// Whether one of the four occurs twice. Then the query is rejected.
    pub repeated: bool,
}

impl OauthCallback {
    /// Parses a query.
    pub fn parse(query: &str) -> Self {
        let mut callback = Self::default();
        let mut states = 0;
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let field = match &*name {
                "state" => {
                    states += 1;
                    &mut callback.state
                }
                "code" => &mut callback.code,
                "iss" => &mut callback.iss,
                "error" => &mut callback.error,
                _ => continue,
            };
            callback.repeated |= field.replace(value.into_owned()).is_some();
        }
        callback.state = callback.state.filter(|_| states == 1);
        callback
    }
}

impl fmt::Debug for OauthCallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OauthCallback(…)")
    }
}

/// The code of a callback, or what its error means.
///
/// # Errors
/// [`ProviderError::Cancelled`] or [`ProviderError::Refused`].
pub fn code_of(callback: &OauthCallback, provider: Provider) -> Result<&str, ProviderError> {
    match (callback.error.as_deref(), callback.code.as_deref()) {
        (Some("access_denied"), _) => Err(ProviderError::Cancelled),
        (None, Some(code)) if !code.is_empty() => Ok(code),
        _ => {
            tracing::warn!(provider = provider.as_str(), "the provider reports an error");
            Err(ProviderError::Refused(provider))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_parameter_is_noticed_and_an_unknown_one_ignored() {
        let callback =
            OauthCallback::parse("code=a%2Bb&state=s&scope=openid&scope=email&authuser=0&hd=x");
        assert_eq!(callback.code.as_deref(), Some("a+b"));
        assert_eq!((callback.state.as_deref(), callback.repeated), (Some("s"), false));
        for query in ["code=a&code=b", "iss=a&iss=b", "error=a&error=a", "code=a&%63ode=b"] {
            let callback = OauthCallback::parse(&format!("{query}&state=s"));
            assert!(callback.repeated && callback.state.is_some(), "{query}");
        }
        for query in ["state=s&state=s", "state=s&state=t&state=u"] {
            let callback = OauthCallback::parse(query);
            assert!(callback.repeated && callback.state.is_none(), "{query}");
        }
        assert!(!format!("{callback:?}").contains("a+b"));
    }
}
