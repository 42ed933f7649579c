//! The variants of Doppler finishes. Steam's market has one name for all; price lists price each
//! one.

/// A Doppler phase or gem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// Phase 1.
    One,
    /// Phase 2.
    Two,
    /// Phase 3.
    Three,
    /// Phase 4.
    Four,
    /// The red gem.
    Ruby,
    /// The blue gem.
    Sapphire,
    /// The black gem.
    BlackPearl,
    /// The green gem of Gamma Doppler.
    Emerald,
}

use Phase::{BlackPearl, Emerald, Four, One, Ruby, Sapphire, Three, Two};

const ALL: [Phase; 8] = [One, Two, Three, Four, Ruby, Sapphire, BlackPearl, Emerald];

impl Phase {
    /// The name price lists use.
    pub fn as_str(self) -> &'static str {
        match self {
            One => "Phase 1",
            Two => "Phase 2",
            Three => "Phase 3",
            Four => "Phase 4",
            Ruby => "Ruby",
            Sapphire => "Sapphire",
            BlackPearl => "Black Pearl",
            Emerald => "Emerald",
        }
    }

    /// Parses the name used in price lists and in the database.
    pub fn parse(text: &str) -> Option<Self> {
        ALL.into_iter().find(|phase| phase.as_str().eq_ignore_ascii_case(text.trim()))
    }

    /// Maps a paint index to its phase; `None` for a finish without phases.
    pub fn of_paint_index(index: u32) -> Option<Self> {
        Some(match index {
            418 | 569 | 852 | 1120 => One,
            419 | 570 | 618 | 853 | 1121 => Two,
            420 | 571 | 854 | 1122 => Three,
            421 | 572 | 855 | 1123 => Four,
            415 => Ruby,
            416 | 619 => Sapphire,
            417 | 617 => BlackPearl,
            568 | 1119 => Emerald,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{ALL, Phase};

    #[test]
    fn every_phase_is_read_back_from_its_name() {
        for phase in ALL {
            assert_eq!(Phase::parse(phase.as_str()), Some(phase));
        }
        assert_eq!(Phase::parse("phase 2"), Some(Phase::Two));
        assert_eq!(Phase::parse("Phase 5"), None);
        assert_eq!(Phase::of_paint_index(415), Some(Phase::Ruby));
        assert_eq!(Phase::of_paint_index(44), None);
    }
}
