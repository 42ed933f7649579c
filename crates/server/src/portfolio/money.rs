//! Money in whole cents, parsed from decimal text without floating-point numbers.

use serde::Serialize;

/// The highest accepted price: ten million units, in cents. Together with the limit on amounts it
/// keeps every sum far below 64 bits.
const MAX_CENTS: u64 = 1_000_000_000;

/// A price in hundredths of a currency unit, at most ten million units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Cents(u64);

impl Cents {
    /// Creates a price; `None` above ten million units.
    pub fn new(cents: u64) -> Option<Self> {
        (cents <= MAX_CENTS).then_some(Self(cents))
    }

    /// The number of cents.
    pub fn get(self) -> u64 {
        self.0
    }

    /// Parses a decimal number of units, such as `7364.79` or `1.2e3`, and rounds to cents, half
    /// up. `None` for a negative number, one above the limit, or other text.
    pub fn parse_units(text: &str) -> Option<Self> {
        parse_scaled(text, 2)
    }

    /// Parses a decimal number of cents.
    pub fn parse_cents(text: &str) -> Option<Self> {
        parse_scaled(text, 0)
    }
}

/// `text` times ten to the power of `scale`, rounded half up.
fn parse_scaled(text: &str, scale: i32) -> Option<Cents> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let digits = whole.bytes().chain(fraction.bytes()).map(|byte| u64::from(byte - b'0'));
    // The number of digits before the decimal point, after scaling.
    let kept = i64::try_from(whole.len()).ok()? + i64::from(exponent) + i64::from(scale);
    let mut cents: u64 = 0;
    let mut seen: i64 = 0;
    for digit in digits {
        if seen >= kept {
            // The first dropped digit decides the rounding. If `kept` is negative, that digit is a
            // leading zero.
            if seen == kept && digit >= 5 {
                cents += 1;
            }
            break;
        }
        cents = cents.checked_mul(10)?.checked_add(digit)?;
        seen += 1;
    }
    // Appends the zeros that the exponent implies; zero stays zero.
    while seen < kept && cents > 0 {
        cents = cents.checked_mul(10)?;
        seen += 1;
    }
    Cents::new(cents)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Cents;

    #[test]
    fn decimals_become_exact_cents() {
        for (text, cents) in [
            ("0", 0),
            ("8212.5", 821_250),
            ("7364.79", 736_479),
            ("0.128", 13),
            ("0.125", 13),
            ("0.1249999", 12),
            ("0.005", 1),
            ("0.0049", 0),
            ("0.0005", 0),
            ("1.2e3", 120_000),
            ("15e-3", 2),
            ("5e-9", 0),
            ("9e-2147483648", 0),
            ("0e2147483647", 0),
            ("4.35", 435),
            ("1.005", 101),
            ("10000000", 1_000_000_000),
        ] {
            assert_eq!(Cents::parse_units(text).map(Cents::get), Some(cents), "{text}");
        }
        assert_eq!(Cents::parse_cents("1234").map(Cents::get), Some(1234));
    }

    #[test]
    fn what_is_no_price_is_refused() {
        for text in [
            "",
            "-1",
            "+1",
            ".5",
            "1,5",
            "1e308",
            "1e2147483647",
            "10000000.01",
            "NaN",
            "1e",
            "0x1",
            "99999999999999999999",
            "1 ",
        ] {
            assert_eq!(Cents::parse_units(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[0-9.eE+-]{0,30}") {
            let _ = Cents::parse_units(&text);
        }

        #[test]
        fn written_cents_are_read_back(cents in 0_u64..=1_000_000_000) {
            let text = format!("{}.{:02}", cents / 100, cents % 100);
            prop_assert_eq!(Cents::parse_units(&text).map(Cents::get), Some(cents));
        }
    }
}
