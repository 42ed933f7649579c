//! Floor A: an axum handler with a constant response.

use axum::Router;
use axum::http::header;
use axum::routing::get;

fn main() -> anyhow::Result<()> {
    contender::serve(async |_| {
        let constant =
            async || ([(header::CONTENT_TYPE, "application/json")], r#"{"user":"user-0000000"}"#);
        Ok(Router::new().route("/me", get(constant)))
    })
}
