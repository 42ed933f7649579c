//! The smallest application with a sign-in on tracera-session with Redis.

use axum::{
    Router,
    routing::{get, post},
};
use tracera_session::login::{LoggedIn, LoginLayer, Users, login_required, sign_in};
use tracera_session::*;
#[derive(Clone)]
struct User {
    id: i64,
    hash: String,
}
#[derive(Clone)]
struct Database;
impl Users for Database {
    type User = User;
    type Error = std::io::Error;
    async fn load(&self, id: &UserId) -> Result<Option<User>, Self::Error> {
        let id = i64::try_from(id.clone()).map_err(std::io::Error::other)?;
        Ok(Some(User { id, hash: "x".into() }))
    }
    fn stamp(&self, user: &User) -> Option<String> {
        Some(user.hash.clone())
    }
}
async fn login(session: Session) -> Result<(), SessionError> {
    let user = User { id: 1, hash: "x".into() };
    sign_in(&session, &Database, &user, SignIn::new(user.id.into(), "password")).await
}
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = RedisStore::connect("redis://127.0.0.1").await?;
    let sessions = Sessions::new(store, KeyRing::generate(), SessionConfig::default());
    let app = Router::new()
        .route("/me", get(async |LoggedIn(user): LoggedIn<User>| user.id.to_string()))
        .route_layer(login_required("/login"))
        .route("/login", post(login))
        .layer(LoginLayer::new(Database))
        .layer(SessionLayer::new(sessions));
    axum::serve(tokio::net::TcpListener::bind("127.0.0.1:0").await?, app).await?;
    Ok(())
}
