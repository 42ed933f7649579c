//! The providers linked to an account.

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde_json::{Value, json};
use tracera_session::{CurrentUser, Session};
use uuid::Uuid;

use crate::api::account::user_id;
use crate::auth::events::{ClientInfo, Kind, Notice};
use crate::auth::sign_in::REAUTH_WINDOW;
use crate::clock::{rfc3339, utc};
use crate::domain::provider::Provider;
use crate::http::App;
use crate::http::error::{AppError, AppResult};
use crate::http::extract::ApiPath;
use crate::store::identities::{self, Unlinking};
use crate::store::users;
use crate::telemetry::task::run_to_completion;

/// `GET /api/v1/auth/providers`
pub async fn list(
    State(app): State<App>,
    CurrentUser(user): CurrentUser,
) -> AppResult<Json<Value>> {
    Ok(Json(json!({ "providers": of_user(&app, user_id(&user)?).await? })))
}

/// All providers, and which are linked to the user.
async fn of_user(app: &App, user: Uuid) -> AppResult<Vec<Value>> {
    let linked = identities::of_user(&app.database, user).await?;
    let providers = Provider::ALL.into_iter().map(|provider| {
        let identity = linked.iter().find(|identity| identity.provider == provider);
        let subject =
            identity.filter(|_| provider == Provider::Steam).map(|identity| &identity.subject);
        json!({
            "provider": provider.as_str(),
            "configured": app.providers.is_configured(provider),
            "linked": identity.is_some(),
            "linked_at": identity.map(|identity| rfc3339(identity.linked_at)),
            "steam_id": subject,
        })
    });
    Ok(providers.collect())
}

/// `DELETE /api/v1/auth/providers/{provider}`
pub async fn unlink(
    State(app): State<App>,
    session: Session,
    CurrentUser(user): CurrentUser,
    visit: ClientInfo,
    ApiPath(provider): ApiPath<String>,
) -> AppResult<StatusCode> {
    let provider = Provider::parse(&provider).ok_or_else(AppError::not_found)?;
    session.require_fresh(REAUTH_WINDOW).await?;
    let user = user_id(&user)?;
    let ways = app.providers.ways_in(app.magic_links.is_some());
    run_to_completion(async move {
        match identities::unlink(&app.database, user, provider, ways).await? {
            Unlinking::Unlinked => {}
            Unlinking::NotLinked => return Err(AppError::not_found()),
            Unlinking::LastWayIn => {
                return Err(AppError::new(
                    StatusCode::CONFLICT,
                    "last_way_in",
                    "this is the only way into your account; add an e-mail address or link another provider first",
                ));
            }
        }
        let now = utc(app.clock.now());
        tracing::info!(event = "unlinked", %user, method = provider.as_str(), "unlinked");
        app.events.record(user, Kind::Unlinked, Some(provider.as_str()), &visit, now).await;
        let owner = users::find_by_id(&app.database, user).await?;
        app.events.mail(owner.and_then(|owner| owner.email).as_ref(), &Notice::Unlinked(provider), &visit, now);
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}
