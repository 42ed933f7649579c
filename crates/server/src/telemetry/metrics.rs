//! Prometheus metrics at `/metrics`, on a separate socket that must not be public.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracera_guard::SecurityHeaders;
use tracera_session::Sessions;

use crate::domain::provider::Provider;

/// Upper bounds of the request time histogram, in seconds.
const SECONDS: [f64; 9] = [0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];

/// Starts collecting the process's metrics.
///
/// # Errors
/// When metrics are already being collected.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let collected = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .install_recorder()?;
    COLLECTING.store(true, Ordering::Relaxed);
    describe();
    Ok(collected)
}

/// Sets help texts and units. Counters with known labels start at zero, because one that first
/// appears as 1 shows no increase.
fn describe() {
    metrics::gauge!("tracera_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    for outcome in ["ok", "failed"] {
        metrics::counter!("tracera_price_refreshes_total", "outcome" => outcome).increment(0);
    }
    for outcome in ["done", "failed"] {
        metrics::counter!("tracera_imports_total", "outcome" => outcome).increment(0);
    }
    metrics::counter!("tracera_steam_refusals_total").increment(0);
    metrics::counter!("tracera_wrong_codes_total").increment(0);
    for scope in CodeScope::ALL {
        count_withheld_codes(scope, 0);
    }
    for method in Provider::ALL.map(Provider::as_str).into_iter().chain(["email"]) {
        for outcome in ["done", "failed"] {
            count_sign_ins(method, outcome, 0);
        }
    }
    for (name, help) in GAUGES {
        metrics::describe_gauge!(*name, *help);
    }
    for (name, help) in COUNTERS {
        metrics::describe_counter!(*name, *help);
    }
    for (name, help) in HISTOGRAMS {
        metrics::describe_histogram!(*name, metrics::Unit::Seconds, *help);
    }
    metrics_process::Collector::default().describe();
}

const GAUGES: &[(&str, &str)] = &[
    ("tracera_build_info", "Which version runs; always 1."),
    ("tracera_database_connections", "Connections to the database, by state."),
    ("tracera_mails_waiting", "Mails neither sent nor given up."),
    ("tracera_prices", "Prices in force."),
    ("tracera_prices_read_timestamp_seconds", "When the prices in force were read."),
    ("tracera_session_cache_entries", "Sessions in memory."),
    (
        "tracera_session_cache_staleness_seconds",
        "How long ago the session store last proved that every change was told.",
    ),
];

const COUNTERS: &[(&str, &str)] = &[
    ("tracera_codes_withheld_total", "Codes not sent or not tried, since too many were wrong."),
    ("tracera_http_requests_total", "Answers by route and status."),
    ("tracera_imports_total", "Imports that ended, by outcome."),
    ("tracera_mails_total", "Mails by what became of them."),
    ("tracera_price_refreshes_total", "Attempts to read a price feed, by outcome."),
    ("tracera_session_cache_total", "What the cache of sessions did."),
    ("tracera_sign_ins_total", "Sign-ins that were tried, by method and outcome."),
    ("tracera_steam_refusals_total", "Answers of Steam that asked for fewer requests."),
    ("tracera_wrong_codes_total", "Wrong sign-in codes that were typed."),
];

const HISTOGRAMS: &[(&str, &str)] = &[
    ("tracera_database_seconds", "How long operations on the database took."),
    ("tracera_http_request_seconds", "How long answers took, by route."),
    ("tracera_redis_limit_seconds", "How long Redis took to count requests for a rate limit."),
];

/// Records the duration of a database operation.
pub fn asked_database(elapsed: Duration) {
    if COLLECTING.load(Ordering::Relaxed) {
        metrics::histogram!("tracera_database_seconds").record(elapsed);
    }
}

/// Records how long Redis took to count a request.
pub fn asked_limit(elapsed: Duration) {
    if COLLECTING.load(Ordering::Relaxed) {
        metrics::histogram!("tracera_redis_limit_seconds").record(elapsed);
    }
}

/// Whether metrics are collected. If not, building names and labels is skipped.
static COLLECTING: AtomicBool = AtomicBool::new(false);

/// Counts a response.
pub fn answered(route: &str, status: u16, elapsed: Duration) {
    if COLLECTING.load(Ordering::Relaxed) {
        let labels = [("route", route.to_owned()), ("status", status.to_string())];
        metrics::counter!("tracera_http_requests_total", &labels).increment(1);
        metrics::histogram!("tracera_http_request_seconds", "route" => route.to_owned())
            .record(elapsed);
    }
}

/// The outcome of a mail, or of an attempt to send it.
#[derive(Clone, Copy, Debug)]
pub enum MailOutcome {
    /// The mail server or service accepted the mail.
    Sent,
    /// An attempt failed and will be retried.
    Retried,
    /// The mail was given up.
    GivenUp,
    /// The mail was not accepted, because too many were waiting.
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

/// Counts a device registration (`register`) or proof (`refresh`), by outcome.
pub fn proved_device(step: &'static str, outcome: &'static str) {
    let labels = [("step", step), ("outcome", outcome)];
    metrics::counter!("tracera_device_proofs_total", &labels).increment(1);
}

/// Counts the outcome of a mail.
pub fn mailed(outcome: MailOutcome) {
    count_mails(outcome, 1);
}

fn count_mails(outcome: MailOutcome, mails: u64) {
    metrics::counter!("tracera_mails_total", "outcome" => outcome.name()).increment(mails);
}

/// The scope of a used-up budget of wrong codes.
#[derive(Clone, Copy, Debug)]
pub enum CodeScope {
    /// The budget of one network.
    Network,
    /// The budget of all networks together.
    All,
}

impl CodeScope {
    const ALL: [Self; 2] = [Self::Network, Self::All];

    fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::All => "all",
        }
    }
}

/// Counts a wrong code.
pub fn wrong_code() {
    metrics::counter!("tracera_wrong_codes_total").increment(1);
}

/// Counts a code that was not sent or not accepted, because a budget of wrong codes was used up.
pub fn withheld_code(scope: CodeScope) {
    count_withheld_codes(scope, 1);
}

fn count_withheld_codes(scope: CodeScope, codes: u64) {
    metrics::counter!("tracera_codes_withheld_total", "scope" => scope.name()).increment(codes);
}

/// Counts a sign-in attempt.
pub fn tried_to_sign_in(method: &'static str, outcome: &'static str) {
    count_sign_ins(method, outcome, 1);
}

fn count_sign_ins(method: &'static str, outcome: &'static str, sign_ins: u64) {
    metrics::counter!("tracera_sign_ins_total", "method" => method, "outcome" => outcome)
        .increment(sign_ins);
}

/// The route that exports the metrics.
pub fn routes(
    collected: PrometheusHandle,
    sessions: Sessions,
    connections: impl Fn() -> (u32, usize) + Clone + Send + Sync + 'static,
    mails_waiting: Option<impl Fn() -> usize + Clone + Send + Sync + 'static>,
) -> Router {
    if mails_waiting.is_some() {
        for outcome in MailOutcome::ALL {
            count_mails(outcome, 0);
        }
    }
    let show = async move || {
        if let Some(waiting) = &mails_waiting {
            #[expect(clippy::cast_precision_loss, reason = "a few hundred at most")]
            let waiting = waiting() as f64;
            metrics::gauge!("tracera_mails_waiting").set(waiting);
        }
        let (open, idle) = connections();
        let used = f64::from(open) - f64::from(u32::try_from(idle).unwrap_or(u32::MAX));
        metrics::gauge!("tracera_database_connections", "state" => "used").set(used.max(0.0));
        metrics::gauge!("tracera_database_connections", "state" => "idle")
            .set(f64::from(u32::try_from(idle).unwrap_or(u32::MAX)));
        metrics_process::Collector::default().collect();
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
