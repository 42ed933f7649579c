//! Renders errors as pages, for browsers. Programs get JSON.

use std::borrow::Cow;

use askama::Template;
use axum::extract::Request;
use axum::response::{Html, IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tracera_session::Session;

use crate::http::App;
use crate::http::context::RequestContext;
use crate::http::csrf::Cause;
use crate::pages::kept_form::OfferedOn;
use crate::pages::resubmit::{Resubmit, may_pass};
use crate::pages::return_target::ReturnTarget;

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    status: u16,
    title: &'static str,
    text: Cow<'static, str>,
    /// Whether reloading the same URL can help.
    may_pass: bool,
    /// The form that can be sent again.
    again: Option<Resubmit>,
    /// The URL to start again from.
    start: &'a str,
    is_signed_in: bool,
    /// The page where the requested thing is available.
    on: Option<(&'static str, String)>,
}

/// The kind of page that the browser requested, if any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// None: the client is a program.
    Data,
    /// A page whose URL can be opened again.
    Page,
    /// The response to a form.
    AnswerToForm,
}

/// Browsers accept HTML only when they navigate.
fn wanted(request: &Request) -> Wanted {
    if !is_for_browsers(request) || !has(request.headers(), header::ACCEPT, "text/html") {
        return Wanted::Data;
    }
    if request.method() == Method::GET { Wanted::Page } else { Wanted::AnswerToForm }
}

/// The kind of page requested, and the page to return to after a sign-in.
pub fn asked(request: &Request) -> (Wanted, Option<ReturnTarget>) {
    let wanted = wanted(request);
    let is_page = wanted == Wanted::Page;
    let next = is_page.then(|| ReturnTarget::asked_for(request.method(), request.uri()));
    (wanted, next.flatten())
}

/// Marks a response to a signed-in user, in its extensions.
#[derive(Clone, Copy)]
struct ToPerson;

/// The session of a request whose response may be an error page.
pub fn session(request: &Request) -> Option<Session> {
    let wants_page = has(request.headers(), header::ACCEPT, "text/html");
    request.extensions().get().filter(|_| wants_page).cloned()
}

/// Marks errors for signed-in users, because outer layers do not know the session.
pub fn note_person((): &(), session: Option<Session>, mut response: Response) -> Response {
    if is_failure(response.status()) && session.is_some_and(|session| session.user().is_ok()) {
        response.extensions_mut().insert(ToPerson);
    }
    response
}

fn is_failure(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}

fn is_for_browsers(request: &Request) -> bool {
    let endpoint = || RequestContext::of(request.extensions())?.endpoint;
    !request.uri().path().starts_with("/api/")
        || endpoint().is_some_and(|endpoint| endpoint.is_navigated)
}

/// Renders an error as a page if a browser requested one. Status and headers stay.
pub fn as_page(
    app: &App,
    (wanted, sign_in): (Wanted, Option<ReturnTarget>),
    response: Response,
) -> Response {
    if !is_failure(response.status())
        || wanted == Wanted::Data
        || has(response.headers(), header::CONTENT_TYPE, "text/html")
    {
        return response;
    }
    let (mut parts, _) = response.into_parts();
    let cause = parts.extensions.remove::<Cause>();
    let (title, mut text) = match cause {
        Some(cause) if wanted == Wanted::AnswerToForm => refused_form(cause),
        _ => words(parts.status, &parts.headers),
    };
    let may_pass = wanted == Wanted::Page && may_pass(parts.status);
    let again = parts.extensions.remove();
    let is_signed_in = parts.extensions.remove::<ToPerson>().is_some();
    let offered = parts.extensions.remove::<OfferedOn>();
    if offered.is_some() {
        text = "For your safety its form is no longer good. Nothing was changed, and what you \
                typed is kept: the page offers it once more."
            .into();
    }
    let on = match parts.status {
        StatusCode::UNAUTHORIZED => sign_in.map(|next| ("Sign in", next.by_way_of_sign_in())),
        _ => offered.map(|OfferedOn(page)| ("Go on there", page.landing())),
    };
    // The page with the refused form may have been opened under another host name.
    let start = if parts.status == StatusCode::FORBIDDEN { app.base_url.as_str() } else { "/" };
    let page = ErrorPage {
        status: parts.status.as_u16(),
        title,
        text,
        may_pass,
        again,
        start,
        is_signed_in,
        on,
    };
    let Ok(html) = page.render() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    parts.headers.remove(header::CONTENT_TYPE);
    parts.headers.remove(header::CONTENT_LENGTH);
    (parts, Html(html)).into_response()
}

/// The title and the text for a form that was refused.
fn refused_form(cause: Cause) -> (&'static str, Cow<'static, str>) {
    let (title, text) = match cause {
        Cause::OtherOrigin => (
            "This form came from another address",
            "Forms of this site work only under its own address. Nothing was changed. The start \
             page leads there, in case your browser has opened the site under another address \
             than its own, such as 127.0.0.1 in place of localhost.",
        ),
        Cause::HiddenOrigin => (
            "Your browser hides where this form came from",
            "So it may be a form of another site. Nothing was changed. A proxy or an extension \
             that adds \u{201c}Referrer-Policy: no-referrer\u{201d} can be the reason. Turn it off \
             for this site, or use a current browser.",
        ),
        Cause::NoCookie => (
            "Your browser sent no cookie",
            "Either it blocks cookies, or this page was open for too long. Nothing was changed. \
             Allow cookies for this site, then start again from a fresh page.",
        ),
        Cause::OldForm => (
            "This page was open for too long",
            "For your safety its form is no longer good. Nothing was changed. Start again from a \
             fresh page.",
        ),
    };
    (title, text.into())
}

/// Whether the header's value contains `part`.
pub fn has(headers: &HeaderMap, name: header::HeaderName, part: &str) -> bool {
    // Faster than a substring search, which is optimised for long texts.
    let is_in =
        |value: &HeaderValue| value.as_bytes().windows(part.len()).any(|at| at == part.as_bytes());
    headers.get(name).is_some_and(is_in)
}

fn words(status: StatusCode, headers: &HeaderMap) -> (&'static str, Cow<'static, str>) {
    let retry_after = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    match status {
        StatusCode::UNAUTHORIZED => (
            "Please sign in first",
            "Either you have not signed in here yet, or you are signed out by now.".into(),
        ),
        StatusCode::FORBIDDEN => (
            "Please begin on a page of ours",
            "This address is good only from there, and only soon after you signed in. Nothing was \
             changed."
                .into(),
        ),
        StatusCode::NOT_FOUND => {
            ("There is nothing here", "The address may be mistyped or out of date.".into())
        }
        StatusCode::TOO_MANY_REQUESTS => (
            "That was a bit fast",
            match retry_after {
                Some("1") => "Please wait 1 second, then try again.".into(),
                Some(secs) => format!("Please wait {secs} seconds, then try again.").into(),
                None => "Please wait a little, then try again.".into(),
            },
        ),
        StatusCode::SERVICE_UNAVAILABLE => (
            "Back in a moment",
            "Something this service depends on does not answer. That signs nobody out; please try \
             again shortly."
                .into(),
        ),
        status if status.is_server_error() => (
            "That is our fault",
            "Something went wrong on our side. It has been written down; please try again.".into(),
        ),
        _ => (
            "That did not work",
            "The page and the server did not understand each other. Please open the page again."
                .into(),
        ),
    }
}
