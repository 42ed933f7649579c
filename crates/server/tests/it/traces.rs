//! Traces: what a collector is sent, and what becomes of the service when it takes nothing.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use reqwest::Method;
use tracera::config::{Config, Mode, TraceSettings};
use tracera::telemetry::trace;

use crate::harness::{SECRET, eventually};
use crate::portfolio::World;
use crate::portfolio::upstream::serve;
use crate::portfolio::upstream::steam::asset;
use crate::process::Running;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";
const PATH: &str = "/api/v1/auth/methods";
/// Where no rate limit counts.
const LIVE: &str = "/healthz";

/// A collector of traces.
struct Collector {
    url: String,
    received: Arc<Received>,
}

#[derive(Default)]
struct Received {
    batches: Mutex<Vec<ExportTraceServiceRequest>>,
    keys: Mutex<Vec<String>>,
    traceparents: Mutex<Vec<String>>,
    requests: AtomicUsize,
    mood: AtomicU8,
}

const TAKES: u8 = 0;
const REFUSES: u8 = 1;
const HANGS: u8 = 2;

impl Collector {
    async fn start() -> Self {
        let received = Arc::<Received>::default();
        let router = Router::new()
            .route("/v1/traces", post(take))
            .route("/asked", get(asked))
            .with_state(Arc::clone(&received));
        Self { url: serve(router).await, received }
    }

    fn settings(&self) -> TraceSettings {
        let vars = [
            ("SESSION_SECRET", SECRET),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &self.url),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=canary%20key"),
            ("OTEL_SERVICE_NAME", "skins"),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test"),
        ];
        let vars: BTreeMap<_, _> =
            vars.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Config::from_vars(&vars, Mode::Serve).unwrap().traces.unwrap()
    }

    fn becomes(&self, mood: u8) {
        self.received.mood.store(mood, Ordering::SeqCst);
    }

    fn requests(&self) -> usize {
        self.received.requests.load(Ordering::SeqCst)
    }

    fn spans(&self) -> Vec<Span> {
        let batches = self.received.batches.lock().unwrap();
        let resources = batches.iter().flat_map(|batch| &batch.resource_spans);
        resources.flat_map(|spans| &spans.scope_spans).flat_map(|it| it.spans.clone()).collect()
    }
}

async fn take(
    State(received): State<Arc<Received>>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    received.requests.fetch_add(1, Ordering::SeqCst);
    match received.mood.load(Ordering::SeqCst) {
        REFUSES => return StatusCode::FORBIDDEN,
        HANGS => std::future::pending().await,
        _ => {}
    }
    assert_eq!(headers["content-type"], "application/x-protobuf");
    assert!(headers["user-agent"].to_str().unwrap().starts_with("OTel-OTLP-Exporter-Rust/"));
    if let Some(key) = headers.get("x-key") {
        received.keys.lock().unwrap().push(key.to_str().unwrap().to_owned());
    }
    received.batches.lock().unwrap().push(ExportTraceServiceRequest::decode(body).unwrap());
    StatusCode::OK
}

/// Another service that is asked.
async fn asked(State(received): State<Arc<Received>>, headers: HeaderMap) {
    let traceparent = headers["traceparent"].to_str().unwrap().to_owned();
    received.traceparents.lock().unwrap().push(traceparent);
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn text(attributes: &[KeyValue], name: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == name)?;
    match found.value.clone()? {
        AnyValue { value: Some(Value::StringValue(text)) } => Some(text),
        AnyValue { value: Some(Value::IntValue(number)) } => Some(number.to_string()),
        other => panic!("{name}: {other:?}"),
    }
}

fn named<'s>(spans: &'s [Span], name: &str) -> Vec<&'s Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

/// The names of the spans directly under it.
fn under<'s>(spans: &'s [Span], parent: &Span) -> Vec<&'s str> {
    let children = spans.iter().filter(|span| span.parent_span_id == parent.span_id);
    children.map(|span| &*span.name).collect()
}

#[tokio::test]
async fn what_a_request_waits_for_is_a_span_under_it_and_holds_nothing_of_the_person() {
    let collector = Collector::start().await;
    let exporting = trace::install(&collector.settings()).unwrap();
    let world = World::build(vec![asset(1, "A")], &[("TRUSTED_PROXIES", "127.0.0.2")]).await;
    world.import().await.expect(200);
    let traced = || {
        [
            ("traceparent", format!("00-{TRACE}-{PARENT}-01")),
            ("x-request-id", "edge:42".to_owned()),
            ("x-forwarded-for", "203.0.113.7".to_owned()),
        ]
    };
    let url = format!("http://{}{PATH}", world.app.instances[0].addr);
    let ask = async |address: [u8; 4], id: &str| {
        let client = reqwest::Client::builder().local_address(IpAddr::from(address)).build();
        let mut request = client.unwrap().get(&url);
        for (name, value) in traced() {
            request = request.header(name, if name == "x-request-id" { id.into() } else { value });
        }
        let answer = request.send().await.unwrap();
        answer.headers()["x-request-id"].to_str().unwrap().to_owned()
    };
    assert_eq!(ask([127, 0, 0, 2], "edge:42").await, "edge:42");
    // Neither what does not fit, nor what a stranger says.
    assert_eq!(ask([127, 0, 0, 2], &"x".repeat(65)).await.len(), 16);
    assert_eq!(ask([127, 0, 0, 1], "edge:43").await.len(), 16);
    let client = reqwest::Client::new();
    trace::send(client.get(format!("{}/asked", collector.url))).await.unwrap();
    exporting.shutdown(Duration::from_secs(10)).await;

    assert!(collector.received.keys.lock().unwrap().iter().all(|key| key == "canary key"));
    let batches = collector.received.batches.lock().unwrap().clone();
    let resource = batches[0].resource_spans[0].resource.clone().unwrap().attributes;
    assert_eq!(text(&resource, "service.name").as_deref(), Some("skins"));
    assert_eq!(text(&resource, "deployment.environment.name").as_deref(), Some("test"));

    let spans = collector.spans();
    let of_proxy: Vec<_> =
        spans.iter().filter(|span| hex(&span.trace_id) == TRACE && span.kind == 2).collect();
    assert_eq!(of_proxy.len(), 2, "{of_proxy:?}");
    assert!(of_proxy.iter().all(|span| hex(&span.parent_span_id) == PARENT));
    let first = of_proxy[0];
    assert_eq!(first.name, format!("GET {PATH}"));
    for (name, value) in [
        ("http.request.method", "GET"),
        ("http.route", PATH),
        ("http.response.status_code", "200"),
        ("tracera.request_id", "edge:42"),
    ] {
        assert_eq!(text(&first.attributes, name).as_deref(), Some(value));
    }
    assert!(under(&spans, first).contains(&"rate limit"), "{:?}", under(&spans, first));
    assert_eq!(named(&spans, &first.name).len(), 3);

    let verified = named(&spans, "POST /api/v1/auth/magic/verify")[0];
    let parts = under(&spans, verified);
    for part in ["session create", "magic_links", "users"] {
        assert!(parts.contains(&part), "{part}: {parts:?}");
    }
    let created = named(&spans, "session create")[0];
    assert_eq!(text(&created.attributes, "db.system.name").as_deref(), Some("redis"));
    assert!(!named(&spans, "mail").is_empty());
    let import = named(&spans, "import")[0];
    let requested = named(&spans, "POST /api/v1/portfolio/import")[0];
    assert_eq!(import.trace_id, requested.trace_id);
    assert!(under(&spans, import).contains(&"GET"), "{:?}", under(&spans, import));

    let traceparent = collector.received.traceparents.lock().unwrap()[0].clone();
    let asked = spans.iter().find(|span| {
        traceparent == format!("00-{}-{}-01", hex(&span.trace_id), hex(&span.span_id))
    });
    assert_eq!(asked.unwrap().name, "GET");

    let all = format!("{spans:?}");
    for private in ["alice", "@example.com", "76561198000000001", "203.0.113.7", SECRET] {
        assert!(!all.contains(private), "{private}: {all}");
    }
}

#[tokio::test]
async fn a_collector_that_takes_nothing_is_told_of_once_and_keeps_nobody_waiting() {
    let collector = Collector::start().await;
    collector.becomes(REFUSES);
    let directory = tempfile::tempdir().unwrap();
    let vars = [
        ("SESSION_SECRET", SECRET),
        ("PRICE_FEED_URL", "file:///nothing"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*collector.url),
        ("OTEL_BSP_SCHEDULE_DELAY", "20"),
    ];
    let served = Running::start("serve", directory.path(), &vars).await;
    let browser = served.browser();
    let requests_reach = async |count: usize| {
        eventually(|| async {
            browser.get(LIVE).await.expect(200);
            (collector.requests() >= count).then_some(())
        })
        .await;
    };
    requests_reach(3).await;
    let complaints = || served.log().matches("takes no spans").count();
    eventually(|| async { (complaints() == 1).then_some(()) }).await;
    collector.becomes(TAKES);
    eventually(|| async {
        browser.get(LIVE).await.expect(200);
        served.log().contains("takes spans again").then_some(())
    })
    .await;
    assert_eq!(complaints(), 1);
    collector.becomes(HANGS);
    requests_reach(collector.requests() + 1).await;
    for _ in 0..20 {
        browser.get(LIVE).await.expect(200);
    }
    assert_eq!(served.stop().await, Some(0));
}

#[tokio::test]
async fn the_last_spans_are_sent_when_the_service_stops() {
    let collector = Collector::start().await;
    let directory = tempfile::tempdir().unwrap();
    let vars = [
        ("SESSION_SECRET", SECRET),
        ("PRICE_FEED_URL", "file:///nothing"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &*format!("{}/v1/traces", collector.url)),
        ("OTEL_TRACES_SAMPLER", "always_on"),
        ("OTEL_BSP_SCHEDULE_DELAY", "600000"),
    ];
    let served = Running::start("serve", directory.path(), &vars).await;
    served.browser().send(Method::GET, PATH, &[], None).await.expect(200);
    assert_eq!(collector.requests(), 0);
    assert_eq!(served.stop().await, Some(0));
    assert_eq!(named(&collector.spans(), &format!("GET {PATH}")).len(), 1);
}
