//! Taking one's data along, and leaving for good. Both ask that one signed in recently.

use axum::body::{Body, Bytes};
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, State};
use axum::response::{IntoResponse, Redirect, Response};
use futures_util::{StreamExt, future, stream};
use http::{HeaderValue, header};
use serde::Deserialize;
use serde_json::json;
use tracera_session::{Session, SessionError};

use crate::api::account::{UserBody, clear_site_data};
use crate::api::sessions::SessionBody;
use crate::api::{events, portfolio};
use crate::auth::sign_in::REAUTH_WINDOW;
use crate::clock::{rfc3339, utc};
use crate::http::App;
use crate::http::error::{AppError, AppResult};
use crate::pages::page::Person;
use crate::pages::return_target::ReturnTarget;
use crate::portfolio::export::Format;
use crate::store::identities::{self, LinkedIdentity};
use crate::store::users;
use crate::telemetry::task::run_to_completion;

/// What has to be typed to delete an account, whatever the case.
pub const PHRASE: &str = "delete my account";
/// The code for when something else was typed.
pub const WRONG_PHRASE: &str = "wrong_phrase";

/// `GET /account/data.json`: everything kept about the person, as a file.
pub async fn data(State(app): State<App>, session: Session, person: Person) -> AppResult<Response> {
    if !is_fresh(&session).await? {
        return Ok(to_sign_in_again());
    }
    let current = session.info().map(|info| info.handle);
    let sessions = app.sessions.list(&person.id).await?;
    let sessions: Vec<_> =
        sessions.into_iter().map(|info| SessionBody::new(info, current)).collect();
    let file = [(
        header::CONTENT_DISPOSITION,
        HeaderValue::from_static("attachment; filename=\"tracera-data.json\""),
    )];
    let (user, now) = (person.account.id, utc(app.clock.now()));
    let mut all_events = Vec::new();
    loop {
        let before = all_events.last().map(|event: &events::EventBody| event.id());
        let page = events::page(&app, user, before, events::MAX_PAGE, now).await?;
        if page.is_empty() {
            break;
        }
        all_events.extend(page);
    }
    let linked = identities::of_user(&app.database, user).await?;
    let linked = linked.iter().map(|identity| {
        let LinkedIdentity { provider, subject, linked_at } = identity;
        json!({ "provider": provider.as_str(), "subject": subject, "linked_at": rfc3339(*linked_at) })
    });
    let values = portfolio::values_of(&app, user, u32::MAX).await?;
    let items = portfolio::items_of(&app, user, Format::Json).await?;
    let few = json!({
        "user": UserBody::from(person.account),
        "linked": linked.collect::<Vec<_>>(),
        "sessions": sessions,
        "events": all_events,
        "portfolio_values": values,
    });
    // The items may be very many: they are read while they are sent, as the last field.
    let mut few = few.to_string();
    few.truncate(few.len() - "}".len());
    let begin = stream::once(future::ready(Ok(Bytes::from(few + ",\"portfolio\":"))));
    let end = stream::once(future::ready(Ok(Bytes::from_static(b"}"))));
    let body = Body::from_stream(begin.chain(items.into_data_stream()).chain(end));
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    Ok((file, kind, body).into_response())
}

/// The form that deletes the account.
#[derive(Deserialize)]
pub struct DeleteForm {
    confirmation: String,
}

/// `POST /account/delete`
pub async fn delete(
    State(app): State<App>,
    session: Session,
    person: Person,
    form: Result<Form<DeleteForm>, FormRejection>,
) -> AppResult<Response> {
    let Form(form) = form.map_err(|_| AppError::malformed_form())?;
    if !form.confirmation.trim().eq_ignore_ascii_case(PHRASE) {
        return Ok(Redirect::to(&format!("/account?error={WRONG_PHRASE}#delete")).into_response());
    }
    if !is_fresh(&session).await? {
        return Ok(to_sign_in_again());
    }
    run_to_completion(async move {
        // This session is kept until the rest is gone, so that after a failure in between one can
        // try again.
        session.sign_out_others().await?;
        users::delete(&app.database, person.account.id).await?;
        app.portfolio.forget(person.account.id);
        app.sessions.revoke_all(&person.id).await?;
        session.sign_out().await?;
        if let Some(links) = &app.magic_links {
            links.forget(person.account.id, person.account.email.as_ref()).await?;
        }
        tracing::info!(event = "account_deleted", "an account was deleted by its user");
        Ok::<_, AppError>(())
    })
    .await?;
    Ok((clear_site_data(), Redirect::to("/login?done=deleted")).into_response())
}

async fn is_fresh(session: &Session) -> AppResult<bool> {
    match session.require_fresh(REAUTH_WINDOW).await {
        Ok(()) => Ok(true),
        Err(SessionError::NotFresh) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn to_sign_in_again() -> Response {
    Redirect::to(&ReturnTarget::account().by_way_of_signing_in_again()).into_response()
}
