//! E-mail addresses that are safe to write to.
//!
//! A sign-in link is worth as much as the account. So it may go to exactly one mailbox, the
//! account's own. [`Email::parse`] therefore takes far less than RFC 5322 allows:
//!
//! 1. one plain `local@domain`: no display name, list, comment, quoted local part or IP literal;
//! 2. ASCII only. There is no SMTPUTF8 here; write an internationalised domain in its `xn--`
//!    form. Characters that only look like ASCII are refused, never folded;
//! 3. the canonical form is the whole address in lower case. It is stored, compared and used for
//!    mail; the typed spelling is dropped.
//!
//! ```
//! use tracera::domain::email::Email;
//!
//! let email = Email::parse(" Alice@Example.COM ")?;
//! assert_eq!(email.as_str(), "alice@example.com");
//! assert_eq!(email.masked(), "a***@example.com");
//! assert!(Email::parse("alice@example.com,eve@example.net").is_err());
//! # Ok::<(), tracera::domain::email::EmailError>(())
//! ```

use std::fmt;

/// Longest local part, in bytes (RFC 5321, 4.5.3.1.1).
const MAX_LOCAL_LEN: usize = 64;
/// Longest address, in bytes (RFC 5321, 4.5.3.1.3, less the angle brackets).
const MAX_LEN: usize = 254;
/// Longest domain label, in bytes (RFC 1035, 2.3.4).
const MAX_LABEL_LEN: usize = 63;

/// One e-mail address in canonical form: ASCII, lower case, `dot-atom@host.name`.
///
/// `Debug` prints the masked form, so that an address inside a larger structure does not
/// reach a log in full; `Display` is the address itself.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Email(String);

/// Why a text is not an address this service sends mail to. The message is part of a sentence that
/// users read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EmailError {
    /// Nothing but white space.
    #[error("the e-mail address is empty")]
    Empty,
    /// More than 254 bytes, or more than 64 before the `@`.
    #[error("the e-mail address is too long")]
    TooLong,
    /// A character outside ASCII.
    #[error("the e-mail address may only have ASCII characters; write the domain in its xn-- form")]
    NotAscii,
    /// No `@`, or more than one.
    #[error("the e-mail address needs exactly one @")]
    AtSign,
    /// The part before the `@` is not a dot-atom.
    #[error(
        "the part before the @ may only have letters, digits, single dots and \
         !#$%&'*+-/=?^_`{{|}}~"
    )]
    LocalPart,
    /// The part after the `@` is not a host name of two or more labels.
    #[error("the part after the @ must be a domain name such as example.com")]
    Domain,
}

impl Email {
    /// Parses one address. White space around it is dropped, and so are characters without a width,
    /// which come along when a person copies an address.
    ///
    /// # Errors
    ///
    /// [`EmailError`] says which rule the text breaks.
    pub fn parse(text: &str) -> Result<Self, EmailError> {
        let text = text.trim_matches(is_blank);
        if text.is_empty() {
            return Err(EmailError::Empty);
        }
        if !text.is_ascii() {
            return Err(EmailError::NotAscii);
        }
        if text.len() > MAX_LEN {
            return Err(EmailError::TooLong);
        }
        let (local, domain) = text.split_once('@').ok_or(EmailError::AtSign)?;
        if domain.contains('@') {
            return Err(EmailError::AtSign);
        }
        if local.len() > MAX_LOCAL_LEN {
            return Err(EmailError::TooLong);
        }
        if !is_dot_atom(local) {
            return Err(EmailError::LocalPart);
        }
        if !is_domain_name(domain) {
            return Err(EmailError::Domain);
        }
        Ok(Self(text.to_ascii_lowercase()))
    }

    /// The canonical address.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part after the `@`.
    pub fn domain(&self) -> &str {
        self.parts().1
    }

    /// The mailbox behind the address, as far as it can be derived: without the tag after a `+`,
    /// and without the dots that Gmail ignores. For counting only, never for sending.
    pub fn mailbox(&self) -> String {
        let (local, domain) = self.parts();
        let untagged = match local.split_once('+') {
            Some((untagged, _)) if !untagged.is_empty() => untagged,
            _ => local,
        };
        match domain {
            "gmail.com" | "googlemail.com" => format!("{}@gmail.com", untagged.replace('.', "")),
            _ => format!("{untagged}@{domain}"),
        }
    }

    /// The address for logs and public pages: `a***@example.com`.
    pub fn masked(&self) -> String {
        let (local, domain) = self.parts();
        format!("{}***@{domain}", &local[..1])
    }

    /// Whether this is GitHub's noreply address, which stands in for a private one and delivers
    /// nowhere.
    pub fn is_stand_in(&self) -> bool {
        let domain = self.domain();
        domain.starts_with("users.noreply.") || domain.starts_with("noreply.")
    }

    fn parts(&self) -> (&str, &str) {
        self.0.split_once('@').expect("a parsed address has one @")
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Email({})", self.masked())
    }
}

/// Whether the character is invisible: white space, the soft hyphen, joiners, separators, direction
/// marks, the byte order mark.
fn is_blank(c: char) -> bool {
    let invisible = matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    (c.is_whitespace() && c != '\u{b}') || invisible
}

/// RFC 5322 `dot-atom-text`: atoms joined by single dots.
fn is_dot_atom(local: &str) -> bool {
    local.split('.').all(|atom| {
        !atom.is_empty()
            && atom
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b))
    })
}

/// Two or more letter-digit-hyphen labels; the last one is not a number, so no IPv4 address passes.
fn is_domain_name(domain: &str) -> bool {
    let Some((_, last)) = domain.rsplit_once('.') else {
        return false;
    };
    domain.split('.').all(is_label) && !last.bytes().all(|b| b.is_ascii_digit())
}

fn is_label(label: &str) -> bool {
    (1..=MAX_LABEL_LEN).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn accepts_plain_addresses_and_lowers_them() {
        for (typed, canonical) in [
            ("alice@example.com", "alice@example.com"),
            (" Alice.B@Example.CO.uk\r\n", "alice.b@example.co.uk"),
            ("a+tag@example.com", "a+tag@example.com"),
            ("o'hara!#$%&*/=?^_`{|}~-@example.com", "o'hara!#$%&*/=?^_`{|}~-@example.com"),
            ("x@xn--bcher-kva.example", "x@xn--bcher-kva.example"),
            ("1@1.2.example", "1@1.2.example"),
            // Invisible characters that clipboards add.
            ("\u{a0}a@example.com\u{a0}", "a@example.com"),
            ("\u{200b}a@example.com\u{200b}", "a@example.com"),
            ("\u{feff}a@example.com\u{2060}\n", "a@example.com"),
            ("\u{202a}a@example.com\u{202c}", "a@example.com"),
            ("\u{2066}a@example.com\u{ad}\u{3000}", "a@example.com"),
        ] {
            assert_eq!(Email::parse(typed).unwrap().as_str(), canonical, "{typed:?}");
        }
    }

    #[test]
    fn refuses_everything_that_could_reach_another_mailbox() {
        use EmailError::{AtSign, Domain, Empty, LocalPart, NotAscii};
        for (typed, why) in [
            ("", Empty),
            (" \t\r\n", Empty),
            ("alice", AtSign),
            ("@", LocalPart),
            ("@example.com", LocalPart),
            ("alice@", Domain),
            ("a@b@example.com", AtSign),
            ("a@example.com,b@example.com", AtSign),
            ("a,b@example.com", LocalPart),
            ("a@example.com;b", Domain),
            ("a@example.com b", Domain),
            ("a b@example.com", LocalPart),
            ("Alice <a@example.com>", LocalPart),
            ("<a@example.com>", LocalPart),
            ("a@example.com>", Domain),
            ("\"a\"@example.com", LocalPart),
            ("\"e@attacker.example\"@victim.example", AtSign),
            ("a(comment)@example.com", LocalPart),
            ("a@(comment)example.com", Domain),
            ("a\r\nBcc: b@example.com", LocalPart),
            ("a\r\n@example.com", LocalPart),
            ("a@example.com\r\nRCPT TO", Domain),
            ("a@example.com\0", Domain),
            ("a\0@example.com", LocalPart),
            ("a@example.com\u{b}", Domain),
            ("a\u{ff20}example.com", NotAscii),
            ("a@ex\u{e4}mple.com", NotAscii),
            ("a@g\u{131}thub.example", NotAscii),
            ("\u{212a}ate@example.com", NotAscii),
            ("a@example\u{3002}com", NotAscii),
            ("a\u{200b}@example.com", NotAscii),
            ("a@exam\u{a0}ple.com", NotAscii),
            ("a@example.com\u{200b}\0", NotAscii),
            (".a@example.com", LocalPart),
            ("a.@example.com", LocalPart),
            ("a..b@example.com", LocalPart),
            ("a\\@example.com", LocalPart),
            ("a:b@example.com", LocalPart),
            ("a@localhost", Domain),
            ("a@example.com.", Domain),
            ("a@.example.com", Domain),
            ("a@example..com", Domain),
            ("a@-example.com", Domain),
            ("a@example-.com", Domain),
            ("a@exa_mple.com", Domain),
            ("a@127.0.0.1", Domain),
            ("a@[127.0.0.1]", Domain),
            ("a@[IPv6:::1]", Domain),
            ("a@example.com:25", Domain),
            ("a@example.com/x", Domain),
            ("a%b@example.com@c", AtSign),
        ] {
            assert_eq!(Email::parse(typed), Err(why), "{typed:?}");
        }
    }

    #[test]
    fn keeps_the_length_limits_of_smtp() {
        let local = "l".repeat(64);
        assert!(Email::parse(&format!("{local}@example.com")).is_ok());
        assert_eq!(Email::parse(&format!("{local}l@example.com")), Err(EmailError::TooLong));

        let label = "d".repeat(63);
        assert!(Email::parse(&format!("a@{label}.com")).is_ok());
        assert_eq!(Email::parse(&format!("a@{label}d.com")), Err(EmailError::Domain));

        let fits = format!("{local}@{}.{label}.{}", "d".repeat(63), "e".repeat(61));
        assert_eq!(fits.len(), 254);
        assert!(Email::parse(&fits).is_ok());
        assert_eq!(Email::parse(&format!("{fits}e")), Err(EmailError::TooLong));
    }

    #[test]
    fn a_mailbox_is_counted_once_whatever_its_tag() {
        for (address, mailbox) in [
            ("a@example.com", "a@example.com"),
            ("a+1@example.com", "a@example.com"),
            ("a+1+2@example.com", "a@example.com"),
            ("+1@example.com", "+1@example.com"),
            ("a.b@example.com", "a.b@example.com"),
            ("a.b+1@gmail.com", "ab@gmail.com"),
            ("ab@googlemail.com", "ab@gmail.com"),
        ] {
            assert_eq!(Email::parse(address).unwrap().mailbox(), mailbox);
        }
    }

    #[test]
    fn debug_prints_the_masked_form() {
        let email = Email::parse("alice@example.com").unwrap();
        assert_eq!(format!("{email:?}"), "Email(a***@example.com)");
        assert_eq!(email.to_string(), "alice@example.com");
        assert_eq!(email.domain(), "example.com");
    }

    proptest! {
        #[test]
        fn what_parses_is_canonical_and_one_address(text in "\\PC{0,80}") {
            if let Ok(email) = Email::parse(&text) {
                prop_assert_eq!(Email::parse(email.as_str()), Ok(email.clone()));
                prop_assert_eq!(email.as_str().matches('@').count(), 1);
                let special = [' ', ',', ';', '<', '>', '"', '(', '\r', '\n'];
                prop_assert!(!email.as_str().contains(special));
            }
        }

        #[test]
        fn spelling_does_not_matter(
            local in "[a-z0-9+_-]{1,20}",
            domain in "[a-z0-9]{1,20}\\.[a-z]{2,6}",
        ) {
            let lower = format!("{local}@{domain}");
            prop_assert_eq!(Email::parse(&lower.to_ascii_uppercase()), Email::parse(&lower));
            prop_assert_eq!(Email::parse(&lower).unwrap().to_string(), lower);
        }
    }
}
