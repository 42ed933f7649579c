//! The download of personal data. It requires a recent sign-in.

use axum::BoxError;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, future, stream};
use http::{HeaderValue, header};
use serde_json::json;

use crate::actions::account::{self, PersonalData};
use crate::actions::portfolio::export;
use crate::actions::{ActionError, Caller};
use crate::clock::rfc3339;
use crate::http::App;
use crate::http::error::AppResult;
use crate::http::json::{EventBody, PasskeyBody, SessionBody, TokenBody, UserBody, ValueBody};
use crate::pages::confirm::to_confirm;
use crate::pages::page::Person;
use crate::pages::return_target::ReturnTarget;
use crate::portfolio::export::Format;
use crate::store::events::Event;

/// `GET /account/data.json`: all data about the user, as a file.
pub async fn data(State(app): State<App>, caller: Caller, person: Person) -> AppResult<Response> {
    let data = match account::data(&app.accounts(), &caller, person.account).await {
        Ok(data) => data,
        Err(ActionError::Refused(_)) => return Ok(to_confirm(&ReturnTarget::data())),
        Err(error) => return Err(error.into()),
    };
    let place = app.downloads.enter(&person.id)?;
    let items = export(&app.portfolio, caller.user, Format::Json).await?;
    let items = Body::from_stream(items);
    let PersonalData { user, linked, passkeys, tokens, sessions, values } = data;
    let current = caller.session.info().map(|info| info.handle);
    let bound = app.sessions.device_bound(&person.id).await?;
    let sessions = sessions.into_iter().map(|info| {
        let is_bound = bound.contains(&info.handle);
        SessionBody::new(info, current, is_bound)
    });
    let linked = linked.iter().map(|identity| {
        json!({
            "provider": identity.provider.as_str(),
            "subject": identity.subject,
            "linked_at": rfc3339(identity.linked_at),
        })
    });
    let few = json!({
        "user": UserBody::from(user),
        "linked": linked.collect::<Vec<_>>(),
        "passkeys": passkeys.into_iter().map(PasskeyBody::from).collect::<Vec<_>>(),
        "tokens": tokens.into_iter().map(TokenBody::from).collect::<Vec<_>>(),
        "sessions": sessions.collect::<Vec<_>>(),
        "portfolio_values": {
            "currency": app.portfolio.prices().currency(),
            "history": values.iter().map(ValueBody::new).collect::<Vec<_>>(),
        },
    });
    // There may be very many events and items. They are streamed, as the last fields of the object.
    let mut few = few.to_string();
    few.truncate(few.len() - "}".len());
    let written =
        |text: &str| stream::once(future::ready(Ok::<_, BoxError>(Bytes::from(text.to_owned()))));
    let log = account::events(app.database.clone(), caller.user, app.now());
    let log = log.enumerate().map(|(at, some)| Ok(written_events(at, some?)));
    let body = written(&(few + ",\"events\":["))
        .chain(log)
        .chain(written("],\"portfolio\":"))
        .chain(items.into_data_stream().map(|part| part.map_err(BoxError::from)))
        .chain(written("}"));
    let body = Body::from_stream(body.inspect(move |_| {
        // Keeps the slot until the download ends.
        let _ = &place;
    }));
    let kind = HeaderValue::from_static("application/json");
    let file = HeaderValue::from_static("attachment; filename=\"tracera-data.json\"");
    Ok(([(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, file)], body).into_response())
}

/// Serialises some events of the list, with a comma before all but the first.
fn written_events(at: usize, events: Vec<Event>) -> Bytes {
    let some: Vec<_> = events.into_iter().map(EventBody::from).collect();
    let list = serde_json::to_string(&some).expect("texts, numbers and times are JSON");
    let inner = &list["[".len()..list.len() - "]".len()];
    Bytes::from([if at == 0 { "" } else { "," }, inner].concat())
}
