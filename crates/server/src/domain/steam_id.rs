//! Steam's 64-bit account id.

use std::fmt;

/// The first and the last number of individual accounts in the public universe.
const INDIVIDUALS: std::ops::RangeInclusive<u64> = 0x0110_0001_0000_0001..=0x0110_0001_FFFF_FFFF;

/// A Steam account. It names a person, so neither `Debug` nor `Display` shows it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SteamId64(u64);

impl SteamId64 {
    /// Parses the seventeen digits; `None` for anything else, including ids of groups and other
    /// universes.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == 17 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|number| digits && INDIVIDUALS.contains(number)).map(Self)
    }

    /// The decimal digits, for a request to Steam.
    pub fn digits(self) -> String {
        self.0.to_string()
    }
}

impl fmt::Debug for SteamId64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SteamId64(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::SteamId64;

    #[test]
    fn only_individual_accounts_are_parsed() {
        for person in ["76561197960265729", "76561198000000001", "76561202255233023"] {
            assert_eq!(SteamId64::parse(person).unwrap().digits(), person);
        }
        for wrong in [
            "76561197960265728",
            "76561202255233024",
            "7656119800000000",
            "765611980000000011",
            "076561198000000001",
            "+6561198000000001",
            "7656119800000000a",
            "76561198000000001\n",
            "٧٦٥٦١١٩٧٩٦٠٢٦٥٧٢٨",
            "10358279142961460",
            "x",
            "",
        ] {
            assert_eq!(SteamId64::parse(wrong), None, "{wrong}");
        }
        let shown = format!("{:?}", SteamId64::parse("76561198000000001"));
        assert!(!shown.contains("7656"), "{shown}");
    }
}
