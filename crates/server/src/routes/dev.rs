//! What only `tracera dev` serves.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use tracera_session::Session;

use crate::app::App;
use crate::error::{AppError, AppResult};
use crate::routes::pages::{Page, minute};

struct MailView {
    subject: String,
    to: String,
    when: String,
    link: String,
    code: String,
    text: String,
}

#[derive(Template)]
#[template(path = "mailbox.html")]
struct MailboxPage<'a> {
    page: &'a Page,
    mails: Vec<MailView>,
}

/// `GET /dev/mailbox`: the mails that would have been sent.
pub async fn mailbox(State(app): State<App>, session: Session, headers: HeaderMap) -> AppResult<Response> {
    let mailbox = app.mailbox.as_ref().ok_or_else(AppError::not_found)?;
    let mails = mailbox.messages().into_iter().map(|mail| MailView {
        subject: mail.subject,
        to: mail.to.to_string(),
        when: minute(mail.requested_at),
        link: mail.link,
        code: mail.code,
        text: mail.text,
    });
    let page = Page::new(&app, &session, &headers);
    page.render(StatusCode::OK, &MailboxPage { mails: mails.collect(), page: &page })
}
