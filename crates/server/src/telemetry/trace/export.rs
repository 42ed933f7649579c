//! From spans to the collector: batches by OTLP over HTTP, from a thread of their own.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, SpanExporter, WithExportConfig, WithHttpConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use secrecy::ExposeSecret;
use tokio::runtime::Handle;

use super::TRACER;
use crate::config::{Sampling, TraceSettings};
use crate::error_chain;
use crate::http_client::{self, BodyError};

/// How long a batch may take.
const LIMIT: Duration = Duration::from_secs(10);
/// The largest answer of a collector that is read.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Why there are no traces.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The client cannot be made.
    #[error("cannot set up TLS for the collector: {0}")]
    Client(#[source] reqwest::Error),
    /// The settings do not fit together.
    #[error("{0}")]
    Exporter(#[from] ExporterBuildError),
}

/// Spans are being sent to a collector.
#[derive(Debug)]
pub struct Exporting(SdkTracerProvider);

/// Makes spans from here on, and sends them. To be called once, within a runtime.
///
/// # Errors
/// [`InstallError`].
pub fn install(settings: &TraceSettings) -> Result<Exporting, InstallError> {
    let http = http_client::builder(LIMIT).build().map_err(InstallError::Client)?;
    let headers = settings.headers.iter();
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(settings.endpoint.expose())
        .with_headers(
            headers.map(|(name, value)| (name.clone(), value.expose_secret().to_owned())).collect(),
        )
        .with_http_client(Collector {
            http,
            runtime: Handle::current(),
            is_failing: AtomicBool::new(false),
        })
        .build()?;
    let attributes = settings.attributes.iter();
    let resource = Resource::builder()
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(KeyValue::new("service.instance.id", uuid::Uuid::new_v4().to_string()))
        .with_attributes(attributes.map(|(name, value)| KeyValue::new(name.clone(), value.clone())))
        .with_service_name(settings.service.clone())
        .build();
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_sampler(sampler(settings.sampling))
        .with_resource(resource)
        .build();
    TRACER.get_or_init(|| provider.tracer("tracera"));
    Ok(Exporting(provider))
}

fn sampler(sampling: Sampling) -> Sampler {
    match sampling {
        Sampling::All => Sampler::AlwaysOn,
        Sampling::None => Sampler::AlwaysOff,
        Sampling::Share(share) => Sampler::TraceIdRatioBased(share),
        Sampling::ParentOrAll => Sampler::ParentBased(Box::new(Sampler::AlwaysOn)),
        Sampling::ParentOrNone => Sampler::ParentBased(Box::new(Sampler::AlwaysOff)),
        Sampling::ParentOrShare(share) => {
            Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(share)))
        }
    }
}

impl Exporting {
    /// Sends the spans that have ended, within the limit; the rest is lost.
    pub async fn shutdown(self, limit: Duration) {
        let flushed = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(limit));
        // The processor may wait for an attempt under way before it counts the time.
        match tokio::time::timeout(limit, flushed).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::warn!(%error, "the last spans were not sent"),
            Ok(Err(_)) | Err(_) => tracing::warn!("the last spans were not sent in time"),
        }
    }
}

/// Asks the collector with the client that every other request of the server is sent with.
#[derive(Debug)]
struct Collector {
    http: reqwest::Client,
    /// The client needs the runtime, and the thread that sends batches has none.
    runtime: Handle,
    is_failing: AtomicBool,
}

impl HttpClient for Collector {
    fn send_bytes<'s, 'f>(
        &'s self,
        request: http::Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<http::Response<Bytes>, HttpError>> + Send + 'f>>
    where
        's: 'f,
        Self: 'f,
    {
        let sent = self.runtime.spawn(send(self.http.clone(), request));
        Box::pin(async move {
            let answer = sent.await?;
            match &answer {
                Ok(answer) if answer.status().is_success() => self.recovered(),
                Ok(answer) => self.failed(&answer.status().to_string()),
                Err(error) => self.failed(&error.to_string()),
            }
            answer
        })
    }
}

async fn send(
    http: reqwest::Client,
    request: http::Request<Bytes>,
) -> Result<http::Response<Bytes>, HttpError> {
    let answer = http.execute(request.try_into()?).await.map_err(error_chain::of_request)?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    let body = http_client::body(answer, MAX_ANSWER_BYTES).await.map_err(|error| match error {
        BodyError::TooLarge => "the answer is too large".to_owned(),
        BodyError::Broken(error) => error_chain::of_request(error),
    })?;
    let mut response = http::Response::new(body.into());
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
    Ok(response)
}

impl Collector {
    fn failed(&self, reason: &str) {
        if !self.is_failing.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                reason,
                "the collector of traces takes no spans; this is said once, until it does"
            );
        }
    }

    fn recovered(&self) {
        if self.is_failing.swap(false, Ordering::Relaxed) {
            tracing::info!("the collector of traces takes spans again");
        }
    }
}
