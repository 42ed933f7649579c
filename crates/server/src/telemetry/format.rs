//! Formats an event as one line, as JSON or as text.

use std::cell::RefCell;
use std::fmt::{self, Debug, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::request_id::RequestId;
use super::timestamp;

/// The text format. The caller escapes control characters.
pub(super) struct Text;

impl<S, N> FormatEvent<S, N> for Text
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        SystemTime.format_time(&mut writer)?;
        write!(writer, " {:>5} ", event.metadata().level().as_str())?;
        if let Some(id) = RequestId::current() {
            write!(writer, "request{{id={}}}: ", id.as_str())?;
        }
        write!(writer, "{}: ", event.metadata().target())?;
        context.field_format().format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

/// The JSON format. Strings contain no control characters and no line separators: those are
/// escaped.
pub(super) struct Json;

thread_local! {
    /// A buffer for the current line, reused to avoid an allocation per event.
    static LINE: RefCell<String> = const { RefCell::new(String::new()) };
}

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        // An event logged while the fields of another are formatted gets a buffer of its own.
        let mut line = LINE.try_with(RefCell::take).unwrap_or_default();
        line.clear();
        write_json(event, &mut line);
        let written = writer.write_str(&line);
        let _ = LINE.try_with(|kept| kept.replace(line));
        written
    }
}

fn write_json(event: &Event<'_>, line: &mut String) {
    let metadata = event.metadata();
    line.push_str("{\"timestamp\":\"");
    timestamp::push_now(line);
    line.push_str("\",\"level\":\"");
    line.push_str(metadata.level().as_str());
    line.push('"');
    event.record(&mut Members(line));
    line.push_str(",\"target\":\"");
    line.push_str(metadata.target());
    line.push('"');
    if let Some(id) = RequestId::current() {
        line.push_str(",\"span\":{\"id\":\"");
        line.push_str(id.as_str());
        line.push_str("\",\"name\":\"request\"}");
    }
    line.push_str("}\n");
}

/// Writes each field as a further member of a JSON object.
struct Members<'a>(&'a mut String);

impl Members<'_> {
    fn name(&mut self, field: &Field) -> &mut String {
        // Field names are from source code and need no escaping.
        self.0.push_str(",\"");
        self.0.push_str(field.name().strip_prefix("r#").unwrap_or(field.name()));
        self.0.push_str("\":");
        self.0
    }
}

impl Visit for Members<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let line = self.name(field);
        line.push('"');
        // Writing to memory cannot fail.
        let _ = write!(Escaped(line), "{value:?}");
        line.push('"');
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let line = self.name(field);
        line.push('"');
        push_escaped(line, value);
        line.push('"');
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.name(field).push_str(if value { "true" } else { "false" });
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.name(field).push_str(itoa::Buffer::new().format(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.name(field).push_str(itoa::Buffer::new().format(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        let line = self.name(field);
        // JSON has no infinities.
        let _ = if value.is_finite() { write!(line, "{value}") } else { line.write_str("null") };
    }
}

/// Escapes text for a JSON string.
struct Escaped<'a>(&'a mut String);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        push_escaped(self.0, text);
        Ok(())
    }
}

/// Bytes that must be escaped, or that start a multi-byte character.
const SPECIAL: [bool; 256] = {
    let mut special = [false; 256];
    let mut byte = u8::MIN;
    loop {
        special[byte as usize] = !matches!(byte, b' '..0x7f) || matches!(byte, b'"' | b'\\');
        if byte == u8::MAX {
            break special;
        }
        byte += 1;
    }
};

fn push_escaped(line: &mut String, text: &str) {
    let mut rest = text;
    // Special bytes are rare, so a simple byte scan is fast.
    while let Some(at) = rest.bytes().position(|byte| SPECIAL[usize::from(byte)]) {
        let (plain, special) = rest.split_at(at);
        line.push_str(plain);
        let mut characters = special.chars();
        match characters.next() {
            Some('"') => line.push_str("\\\""),
            Some('\\') => line.push_str("\\\\"),
            Some(c) if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                let _ = write!(line, "\\u{:04x}", u32::from(c));
            }
            Some(c) => line.push(c),
            None => {}
        }
        rest = characters.as_str();
    }
    line.push_str(rest);
}
