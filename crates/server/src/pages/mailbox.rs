//! The mails of `tracera dev`, which never leave the machine.
//!
//! The page opens with the key that the terminal shows. A cookie then stores the key. So links to
//! the page, which everybody can see, do not contain it.

use std::net::IpAddr;
use std::time::Duration;

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{Html, IntoResponse, Response};
use http::uri::Authority;
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use tracera_guard::HostCookie;

use crate::clock::utc;
use crate::http::App;
use crate::http::error::{AppError, AppResult};
use crate::pages::page::{Moment, ago};

/// A day. The key changes when the process restarts.
const COOKIE: HostCookie = HostCookie::new("mailbox", Duration::from_hours(24));

/// The query of the mailbox.
#[derive(Deserialize, Default)]
pub struct MailboxQuery {
    key: Option<String>,
}

struct MailView {
    subject: String,
    to: String,
    when: Moment,
    when_ago: String,
    link: String,
    code: String,
    text: String,
}

#[derive(Template)]
#[template(path = "mailbox.html")]
struct MailboxPage {
    mails: Vec<MailView>,
}

/// `GET /dev/mailbox?key=…`: newest first.
pub async fn mailbox(
    State(app): State<App>,
    headers: HeaderMap,
    query: Result<Query<MailboxQuery>, QueryRejection>,
) -> AppResult<Response> {
    let mailbox = app.mailbox.as_ref().ok_or_else(AppError::not_found)?;
    if !is_this_machine(&headers) || is_forwarded(&headers) {
        return Err(AppError::new(
            StatusCode::MISDIRECTED_REQUEST,
            "wrong_host",
            "the mailbox opens only under localhost or a loopback address, and not through a proxy",
        ));
    }
    let https = app.is_https();
    let given = query.unwrap_or_default().0.key;
    let cookie = COOKIE.secure(https);
    let opens = |key| mailbox.opens(key).then_some(());
    if given.as_deref().map_or_else(|| cookie.read_as(&headers, opens), opens).is_none() {
        return Err(AppError::new(
            StatusCode::FORBIDDEN,
            "mailbox_key_required",
            "the mailbox opens at the address that the terminal shows, which has its key",
        ));
    }
    let now = utc(app.clock.now());
    let mails = mailbox.messages().into_iter().map(|mail| MailView {
        subject: mail.subject,
        to: mail.to.to_string(),
        when: Moment(mail.requested_at),
        when_ago: ago(mail.requested_at, now),
        link: mail.link,
        code: mail.code,
        text: mail.text,
    });
    let html = MailboxPage { mails: mails.collect() }.render().map_err(AppError::internal)?;
    let kept = given.map(|key| [(header::SET_COOKIE, cookie.set(&key))]);
    Ok((kept, Html(html)).into_response())
}

/// A proxy or tunnel may send a local host name and still serve the internet.
fn is_forwarded(headers: &HeaderMap) -> bool {
    ["forwarded", "via", "x-forwarded-for", "x-forwarded-host"]
        .iter()
        .any(|name| headers.contains_key(*name))
}

/// Other names are refused: a name that resolves elsewhere now could resolve to this machine later
/// (DNS rebinding).
fn is_this_machine(headers: &HeaderMap) -> bool {
    let authority =
        headers.get(header::HOST).and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
    authority.is_some_and(|authority| {
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn the_mailbox_opens_on_this_machine_only() {
        let headers = |pairs: &[(&'static str, &'static str)]| -> HeaderMap {
            let pair =
                |(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
            pairs.iter().copied().map(pair).collect()
        };
        for host in ["localhost", "localhost:8080", "127.0.0.1:8080", "[::1]:8080"] {
            let local = headers(&[("host", host)]);
            assert!(is_this_machine(&local) && !is_forwarded(&local), "{host}");
            for (name, value) in [
                ("x-forwarded-for", "192.0.2.1"),
                ("x-forwarded-host", "tracera.example"),
                ("forwarded", "for=192.0.2.1"),
                ("via", "1.1 tunnel"),
            ] {
                assert!(is_forwarded(&headers(&[("host", host), (name, value)])), "{name}");
            }
        }
        for host in
            ["tracera.example", "localhost.example.com", "192.0.2.1:8080", "127.0.0.1.example", ""]
        {
            assert!(!is_this_machine(&headers(&[("host", host)])), "{host}");
        }
        assert!(!is_this_machine(&HeaderMap::new()));
    }
}
