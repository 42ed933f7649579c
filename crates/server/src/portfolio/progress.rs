//! How far an import is.

use serde::Serialize;

/// What is happening.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// For its turn: Steam's limit keeps requests apart.
    #[default]
    Waiting,
    /// Reading a page from Steam.
    Reading,
    /// Putting the new holdings in force.
    Saving,
}

/// How far an import is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// What is happening.
    pub stage: Stage,
    /// Pages read.
    pub pages: u32,
    /// Different assets found.
    pub items_found: u64,
    /// How many Steam says there are; some of them may be hidden.
    pub items_total: Option<u32>,
    /// How many of those found have a price.
    pub items_matched: u64,
    /// How long the present wait is.
    pub wait_seconds: u64,
}

impl Progress {
    /// Whether fewer items were found than Steam says there are.
    pub fn is_short(&self) -> bool {
        self.items_total.is_some_and(|total| u64::from(total) > self.items_found)
    }
}
