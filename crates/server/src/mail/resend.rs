//! Sends mail by Resend's HTTP API.

use std::time::Duration;

use http::{StatusCode, header};
use lettre::message::Mailbox;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;

use super::SetupError;
use super::delivery::{Limits, SendError, within};
use super::message::{AUTOMATIC, Message};
use crate::config::ResendSettings;
use crate::telemetry::trace;
use crate::{error_chain, http_client};

/// Limit on the part of a response that is read.
const MAX_ANSWER_BYTES: usize = 16 * 1024;
/// Maximum length of an error's name.
const MAX_NAME_BYTES: usize = 64;

pub(super) struct ResendTransport {
    client: reqwest::Client,
    url: String,
    api_key: SecretString,
    from: Mailbox,
}

impl ResendTransport {
    pub(super) fn new(settings: &ResendSettings, limits: &Limits) -> Result<Self, SetupError> {
        let client = http_client::builder(limits.step)
            .build()
            .map_err(|error| SetupError::Client(error_chain::of_request(error)))?;
        Ok(Self {
            client,
            url: settings.api_url.endpoint("/emails"),
            api_key: settings.api_key.clone(),
            from: settings.from.clone(),
        })
    }

    /// Returns the service's response to an accepted mail.
    pub(super) async fn send(
        &self,
        message: &Message,
        limits: &Limits,
    ) -> Result<String, SendError> {
        let headers: serde_json::Map<_, _> =
            AUTOMATIC.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        let body = json!({
            "from": self.from.to_string(),
            "to": [message.to.as_str()],
            "subject": message.subject,
            "text": message.text,
            "html": message.html,
            "headers": headers,
        });
        // An idempotency key: a retry of a mail that was accepted after all sends no second one.
        let key = message.id.to_string();
        let answer = within(limits.step, self.post(&body, Some(&key))).await?;
        if answer.status.is_success() { Ok(answer.words()) } else { Err(answer.into()) }
    }

    /// Checks the API key without sending a mail.
    pub(super) async fn check(&self, limits: &Limits) -> Result<(), SendError> {
        // The service checks the key first, then refuses the empty mail.
        let answer = within(limits.step, self.post(&json!({}), None)).await?;
        match answer.status {
            StatusCode::UNPROCESSABLE_ENTITY | StatusCode::BAD_REQUEST => Ok(()),
            status if status.is_success() => Ok(()),
            _ => Err(answer.into()),
        }
    }

    async fn post(
        &self,
        body: &serde_json::Value,
        idempotency_key: Option<&str>,
    ) -> Result<Answer, SendError> {
        let mut request =
            self.client.post(&self.url).bearer_auth(self.api_key.expose_secret()).json(body);
        if let Some(key) = idempotency_key {
            request = request.header("Idempotency-Key", key);
        }
        let failed = |error| SendError::transient(error_chain::of_request(error));
        let mut response = trace::send(request).await.map_err(failed)?;
        let seconds = response.headers().get(header::RETRY_AFTER);
        let seconds = seconds.and_then(|value| value.to_str().ok()?.parse().ok());
        let mut body = Vec::new();
        // The status decides; the body is only for messages.
        while let Ok(Some(chunk)) = response.chunk().await {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_ANSWER_BYTES {
                break;
            }
        }
        Ok(Answer {
            status: response.status(),
            retry_after: seconds.map(Duration::from_secs),
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    }
}

struct Answer {
    status: StatusCode,
    retry_after: Option<Duration>,
    /// The body may contain the address.
    body: String,
}

/// The standard part of an error: a name such as `validation_error`.
#[derive(Deserialize)]
struct Named {
    name: String,
}

impl Answer {
    fn words(&self) -> String {
        format!("{} {}", self.status.as_u16(), self.body.trim())
    }

    fn error_name(&self) -> Option<String> {
        let Named { name } = serde_json::from_str(&self.body).ok()?;
        let plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        (plain && (1..=MAX_NAME_BYTES).contains(&name.len())).then_some(name)
    }
}

impl From<Answer> for SendError {
    fn from(answer: Answer) -> Self {
        let status = answer.status.as_u16();
        let reason = match answer.error_name() {
            Some(name) => format!("the mail service answered {status} ({name})"),
            None => format!("the mail service answered {status}"),
        };
        let may_pass = answer.status.is_server_error()
            || matches!(
                answer.status,
                // A conflict means that the service is still processing an earlier attempt.
                StatusCode::REQUEST_TIMEOUT
                    | StatusCode::CONFLICT
                    | StatusCode::TOO_EARLY
                    | StatusCode::TOO_MANY_REQUESTS
            );
        let words = Some(answer.words());
        Self { reason, words, may_pass, retry_after: answer.retry_after }
    }
}
