//! Logging: one line per event on stderr, in UTC.
//!
//! An event is always one line, whatever a client put into it. Control characters and line
//! separators are written as `\uXXXX`, in text as in JSON. The lines have no colours, so an escape
//! character in an event can only come from a client.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use tracing::Subscriber;
use tracing::subscriber::SetGlobalDefaultError;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry, fmt};

use crate::config::{LogFormat, LogSettings};

mod format;
mod journal;
pub mod metrics;
mod request_id;
pub mod task;
mod timestamp;
pub mod trace;
pub mod traced_store;
mod writer;

use journal::Prioritized;
pub use request_id::{InRequest, RequestId};
pub use writer::LogWriter;

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The process already has a log.
    #[error("the log: {0}")]
    Twice(#[from] SetGlobalDefaultError),
    /// The system cannot create the writer's thread.
    #[error("the log: cannot start its thread: {0}")]
    Thread(#[from] io::Error),
}

/// Logs the events of this process to stderr until the writer is dropped.
///
/// # Errors
/// [`InitError`].
pub fn init(settings: &LogSettings) -> Result<LogWriter, InitError> {
    let fitting = if io::stderr().is_terminal() { LogFormat::Text } else { LogFormat::Json };
    let format = settings.format.unwrap_or(fitting);
    let (writer, lines) = LogWriter::start(io::stderr(), |dropped| {
        tracing::warn!(dropped, "log lines were dropped, whoever reads them is too slow");
    })?;
    let journal = journal::is_stderr(std::env::var("JOURNAL_STREAM").ok().as_deref());
    tracing::subscriber::set_global_default(subscriber(settings, format, journal, lines))?;
    Ok(writer)
}

fn subscriber<W>(
    settings: &LogSettings,
    format: LogFormat,
    journal: bool,
    writer: W,
) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = fmt::layer().with_ansi(false);
    let layer = match format {
        LogFormat::Text => layer
            .event_format(Prioritized(format::Text, journal))
            .with_writer(MakeOneLine(writer))
            .boxed(),
        LogFormat::Json => {
            layer.event_format(Prioritized(format::Json, journal)).with_writer(writer).boxed()
        }
    };
    Registry::default().with(layer).with(settings.filter.to_env_filter())
}

struct MakeOneLine<W>(W);

impl<'w, W: MakeWriter<'w>> MakeWriter<'w> for MakeOneLine<W> {
    type Writer = OneLine<W::Writer>;

    fn make_writer(&'w self) -> Self::Writer {
        OneLine(self.0.make_writer())
    }
}

/// Receives one event per `write`, and writes it as one line.
struct OneLine<W>(W);

impl<W: Write> Write for OneLine<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let mut line = String::with_capacity(text.len() + 1);
        for character in text.chars() {
            if character.is_control() || matches!(character, '\u{2028}' | '\u{2029}') {
                let _ = write!(line, "\\u{:04x}", u32::from(character));
            } else {
                line.push(character);
            }
        }
        line.push('\n');
        self.0.write_all(line.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tracera_testkit::Written;

    use super::*;
    use crate::config::{Config, Mode};

    const HOSTILE: &str = "a\r\nINFO forged\u{1b}[2Jb\u{9b}31mc\u{85}d\u{2028}e\u{7f}\u{8}";

    fn logged(format: LogFormat, filter: &str, log: impl FnOnce()) -> String {
        logged_to(false, format, filter, log)
    }

    fn logged_to(journal: bool, format: LogFormat, filter: &str, log: impl FnOnce()) -> String {
        let vars = [("SESSION_SECRET", "kS0vV3y1QmZbq2nD8rTfXh5LwJ7cEu9A"), ("RUST_LOG", filter)];
        let vars: BTreeMap<_, _> =
            vars.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let settings = Config::from_vars(&vars, Mode::Serve).unwrap().log;
        let written = Written::default();
        let writer = written.clone();
        let subscriber = subscriber(&settings, format, journal, move || writer.clone());
        tracing::subscriber::with_default(subscriber, log);
        written.text()
    }

    fn log_hostile_text() {
        tracing::info!(agent = HOSTILE, debugged = ?HOSTILE, "{HOSTILE}");
    }

    #[test]
    fn text_from_a_client_cannot_forge_a_line_in_either_format() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let log = logged(format, "info", log_hostile_text);
            let line = log.strip_suffix('\n').unwrap();
            let raw = |c: char| c.is_control() || c == '\u{2028}';
            assert!(!line.contains(raw), "{format:?}: {line:?}");
            assert!(line.contains("forged"), "{format:?}: {line:?}");
        }
    }

    #[test]
    fn json_keeps_the_text_exactly_and_the_time_in_utc() {
        let log = logged(LogFormat::Json, "info", log_hostile_text);
        let entry: serde_json::Value = serde_json::from_str(&log).unwrap();
        assert_eq!(entry["message"], HOSTILE);
        assert_eq!(entry["agent"], HOSTILE);
        assert_eq!(entry["debugged"], format!("{HOSTILE:?}"));
        assert_eq!(entry.get("span"), None);
        assert!(entry["timestamp"].as_str().unwrap().ends_with('Z'), "{entry}");
    }

    #[test]
    fn numbers_stay_numbers_and_lines_carry_the_id_of_their_request() {
        let id = RequestId::next();
        let log = || {
            let _entered = id.enter();
            tracing::info!(count = 3, below = -1, share = 0.5, never = f64::NAN, is = true);
        };
        let entry: serde_json::Value =
            serde_json::from_str(&logged(LogFormat::Json, "info", log)).unwrap();
        for (name, value) in
            [("count", "3"), ("below", "-1"), ("share", "0.5"), ("never", "null"), ("is", "true")]
        {
            assert_eq!(entry[name].to_string(), value, "{entry}");
        }
        assert_eq!(entry["span"], serde_json::json!({ "id": id.as_str(), "name": "request" }));
        let text = logged(LogFormat::Text, "info", log);
        assert!(text.contains(&format!("request{{id={}}}: ", id.as_str())), "{text}");
    }

    #[test]
    fn a_line_for_the_journal_begins_with_its_priority() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let log = || {
                tracing::error!("a");
                tracing::warn!("b");
                tracing::info!("c");
                tracing::debug!("d");
            };
            let log = logged_to(true, format, "debug", log);
            let priorities: Vec<_> = log.lines().map(|line| &line[..3]).collect();
            assert_eq!(priorities, ["<3>", "<4>", "<6>", "<7>"], "{log}");
        }
    }

    #[test]
    fn the_filter_decides_what_is_logged() {
        let log = || {
            tracing::info!("quiet");
            tracing::warn!("loud");
        };
        let written = logged(LogFormat::Text, "warn", log);
        assert!(written.contains("loud") && !written.contains("quiet"), "{written}");
    }
}
