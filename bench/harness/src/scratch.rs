//! A directory for cookies and databases, gone at the end.

use std::path::{Path, PathBuf};

/// Where it is.
pub(crate) fn directory() -> PathBuf {
    std::env::temp_dir().join(format!("tracera-bench-{}", std::process::id()))
}

/// The directory, as long as this value lives.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let path = directory();
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _: std::io::Result<()> = std::fs::remove_dir_all::<&Path>(&self.0);
    }
}
