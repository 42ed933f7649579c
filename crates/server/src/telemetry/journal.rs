//! Log priorities for systemd's journal, which reads them at the start of a line (sd-daemon(3)).

use std::fmt;
use std::os::unix::fs::MetadataExt;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Whether stderr is the stream that systemd connected to the journal, given as `device:inode`.
pub(super) fn is_stderr(stream: Option<&str>) -> bool {
    let Some((device, inode)) = stream.and_then(|stream| stream.split_once(':')) else {
        return false;
    };
    let stderr = std::fs::metadata("/proc/self/fd/2").ok();
    stderr.is_some_and(|file| device.parse() == Ok(file.dev()) && inode.parse() == Ok(file.ino()))
}

/// A format with a priority prefix, if the flag is set.
pub(super) struct Prioritized<F>(pub(super) F, pub(super) bool);

impl<F, S, N> FormatEvent<S, N> for Prioritized<F>
where
    F: FormatEvent<S, N>,
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if self.1 {
            writer.write_str(match *event.metadata().level() {
                Level::ERROR => "<3>",
                Level::WARN => "<4>",
                Level::INFO => "<6>",
                Level::DEBUG | Level::TRACE => "<7>",
            })?;
        }
        self.0.format_event(context, writer, event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_stream_that_is_named_is_the_journal() {
        let stderr = std::fs::metadata("/proc/self/fd/2").unwrap();
        let (device, inode) = (stderr.dev(), stderr.ino());
        assert!(is_stderr(Some(&format!("{device}:{inode}"))));
        for other in
            [None, Some(""), Some("8"), Some("x:y"), Some(&*format!("{device}:{}", inode + 1))]
        {
            assert!(!is_stderr(other), "{other:?}");
        }
    }
}
