//! Timestamps of log lines: RFC 3339 in UTC, in microseconds.

use std::cell::Cell;
use std::fmt::Write;
use std::time::{Duration, SystemTime};

use time::OffsetDateTime;

/// The length of `2026-11-23T20:04:59`.
const TO_THE_SECOND: usize = 19;

thread_local! {
    /// The text of the last second used: thousands of lines can share one.
    static SECOND: Cell<(u64, [u8; TO_THE_SECOND])> =
        const { Cell::new((u64::MAX, [0; TO_THE_SECOND])) };
}

/// Appends the current time.
#[expect(clippy::disallowed_methods, reason = "the log tells the time, nothing goes by it")]
pub(super) fn push_now(line: &mut String) {
    push(line, SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default());
}

fn push(line: &mut String, since_epoch: Duration) {
    let (second, mut text) = SECOND.get();
    if second != since_epoch.as_secs() {
        text = to_the_second(since_epoch.as_secs());
        SECOND.set((since_epoch.as_secs(), text));
    }
    line.push_str(std::str::from_utf8(&text).expect("digits are UTF-8"));
    line.push('.');
    // Adding a million preserves the leading zeros.
    line.push_str(&itoa::Buffer::new().format(1_000_000 + since_epoch.subsec_micros())[1..]);
    line.push('Z');
}

fn to_the_second(secs: u64) -> [u8; TO_THE_SECOND] {
    let at =
        i64::try_from(secs).ok().and_then(|secs| OffsetDateTime::from_unix_timestamp(secs).ok());
    let at = at.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (date, (hour, minute, second)) = (at.date(), at.to_hms());
    let mut text = String::with_capacity(TO_THE_SECOND);
    let _ = write!(text, "{date}T{hour:02}:{minute:02}:{second:02}");
    text.as_bytes().try_into().expect("a year has four digits in the range of the calendar")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_to_the_microsecond_also_across_seconds() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (1_795_464_299_000_001, "2026-11-23T20:04:59.000001Z"),
            (1_795_464_299_999_999, "2026-11-23T20:04:59.999999Z"),
            (1_795_464_300_000_000, "2026-11-23T20:05:00.000000Z"),
            (1_709_164_800_120_000, "2024-02-29T00:00:00.120000Z"),
        ] {
            let mut line = String::new();
            push(&mut line, Duration::from_micros(micros));
            assert_eq!(line, text);
        }
    }
}
