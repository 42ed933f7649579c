//! Records requests and faults in the order in which they end.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use prove_check::Event;
use tokio::time::Instant;

/// The journal of one history.
pub(crate) struct Journal {
    start: Instant,
    written: Mutex<Written>,
}

struct Written {
    file: BufWriter<File>,
    events: Vec<(usize, Event)>,
}

impl Journal {
    pub(crate) fn create(path: &Path) -> std::io::Result<Self> {
        let file = BufWriter::new(File::create(path)?);
        let written = Mutex::new(Written { file, events: Vec::new() });
        Ok(Self { start: Instant::now(), written })
    }

    /// Microseconds since the history began.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    pub(crate) fn write(&self, event: Event) -> std::io::Result<()> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        serde_json::to_writer(&mut written.file, &event)?;
        written.file.write_all(b"\n")?;
        let line = written.events.len() + 1;
        written.events.push((line, event));
        Ok(())
    }

    /// All recorded events.
    pub(crate) fn finish(self) -> std::io::Result<Vec<(usize, Event)>> {
        let mut written = self.written.into_inner().unwrap_or_else(PoisonError::into_inner);
        written.file.flush()?;
        Ok(written.events)
    }
}
