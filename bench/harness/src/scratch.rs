//! A directory for cookies and databases, deleted at the end.

use std::path::{Path, PathBuf};

/// The path of the directory.
pub(crate) fn directory() -> PathBuf {
    std::env::temp_dir().join(format!("tracera-bench-{}", std::process::id()))
}

/// The directory. Deleted when this value is dropped.
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
