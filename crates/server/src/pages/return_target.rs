//! The page that a user wanted before they had to sign in.
//!
//! 1. It is one of a fixed list, with its query. Anything else counts as absent.
//! 2. The query is parsed and serialised again, so that no input reaches a header unchanged.
//! 3. The browser remembers it for ten minutes. A sign-in by any method uses it up.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, Method, Uri};
use tracera_guard::HostCookie;
use url::form_urlencoded;

use crate::pages::messages::{DONE, DOWNLOAD, ERROR};

/// The pages for signed-in users; the downloads follow.
const PAGES: [&str; 4] = [HOME, "/account", "/email", "/confirm"];
const HOME: &str = "/";
const DATA: &str = "/account/data.json";
const CSV: &str = "/api/v1/portfolio/export.csv";
const JSON: &str = "/api/v1/portfolio/export.json";
/// For each file, the page that offers it, and the query that starts the download there.
const DOWNLOADS: [(&str, &str, &str); 3] =
    [(DATA, "/account", "data"), (CSV, HOME, "csv"), (JSON, HOME, "json")];
const MAX_CHARS: usize = 1000;
const COOKIE: HostCookie = HostCookie::new("next", Duration::from_mins(10));

/// A page of this site to continue on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReturnTarget(String);

impl ReturnTarget {
    /// The account page.
    pub fn account() -> Self {
        Self("/account".to_owned())
    }

    /// Parses a URL without scheme and host; `None` unless it is a listed page or file.
    pub fn parse(address: &str) -> Option<Self> {
        if address.len() > MAX_CHARS {
            return None;
        }
        let (path, query) = address.split_once('?').unwrap_or((address, ""));
        let downloads = DOWNLOADS.into_iter().map(|(file, ..)| file);
        let page = PAGES.into_iter().chain(downloads).find(|page| *page == path)?;
        // Drops notices and downloads, so that they are not repeated.
        let pairs = form_urlencoded::parse(query.as_bytes())
            .filter(|(name, _)| ![DONE, ERROR, DOWNLOAD].contains(&&**name));
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        let address = if query.is_empty() { page.to_owned() } else { format!("{page}?{query}") };
        // Serialising can make it three times as long.
        (address.len() <= MAX_CHARS).then_some(Self(address))
    }

    /// The file with all data about the user.
    pub fn data() -> Self {
        Self(DATA.to_owned())
    }

    /// The page or file that a request asks for.
    pub fn asked_for(method: &Method, uri: &Uri) -> Option<Self> {
        let address = uri.path_and_query().filter(|_| *method == Method::GET)?;
        Self::parse(address.as_str())
    }

    /// Whether it is a file.
    pub fn is_download(&self) -> bool {
        DOWNLOADS.into_iter().any(|(file, ..)| self.is_page(file))
    }

    /// The URL to redirect to. For a file it is the page that starts the download, because a
    /// redirect to a file leaves the browser on its current page.
    pub fn landing(&self) -> String {
        let download = DOWNLOADS.into_iter().find(|(file, ..)| self.is_page(file));
        download
            .map_or_else(|| self.0.clone(), |(_, page, query)| format!("{page}?{DOWNLOAD}={query}"))
    }

    /// The file whose download this page's query starts.
    pub fn to_download(page: &Uri) -> Option<&'static str> {
        let query = form_urlencoded::parse(page.query()?.as_bytes());
        let (_, wanted) = query.into_iter().find(|(name, _)| name == DOWNLOAD)?;
        let mut downloads = DOWNLOADS.into_iter();
        let (file, ..) = downloads.find(|(_, of, it)| *of == page.path() && *it == wanted)?;
        Some(file)
    }

    /// The page that this browser remembers.
    pub fn remembered(headers: &HeaderMap, https: bool) -> Option<Self> {
        COOKIE.secure(https).read_as(headers, |value| {
            let address = URL_SAFE_NO_PAD.decode(value).ok()?;
            Self::parse(std::str::from_utf8(&address).ok()?)
        })
    }

    /// The `Set-Cookie` header that stores it.
    pub fn remember(&self, https: bool) -> HeaderValue {
        COOKIE.secure(https).set(&URL_SAFE_NO_PAD.encode(&self.0))
    }

    /// The `Set-Cookie` header that removes it, if the browser has it.
    pub fn forget(headers: &HeaderMap, https: bool) -> Option<HeaderValue> {
        Self::remembered(headers, https).map(|_| COOKIE.secure(https).clear())
    }

    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The URL of the sign-in page that continues here.
    pub fn by_way_of_sign_in(&self) -> String {
        self.by_way_of("/login")
    }

    /// The URL of a step that continues here.
    pub fn by_way_of(&self, path: &str) -> String {
        self.append_to(&format!("{path}?"))
    }

    /// The URL of the confirmation page that continues here.
    pub fn by_way_of_confirming(&self) -> String {
        self.by_way_of("/confirm")
    }

    /// The sign-in page with the error of a failed sign-in or link, continuing here.
    pub fn by_way_of_failure(&self, code: &str) -> String {
        self.append_to(&format!("/login?error={code}&"))
    }

    /// Its URL with a notice: an `error` or something `done`. If the page shows no notices, the URL
    /// is that of another page.
    pub fn saying(&self, kind: &str, code: &str) -> String {
        let address = match self.0.as_str() {
            _ if self.is_page("/email") => HOME,
            DATA => "/account",
            CSV | JSON => HOME,
            address => address,
        };
        let separator = if address.contains('?') { '&' } else { '?' };
        format!("{address}{separator}{kind}={code}")
    }

    /// Whether it is this page, with any query.
    pub fn is_page(&self, path: &str) -> bool {
        self.0.split('?').next() == Some(path)
    }

    fn append_to(&self, address: &str) -> String {
        if self.0 == HOME {
            return address.trim_end_matches(['?', '&']).to_owned();
        }
        form_urlencoded::Serializer::for_suffix(address.to_owned(), address.len())
            .append_pair("next", &self.0)
            .finish()
    }
}

impl Default for ReturnTarget {
    /// The start page.
    fn default() -> Self {
        Self(HOME.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use http::header;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pages_of_ours_are_kept_with_their_query() {
        for (address, kept) in [
            ("/", "/"),
            ("/account", "/account"),
            ("/?q=ak+47&sort=name", "/?q=ak+47&sort=name"),
            ("/email?token=abc", "/email?token=abc"),
            ("/?q=\r\nSet-Cookie: x=1", "/?q=%0D%0ASet-Cookie%3A+x%3D1"),
            ("/?q=<script>#x", "/?q=%3Cscript%3E%23x"),
            ("/account?done=unlinked", "/account"),
            ("/?error=x&q=a", "/?q=a"),
        ] {
            assert_eq!(ReturnTarget::parse(address).unwrap().as_str(), kept);
        }
    }

    #[test]
    fn everything_else_is_nothing() {
        for hostile in [
            "",
            "account",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "/\t/evil.example",
            "https://evil.example",
            "https:evil.example",
            "javascript:alert(1)",
            "data:text/html,x",
            "%2f%2fevil.example",
            "/%2f/evil.example",
            "/account/../api",
            "/account/",
            "/account#x",
            "/Account",
            "/account\r\nSet-Cookie: a=b",
            "/account\0",
            " /account",
            "/account;x",
            "/api/v1/auth/me",
            "/api/v1/auth/steam/login",
            "/login",
            "/logout",
            "/dev/mailbox",
            "/account/data.json/",
            "/api/v1/portfolio/export.xml",
            "/.evil.example",
            "/@evil.example",
            "http://localhost:8080/account",
        ] {
            assert_eq!(ReturnTarget::parse(hostile), None, "{hostile:?}");
        }
        assert_eq!(ReturnTarget::parse(&format!("/?q={}", "x".repeat(MAX_CHARS))), None);
        assert_eq!(
            ReturnTarget::parse(&format!("/?q={}", "<".repeat(MAX_CHARS / 2))),
            None,
            "longer once written anew"
        );
    }

    #[test]
    fn a_browser_remembers_it() {
        let next = ReturnTarget::parse("/?q=a%3Bb").unwrap();
        for https in [true, false] {
            let line = next.remember(https);
            let pair = line.to_str().unwrap().split(';').next().unwrap();
            let headers = HeaderMap::from_iter([(header::COOKIE, pair.parse().unwrap())]);
            assert_eq!(ReturnTarget::remembered(&headers, https), Some(next.clone()));
            assert!(ReturnTarget::forget(&headers, https).is_some());
        }
        let evil = URL_SAFE_NO_PAD.encode("//evil.example");
        for value in ["", "%", "_w", &evil] {
            let headers =
                HeaderMap::from_iter([(header::COOKIE, format!("next={value}").parse().unwrap())]);
            assert_eq!(ReturnTarget::remembered(&headers, false), None, "{value}");
        }
        assert_eq!(ReturnTarget::forget(&HeaderMap::new(), false), None);
    }

    #[test]
    fn the_sign_in_page_is_told_where_it_leads() {
        assert_eq!(ReturnTarget::default().by_way_of_sign_in(), "/login");
        assert_eq!(ReturnTarget::account().by_way_of_sign_in(), "/login?next=%2Faccount");
        assert_eq!(ReturnTarget::account().by_way_of_confirming(), "/confirm?next=%2Faccount");
        assert_eq!(
            ReturnTarget::account().by_way_of_failure("x"),
            "/login?error=x&next=%2Faccount"
        );
        assert_eq!(ReturnTarget::default().by_way_of_failure("x"), "/login?error=x");
    }

    #[test]
    fn a_file_is_downloaded_from_the_page_that_offers_it() {
        for (file, page) in [
            ("/account/data.json", "/account?download=data"),
            ("/api/v1/portfolio/export.csv?x=y", "/?download=csv"),
            ("/api/v1/portfolio/export.json", "/?download=json"),
        ] {
            let target = ReturnTarget::parse(file).unwrap();
            assert!(target.is_download() && target.landing() == page, "{file}");
            let begun = ReturnTarget::to_download(&page.parse().unwrap());
            assert_eq!(begun, file.split('?').next(), "{page}");
        }
        for page in ["/", "/?download=data", "/account?download=csv", "/account?download="] {
            assert_eq!(ReturnTarget::to_download(&page.parse().unwrap()), None, "{page}");
            assert!(!ReturnTarget::parse(page).unwrap().is_download());
        }
        assert_eq!(ReturnTarget::parse("/?download=csv&q=a").unwrap().landing(), "/?q=a");
    }

    #[test]
    fn pages_are_told_what_to_say() {
        for (page, saying) in [
            ("/", "/?error=x"),
            ("/?q=ak", "/?q=ak&error=x"),
            ("/account", "/account?error=x"),
            ("/email?token=abc", "/?error=x"),
        ] {
            assert_eq!(ReturnTarget::parse(page).unwrap().saying("error", "x"), saying);
        }
    }

    proptest! {
        #[test]
        fn it_never_leads_elsewhere(address in "[/?].{0,40}|\\PC{0,40}") {
            if let Some(next) = ReturnTarget::parse(&address) {
                let ours = url::Url::parse("https://tracera.example/").unwrap();
                let target = ours.join(next.as_str()).unwrap();
                prop_assert_eq!(target.origin(), ours.origin());
                prop_assert!(PAGES.contains(&target.path()) || next.is_download());
                prop_assert!(HeaderValue::from_str(next.as_str()).is_ok());
                prop_assert_eq!(ReturnTarget::parse(next.as_str()), Some(next));
            }
        }
    }
}
