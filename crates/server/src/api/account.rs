//! The signed-in user, the CSRF token, the sign-in methods.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::domain::provider::Provider;
use crate::http::App;
use crate::http::bearer::Reader;
use crate::http::error::AppResult;
use crate::http::json::UserBody;
use crate::store::users;

/// `GET /api/v1/auth/methods`
pub async fn methods(State(app): State<App>) -> Json<Value> {
    let email = app.magic_links.as_ref().map(|_| json!({ "method": "email" }));
    let providers = app.providers.configured().map(|provider| {
        let mut method = json!({ "method": provider.as_str(), "url": provider.sign_in_path() });
        if provider == Provider::Oidc {
            method["name"] = json!(app.providers.names().of(provider));
        }
        method
    });
    Json(json!({ "methods": email.into_iter().chain(providers).collect::<Vec<_>>() }))
}

/// `GET /api/v1/auth/me`
pub async fn me(State(app): State<App>, reader: Option<Reader>) -> AppResult<Json<Value>> {
    let user = match reader {
        Some(Reader { user, .. }) => users::find_by_id(&app.database, user).await?,
        None => None,
    };
    Ok(Json(json!({ "user": user.map(UserBody::from) })))
}
