//! Handles sign-in forms with an expired CSRF token, often after a sign-in in another tab. They
//! have no effect. The response redirects onwards, or shows the form again with the entered values.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use http::request::Parts;
use http::{StatusCode, header};
use tracera_guard::RefusedForm;
use tracera_session::Session;

use crate::http::App;
use crate::http::context::RequestContext;
use crate::http::csrf::Cause;
use crate::http::error::AppResult;
use crate::http::extract::field;
use crate::pages::error_page;
use crate::pages::kept_form::NotYet;
use crate::pages::page::Page;
use crate::pages::pending_address::PendingAddress;
use crate::pages::return_target::ReturnTarget;
use crate::pages::sign_in::{self, Greeting, code_page, confirm_page, login_page};

const TOO_LATE: &str =
    "This page was open for too long, and nothing has happened yet. Please try once more.";
const NO_COOKIE: &str = "Your browser sent no cookie: it blocks them, or this page was open for \
                         too long. Nothing has happened yet. Allow cookies for this site, then \
                         try once more.";

/// Responds to a form with an expired token by a helpful page.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn help(
    State(app): State<App>,
    session: Session,
    request: Request,
    next: Next,
) -> AppResult<Response> {
    let (parts, body) = request.into_parts();
    let mut response = next.run(Request::from_parts(parts.clone(), body)).await;
    let Some(RefusedForm(form)) = response.extensions_mut().remove() else { return Ok(response) };
    let problem = match response.extensions().get::<Cause>() {
        Some(Cause::NoCookie) => NO_COOKIE,
        _ => TOO_LATE,
    };
    let answer = answer(&app, &session, &parts, &form, problem).await?;
    Ok(answer.unwrap_or_else(|| {
        response.extensions_mut().insert(NotYet::TooLate);
        response
    }))
}

/// The response to an expired form; `None` where a plain refusal is best.
///
/// # Errors
/// 503 when the database does not answer.
async fn answer(
    app: &App,
    session: &Session,
    parts: &Parts,
    form: &[u8],
    problem: &'static str,
) -> AppResult<Option<Response>> {
    let headers = &parts.headers;
    if !error_page::has(headers, header::ACCEPT, "text/html") {
        return Ok(None);
    }
    let context = RequestContext::of(&parts.extensions);
    let pattern = context.and_then(|context| context.endpoint).map(|endpoint| endpoint.pattern);
    let next = field(form, "next").as_deref().and_then(ReturnTarget::parse);
    let next = next.or_else(|| ReturnTarget::remembered(headers, app.is_https()));
    let is_signed_in = session.user().is_ok();
    let on = || Ok(Some(Redirect::to(&next.clone().unwrap_or_default().landing()).into_response()));
    let Ok(binding) = app.csrf.binding(&parts.extensions, headers) else { return Ok(None) };
    let page = &Page::new(&binding);
    let answer = match pattern {
        Some("/login" | "/login/code") if is_signed_in => return on(),
        Some("/login/code") if PendingAddress::from_headers(headers, app.is_https()).is_some() => {
            code_page(app, session, page, headers, StatusCode::FORBIDDEN, (Some(problem), None))
        }
        Some("/login" | "/login/code") => {
            let address = field(form, "email").unwrap_or_default();
            let problem = Some(problem.to_owned());
            let greeting = Greeting { address: &address, next, problem, ..Greeting::default() };
            login_page(app, page, headers, StatusCode::FORBIDDEN, greeting)
        }
        Some("/login/confirm") => {
            let token = field(form, "token").unwrap_or_default().into_owned();
            match sign_in::peek(app, &token, binding.as_bytes(), headers).await? {
                None if is_signed_in => return on(),
                pending => {
                    let link = pending.map(|pending| (token, pending));
                    confirm_page(app, page, link, Some(problem))
                }
            }
        }
        _ => return Ok(None),
    };
    answer.map(Some)
}
