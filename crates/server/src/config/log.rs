//! Log settings.

use tracing_subscriber::EnvFilter;

use super::Mode;
use super::problem::{Wrong, quoted};
use super::reader::{Read, Reader};

/// Log settings.
#[derive(Debug)]
pub struct LogSettings {
    /// The format. Default: text on a terminal, else JSON.
    pub format: Option<LogFormat>,
    /// The filter. Default `info`.
    pub filter: LogFilter,
    /// Whether every request is logged, rather than only failed and slow ones. Default true; false
    /// in dev mode.
    pub all_requests: bool,
}

/// The format of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Validated filter directives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter(String);

impl LogFilter {
    /// Creates the filter.
    pub fn to_env_filter(&self) -> EnvFilter {
        EnvFilter::builder()
            .parse(&self.0)
            .expect("the directives were parsed when the configuration was read")
    }

    fn parse(value: &str) -> Result<Self, Wrong> {
        match EnvFilter::builder().parse(value) {
            Ok(_) => Ok(Self(value.to_owned())),
            Err(_) => Err(Wrong::new(
                format!("is {}", quoted(value)),
                "write directives such as info or info,tracera=debug",
            )),
        }
    }
}

pub(super) fn read(reader: &mut Reader<'_>) -> Read<LogSettings> {
    let format = reader.optional("LOG_FORMAT", |value| match value.to_ascii_lowercase().as_str() {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(Wrong::new(format!("is {}", quoted(value)), "write text or json")),
    });
    let filter = reader.read("RUST_LOG", LogFilter::parse);
    if reader.is_set("LOG_LEVEL") && reader.given("RUST_LOG").is_none() {
        reader.warn("RUST_LOG", "is not set, and LOG_LEVEL has no effect on this server");
    }
    let all_requests = reader.mode != Mode::Dev;
    Ok(LogSettings { format: format?, filter: filter?, all_requests })
}
