//! The progress of an import.

use serde::Serialize;

/// The current step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Waiting for a turn: requests to Steam are spaced out.
    #[default]
    Waiting,
    /// Fetching a page from Steam.
    Reading,
    /// Publishing the new holdings.
    Saving,
}

/// The progress of an import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// The current step.
    pub stage: Stage,
    /// The number of pages read.
    pub pages: u32,
    /// The number of distinct assets found.
    pub items_found: u64,
    /// Steam's total; some of the items may be hidden.
    pub items_total: Option<u32>,
    /// The number of found assets with a price.
    pub items_matched: u64,
    /// The length of the current wait.
    pub wait_seconds: u64,
}

impl Progress {
    /// Whether fewer items were found than Steam's total.
    pub fn is_short(&self) -> bool {
        self.items_total.is_some_and(|total| u64::from(total) > self.items_found)
    }
}
