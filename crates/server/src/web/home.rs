//! The first page of somebody who is signed in.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode, header};
use tracera_session::Session;

use crate::app::App;
use crate::error::AppResult;
use crate::web::page::{Page, Person};
use crate::web::sign_in::remember_method;

#[derive(Template)]
#[template(path = "home.html")]
struct HomePage<'a> {
    page: &'a Page,
    name: String,
}

/// `GET /`
pub async fn home(
    State(app): State<App>,
    session: Session,
    person: Person,
    headers: HeaderMap,
) -> AppResult<Response> {
    let page = Page::new(&app, &session, &headers);
    let home = HomePage { name: person.label(), page: &page };
    let mut response = page.render(StatusCode::OK, &home)?;
    if let Some(cookie) = remember_method(&session, &headers) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}
