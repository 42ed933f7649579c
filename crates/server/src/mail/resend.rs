//! By Resend's HTTP API.

use std::time::Duration;

use http::{StatusCode, header};
use lettre::message::Mailbox;
use reqwest::redirect::Policy;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::SetupError;
use super::delivery::SendError;
use super::message::{AUTOMATIC, Message};
use crate::config::ResendSettings;
use crate::{error_chain, tls};

const CONNECT_LIMIT: Duration = Duration::from_secs(5);

pub(super) struct ResendTransport {
    client: reqwest::Client,
    url: String,
    api_key: SecretString,
    from: Mailbox,
}

impl ResendTransport {
    pub(super) fn new(settings: &ResendSettings) -> Result<Self, SetupError> {
        tls::install_provider();
        let client = reqwest::Client::builder()
            // The key is for the configured host alone.
            .redirect(Policy::none())
            .connect_timeout(CONNECT_LIMIT)
            .build()
            .map_err(|error| SetupError::Client(error_chain::of_request(error)))?;
        Ok(Self {
            client,
            url: settings.api_url.endpoint("/emails"),
            api_key: settings.api_key.clone(),
            from: settings.from.clone(),
        })
    }

    pub(super) async fn send(&self, letter: &Message) -> Result<(), SendError> {
        let headers: serde_json::Map<_, _> =
            AUTOMATIC.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        let body = json!({
            "from": self.from.to_string(),
            "to": [letter.to.as_str()],
            "subject": letter.subject,
            "text": letter.text,
            "html": letter.html,
            "headers": headers,
        });
        let response = self
            .client
            .post(&self.url)
            .bearer_auth(self.api_key.expose_secret())
            // A retry of a mail that was accepted after all is not a second mail.
            .header("Idempotency-Key", letter.id.to_string())
            .json(&body)
            .send()
            .await
            .map_err(|error| SendError::transient(error_chain::of_request(error)))?;
        verdict(&response)
    }
}

fn verdict(response: &reqwest::Response) -> Result<(), SendError> {
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    // The body is left unread: it may repeat the address.
    let reason = format!("the mail service answered {}", status.as_u16());
    let may_pass = status.is_server_error()
        || matches!(
            status,
            // A conflict is an earlier attempt that the service is still working on.
            StatusCode::REQUEST_TIMEOUT
                | StatusCode::CONFLICT
                | StatusCode::TOO_EARLY
                | StatusCode::TOO_MANY_REQUESTS
        );
    if !may_pass {
        return Err(SendError::Permanent(reason));
    }
    let retry_after = response.headers().get(header::RETRY_AFTER);
    let seconds = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
    Err(SendError::Transient { reason, retry_after: seconds.map(Duration::from_secs) })
}
