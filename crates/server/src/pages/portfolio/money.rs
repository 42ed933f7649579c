//! Formats money and percentages.

/// `part` in tenths of a percent of `whole`, rounded half up.
pub(super) fn tenths(part: u64, whole: u64) -> u128 {
    let (part, whole) = (u128::from(part), u128::from(whole));
    (part * 1000 + whole / 2) / whole
}

pub(super) fn percent(tenths: u128) -> String {
    format!("{}.{} %", tenths / 10, tenths % 10)
}

/// Formats a part of the whole in percent; a tiny part is not shown as zero.
pub(super) fn share(part: u64, whole: u64) -> String {
    match tenths(part, whole) {
        0 if part > 0 => "< 0.1 %".to_owned(),
        tenths => percent(tenths),
    }
}

/// Formats cents: `$1,234.50`; `1,234.50 CHF` for a currency without a common sign.
pub(super) fn money(cents: u64, currency: &str) -> String {
    with_currency(&format!("{}.{:02}", grouped(cents / 100), cents % 100), currency)
}

/// Formats whole units: `$0`.
pub(super) fn whole_money(units: u64, currency: &str) -> String {
    with_currency(&grouped(units), currency)
}

/// Formats with thousands separators: `1,234`.
fn grouped(units: u64) -> String {
    let digits = units.to_string();
    let mut units = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            units.push(',');
        }
        units.push(digit);
    }
    units
}

fn with_currency(amount: &str, currency: &str) -> String {
    match currency {
        "USD" => format!("${amount}"),
        "EUR" => format!("€{amount}"),
        "GBP" => format!("£{amount}"),
        other => format!("{amount} {other}"),
    }
}

/// Formats cents with a sign: `+$1.50`, `−$2.00`, `±$0.00`.
pub(super) fn signed(cents: i64, currency: &str) -> String {
    let sign = match cents {
        0 => "±",
        1.. => "+",
        _ => "−",
    };
    format!("{sign}{}", money(cents.unsigned_abs(), currency))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_reads_as_it_is_written() {
        for (cents, currency, text) in [
            (0, "USD", "$0.00"),
            (5, "EUR", "€0.05"),
            (123_450, "USD", "$1,234.50"),
            (100_000_000, "GBP", "£1,000,000.00"),
            (99_999, "CHF", "999.99 CHF"),
        ] {
            assert_eq!(money(cents, currency), text);
        }
        assert_eq!(
            (whole_money(0, "USD"), whole_money(1_000, "CHF")),
            ("$0".into(), "1,000 CHF".into())
        );
    }

    #[test]
    fn percentages_are_rounded() {
        for (part, whole, text) in [
            (1, 3, "33.3 %"),
            (2, 3, "66.7 %"),
            (125, 100_000, "0.1 %"),
            (15, 10_000, "0.2 %"),
            (9_999, 10_000, "100.0 %"),
            (5, 10_000, "0.1 %"),
            (4, 10_000, "< 0.1 %"),
            (0, 10_000, "0.0 %"),
            (u64::MAX, u64::MAX, "100.0 %"),
        ] {
            assert_eq!(share(part, whole), text, "{part} of {whole}");
        }
    }
}
