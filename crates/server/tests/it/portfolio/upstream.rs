//! Fakes of external services.

pub(crate) mod feed;
pub(crate) mod images;
pub(crate) mod steam;

use std::io::Write;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Serves a router on a free loopback port while the test's runtime lives; returns its URL.
pub(crate) async fn serve(router: axum::Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

/// The response of a fake.
#[derive(Clone)]
pub(crate) enum Answer {
    /// This status, content type and body.
    Plain(u16, &'static str, Vec<u8>),
    /// As `Plain`, with one more header.
    With(u16, &'static str, &'static str, Vec<u8>),
    /// The inner response, once there is a permit for it.
    Held(Arc<Semaphore>, Box<Answer>),
    /// Headers only, then silence.
    Hang,
    /// Spaces without end.
    Endless,
}

impl Answer {
    pub(crate) fn json(status: u16, body: &serde_json::Value) -> Self {
        Self::Plain(status, "application/json; charset=utf-8", body.to_string().into_bytes())
    }

    pub(crate) fn text(status: u16, body: &str) -> Self {
        Self::Plain(status, "application/json; charset=utf-8", body.into())
    }

    pub(crate) fn html(status: u16, body: &str) -> Self {
        Self::Plain(status, "text/html", body.into())
    }

    /// Megabytes of spaces, compressed into a few kilobytes.
    pub(crate) fn gzip_bomb() -> Self {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&vec![b' '; 24 << 20]).unwrap();
        Self::With(200, "content-encoding", "gzip", gzip.finish().unwrap())
    }

    async fn send(self) -> Response {
        match self {
            Self::Held(gate, answer) => {
                gate.acquire().await.unwrap().forget();
                answer.into_response()
            }
            other => other.into_response(),
        }
    }

    fn into_response(self) -> Response {
        let response = |status, kind: &str| {
            Response::builder()
                .status(StatusCode::from_u16(status).unwrap())
                .header("content-type", kind)
        };
        match self {
            Self::Plain(status, kind, body) => {
                response(status, kind).body(Body::from(body)).unwrap()
            }
            Self::With(status, name, value, body) => response(status, "application/json")
                .header(name, value)
                .body(Body::from(body))
                .unwrap(),
            Self::Held(_, answer) => answer.into_response(),
            Self::Hang => {
                let silence =
                    futures_util::stream::pending::<Result<bytes::Bytes, std::io::Error>>();
                response(200, "application/json").body(Body::from_stream(silence)).unwrap()
            }
            Self::Endless => {
                let piece = bytes::Bytes::from(vec![b' '; 1 << 16]);
                let pieces = futures_util::stream::repeat_with(move || {
                    Ok::<_, std::io::Error>(piece.clone())
                });
                response(200, "application/json").body(Body::from_stream(pieces)).unwrap()
            }
        }
    }
}
