//! Writes log lines on a separate thread; logging itself only copies a line into memory.
//!
//! 1. Requests never wait for the log's reader, and many lines are combined into one write.
//! 2. A line is written within about [`GATHER`], unless the reader is slow.
//! 3. At most [`MAX_BYTES`] are buffered. Lines that do not fit are dropped and counted, and the
//!    count is logged.
//! 4. Dropping the [`LogWriter`] writes the rest, for at most [`PATIENCE`].

use std::io::{self, Write};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// How long lines are collected into one write.
const GATHER: Duration = Duration::from_millis(10);
/// Limit on buffered bytes.
const MAX_BYTES: usize = 8 << 20;
/// Size of the buffer kept while idle.
const KEPT_BYTES: usize = 256 << 10;
/// How long shutdown waits for the log's reader.
const PATIENCE: Duration = Duration::from_secs(2);

/// Writes lines until it is dropped.
#[derive(Debug)]
pub struct LogWriter(Arc<Shared>);

/// Receives one line per `write`, without waiting.
#[derive(Debug, Clone)]
pub(super) struct Lines(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// Signals the first line of a batch, or the shutdown.
    arrived: Condvar,
    /// Signals that the last line was written.
    over: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: Vec<u8>,
    dropped: u64,
    is_closed: bool,
    is_over: bool,
}

impl LogWriter {
    /// Starts writing to `output`. Calls `on_drops` with the number of dropped lines whenever there
    /// are some.
    ///
    /// # Errors
    /// When the system cannot create a thread.
    pub(super) fn start(
        output: impl Write + Send + 'static,
        on_drops: impl Fn(u64) + Send + 'static,
    ) -> io::Result<(Self, Lines)> {
        let shared = Arc::new(Shared::default());
        let writer = shared.clone();
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || writer.write_to(output, on_drops))?;
        Ok((Self(shared.clone()), Lines(shared)))
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        let mut waiting = self.0.lock();
        waiting.is_closed = true;
        self.0.arrived.notify_one();
        let _ = self.0.over.wait_timeout_while(waiting, PATIENCE, |waiting| !waiting.is_over);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_to(&self, mut output: impl Write, on_drops: impl Fn(u64)) {
        let mut batch = Vec::new();
        loop {
            let dropped = self.gather(&mut batch);
            if batch.is_empty() && dropped == 0 {
                self.lock().is_over = true;
                self.over.notify_all();
                return;
            }
            // A failure of the log's own output cannot be reported anywhere.
            let _ = output.write_all(&batch).and_then(|()| output.flush());
            batch.clear();
            batch.shrink_to(KEPT_BYTES);
            if dropped > 0 {
                on_drops(dropped);
            }
        }
    }

    /// Waits for lines and takes them; none at shutdown. Returns the number of lines dropped
    /// meanwhile.
    fn gather(&self, batch: &mut Vec<u8>) -> u64 {
        let idle = |waiting: &mut Waiting| waiting.lines.is_empty() && !waiting.is_closed;
        let waiting =
            self.arrived.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
        let gathered =
            self.arrived.wait_timeout_while(waiting, GATHER, |waiting| !waiting.is_closed);
        let (mut waiting, _) = gathered.unwrap_or_else(PoisonError::into_inner);
        mem::swap(&mut waiting.lines, batch);
        mem::take(&mut waiting.dropped)
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut waiting = self.0.lock();
        if waiting.lines.len() + line.len() > MAX_BYTES {
            waiting.dropped += 1;
            return Ok(line.len());
        }
        let is_first = waiting.lines.is_empty();
        waiting.lines.extend_from_slice(line);
        drop(waiting);
        if is_first {
            self.0.arrived.notify_one();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Lines {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// An output that writes only when allowed.
    struct Output {
        may_write: Receiver<()>,
        written: Sender<Vec<u8>>,
    }

    impl Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // If the other side is gone, writing is always allowed.
            let _ = self.may_write.recv();
            let _ = self.written.send(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Running {
        writer: LogWriter,
        lines: Lines,
        let_write: Sender<()>,
        written: Receiver<Vec<u8>>,
        dropped: Receiver<u64>,
    }

    fn start() -> Running {
        let ((let_write, may_write), (write, written)) = (channel(), channel());
        let (drops, dropped) = channel();
        let output = Output { may_write, written: write };
        let (writer, lines) =
            LogWriter::start(output, move |count| drops.send(count).unwrap()).unwrap();
        Running { writer, lines, let_write, written, dropped }
    }

    #[test]
    fn lines_come_out_whole_in_their_order_and_the_last_before_the_end() {
        let Running { writer, mut lines, let_write, written, dropped } = start();
        drop(let_write);
        let sent: Vec<_> = (0..1000).map(|number| format!("line {number}\n")).collect();
        for line in &sent {
            lines.write_all(line.as_bytes()).unwrap();
        }
        drop(writer);
        assert_eq!(written.iter().flatten().collect::<Vec<_>>(), sent.concat().as_bytes());
        assert_eq!(dropped.iter().count(), 0);
    }

    #[test]
    fn a_reader_that_stalls_holds_nobody_up_and_costs_whole_lines_that_are_counted() {
        let Running { writer, mut lines, let_write, written, dropped } = start();
        let line = [b"x".repeat(1023), b"\n".to_vec()].concat();
        let sent = 3 * MAX_BYTES / line.len();
        for _ in 0..sent {
            lines.write_all(&line).unwrap();
        }
        drop(let_write);
        drop(writer);
        let whole: Vec<u8> = written.iter().flatten().collect();
        let lost = usize::try_from(dropped.iter().sum::<u64>()).unwrap();
        assert!(lost > 0);
        assert!(whole.chunks(line.len()).all(|chunk| chunk == line));
        assert_eq!(whole.len() / line.len() + lost, sent);
    }
}
