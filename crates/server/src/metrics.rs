//! `/metrics` for Prometheus, on a socket of its own that is not for the public.

use axum::Router;
use axum::routing::get;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracera_session::Sessions;

/// Upper bounds of the request time histogram, in seconds.
const SECONDS: [f64; 9] = [0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];

/// Collects from here on what the process counts.
///
/// # Errors
/// When something collects already.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .install_recorder()
}

/// The route that shows what was collected.
pub fn routes(collected: PrometheusHandle, sessions: Sessions) -> Router {
    let show = async move || {
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
        collected.run_upkeep();
        collected.render()
    };
    Router::new().route("/metrics", get(show))
}
