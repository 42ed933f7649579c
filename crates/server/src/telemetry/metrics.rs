//! `/metrics` for Prometheus, on a socket of its own that is not for the public.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracera_guard::SecurityHeaders;
use tracera_session::Sessions;

use crate::mail::Mailer;

/// Upper bounds of the request time histogram, in seconds.
const SECONDS: [f64; 9] = [0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];

/// Collects from here on what the process counts.
///
/// # Errors
/// When something collects already.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let collected = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .install_recorder()?;
    COLLECTING.store(true, Ordering::Relaxed);
    Ok(collected)
}

/// Whether somebody collects; names and labels are not worth making up for nobody.
static COLLECTING: AtomicBool = AtomicBool::new(false);

/// Counts a request that was answered.
pub fn answered(route: &str, status: u16, elapsed: Duration) {
    if COLLECTING.load(Ordering::Relaxed) {
        let labels = [("route", route.to_owned()), ("status", status.to_string())];
        metrics::counter!("tracera_http_requests_total", &labels).increment(1);
        metrics::histogram!("tracera_http_request_seconds", "route" => route.to_owned())
            .record(elapsed);
    }
}

/// What may become of a mail, or of an attempt to send it.
#[derive(Clone, Copy, Debug)]
pub enum MailOutcome {
    /// The mail server or service has it.
    Sent,
    /// An attempt failed, and another will follow.
    Retried,
    /// No further attempt is made.
    GivenUp,
    /// Not taken in, since too many wait already.
    Refused,
}

impl MailOutcome {
    const ALL: [Self; 4] = [Self::Sent, Self::Retried, Self::GivenUp, Self::Refused];

    fn name(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Retried => "retried",
            Self::GivenUp => "given_up",
            Self::Refused => "refused",
        }
    }
}

/// Counts a device that registered (`register`) or proved itself (`refresh`), by its outcome.
pub fn proved_device(step: &'static str, outcome: &'static str) {
    let labels = [("step", step), ("outcome", outcome)];
    metrics::counter!("tracera_device_proofs_total", &labels).increment(1);
}

/// Counts what became of a mail.
pub fn mailed(outcome: MailOutcome) {
    count_mails(outcome, 1);
}

fn count_mails(outcome: MailOutcome, mails: u64) {
    metrics::counter!("tracera_mails_total", "outcome" => outcome.name()).increment(mails);
}

/// Counts a sign-in that was tried.
pub fn tried_to_sign_in(method: &'static str, outcome: &'static str) {
    metrics::counter!("tracera_sign_ins_total", "method" => method, "outcome" => outcome)
        .increment(1);
}

/// The route that shows what was collected.
pub fn routes(collected: PrometheusHandle, sessions: Sessions, mailer: Option<Mailer>) -> Router {
    if mailer.is_some() {
        // What appears only with its first event would be 1 from nothing, which is no increase.
        for outcome in MailOutcome::ALL {
            count_mails(outcome, 0);
        }
    }
    let show = async move || {
        if let Some(mailer) = &mailer {
            #[expect(clippy::cast_precision_loss, reason = "a few hundred at most")]
            let waiting = mailer.waiting() as f64;
            metrics::gauge!("tracera_mails_waiting").set(waiting);
        }
        let cache = sessions.cache_stats();
        for (what, count) in [
            ("hit", cache.hits),
            ("miss", cache.misses),
            ("invalidation", cache.invalidations),
            ("flush", cache.flushes),
            ("discarded_fill", cache.discarded_fills),
        ] {
            metrics::counter!("tracera_session_cache_total", "what" => what).absolute(count);
        }
        if let Some(staleness) = sessions.cache_staleness() {
            metrics::gauge!("tracera_session_cache_staleness_seconds").set(staleness);
            #[expect(clippy::cast_precision_loss, reason = "far below 2^52 entries")]
            let entries = cache.entries as f64;
            metrics::gauge!("tracera_session_cache_entries").set(entries);
        }
        collected.run_upkeep();
        collected.render()
    };
    Router::new().route("/metrics", get(show)).layer(SecurityHeaders::new())
}
