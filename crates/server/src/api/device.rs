//! The endpoints for device proofs: responses from the session crate, and a notice to the owner.

use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use tracera_session::{DeviceEvent, DeviceEventKind};

use crate::actions::sessions;
use crate::auth::client::ClientInfo;
use crate::http::App;
use crate::telemetry::metrics;

/// `POST /device/register`
pub async fn register(State(app): State<App>, headers: HeaderMap) -> Response {
    let response = app.sessions.register_device(&headers).await;
    count("register", &response);
    response
}

/// `POST /device/refresh`
pub async fn refresh(State(app): State<App>, client: ClientInfo, headers: HeaderMap) -> Response {
    let response = app.sessions.refresh_device(&headers).await;
    count("refresh", &response);
    let event = response.extensions().get::<DeviceEvent>();
    if let Some(DeviceEvent { user, kind: DeviceEventKind::OtherDevice, .. }) = event {
        sessions::tried_on_another_device(app.accounts(), user.clone(), client).await;
    }
    response
}

fn count(step: &'static str, response: &Response) {
    let outcome = match response.status().as_u16() {
        200 => "done",
        403 => "challenged",
        401 => "ended",
        500.. => "unavailable",
        _ => "refused",
    };
    metrics::proved_device(step, outcome);
}
