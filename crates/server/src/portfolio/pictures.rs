//! The URLs of item images. Browsers load them; the server itself never does.

use http::HeaderValue;
use tracera_guard::SecurityHeaders;

use crate::config::ServiceUrl;

/// Fits 96 by 96 pixels: twice the displayed size, for high-density displays.
const SIZE: &str = "96fx96f";

/// Builds URLs of item images.
#[derive(Clone, Debug)]
pub struct Pictures(ServiceUrl);

impl Pictures {
    /// Builds URLs below `base`.
    pub fn new(base: ServiceUrl) -> Self {
        Self(base)
    }

    /// The URL of an icon's image; `None` without an icon.
    pub fn address(&self, icon: &str) -> Option<String> {
        (!icon.is_empty()).then(|| self.0.endpoint(&format!("/{icon}/{SIZE}")))
    }

    /// Whether an image is on the one host that pages may load images from.
    pub fn has(&self, address: &str) -> bool {
        address.strip_prefix(&self.0.origin()).is_some_and(|path| path.starts_with('/'))
    }

    /// The `Content-Security-Policy` of a page with item images. It allows their origin.
    ///
    /// # Panics
    /// Never: the origin of a URL is visible ASCII.
    pub fn page_policy(&self) -> HeaderValue {
        let sources = format!("img-src 'self' {}", self.0.origin());
        let policy = SecurityHeaders::PAGE_POLICY.replace("img-src 'self'", &sources);
        HeaderValue::try_from(policy).expect("an origin is visible ASCII")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_below_the_configured_address() {
        for base in ["http://localhost:9/economy/image", "http://localhost:9/economy/image/"] {
            let pictures = Pictures::new(ServiceUrl::loopback(base));
            let address = pictures.address("i0CoZ81Ui0m").unwrap();
            assert_eq!(address, "http://localhost:9/economy/image/i0CoZ81Ui0m/96fx96f");
            let policy = pictures.page_policy();
            let images = "; img-src 'self' http://localhost:9 data:; ";
            assert!(policy.to_str().unwrap().contains(images), "{policy:?}");
            assert_eq!(pictures.address(""), None);
        }
    }
}
