//! Price feeds.

use std::io::Write;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use http::HeaderMap;
use serde_json::{Value, json};

use super::{Answer, serve};

/// A feed at `/v1/items`. Skinport's requires Brotli.
#[derive(Clone)]
pub(crate) struct Feed {
    pub(crate) url: String,
    answer: Arc<Mutex<Answer>>,
}

impl Feed {
    /// CSFloat with these lists; the first can be changed later.
    pub(crate) async fn csfloat(list: Answer, phases: Answer) -> Self {
        let (answer, phases) = (Arc::new(Mutex::new(list)), Arc::new(Mutex::new(phases)));
        let router = Router::new()
            .route("/api/v1/listings/price-list", get(respond).with_state(Arc::clone(&answer)))
            .route("/api/v1/listings/price-list/doppler", get(respond).with_state(phases));
        let url = format!("{}/api/v1/listings/price-list", serve(router).await);
        Self { url, answer }
    }

    /// Skinport with these rows.
    pub(crate) async fn skinport(rows: &[Value]) -> Self {
        Self::answering(Self::brotli(&json!(rows))).await
    }

    pub(crate) async fn answering(answer: Answer) -> Self {
        let answer = Arc::new(Mutex::new(answer));
        let router = Router::new().route("/v1/items", get(respond)).with_state(Arc::clone(&answer));
        let url = format!("{}/v1/items", serve(router).await);
        Self { url, answer }
    }

    pub(crate) fn becomes(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    /// A body compressed with Brotli.
    pub(crate) fn brotli(body: &Value) -> Answer {
        let mut packed = brotli::CompressorWriter::new(Vec::new(), 4096, 4, 20);
        packed.write_all(body.to_string().as_bytes()).unwrap();
        Answer::With(200, "content-encoding", "br", packed.into_inner())
    }
}

async fn respond(State(answer): State<Arc<Mutex<Answer>>>, headers: HeaderMap) -> Response {
    let accepted = headers.get("accept-encoding").map_or("", |value| value.to_str().unwrap());
    let answer = answer.lock().unwrap().clone();
    let needs_brotli = matches!(&answer, Answer::With(_, "content-encoding", "br", _));
    if needs_brotli && !accepted.split(',').any(|one| one.trim() == "br") {
        return Answer::html(406, "Not Acceptable").send().await;
    }
    answer.send().await
}

/// A row in Skinport's format.
pub(crate) fn row(name: &str, version: Option<&str>, min_price: f64) -> Value {
    json!({
        "market_hash_name": name, "version": version, "currency": "USD",
        "suggested_price": min_price, "min_price": min_price, "max_price": null,
        "mean_price": null, "median_price": null, "quantity": 2,
        "created_at": 1_535_988_254, "updated_at": 1_776_600_913
    })
}
