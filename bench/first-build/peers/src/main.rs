//! The same application on axum-login and tower-sessions with its Redis store.

use axum::{
    Router,
    routing::{get, post},
};
use axum_login::{
    AuthManagerLayerBuilder, AuthSession, AuthUser, AuthnBackend, UserId, login_required,
};
use tower_sessions::SessionManagerLayer;
use tower_sessions_redis_store::{RedisStore, fred::prelude::*};
#[derive(Clone, Debug)]
struct User {
    id: i64,
    hash: String,
}
impl AuthUser for User {
    type Id = i64;
    fn id(&self) -> i64 {
        self.id
    }
    fn session_auth_hash(&self) -> &[u8] {
        self.hash.as_bytes()
    }
}
#[derive(Clone)]
struct Database;
impl AuthnBackend for Database {
    type User = User;
    type Credentials = ();
    type Error = std::io::Error;
    async fn authenticate(&self, _: ()) -> Result<Option<User>, Self::Error> {
        self.get_user(&1).await
    }
    async fn get_user(&self, id: &UserId<Self>) -> Result<Option<User>, Self::Error> {
        Ok(Some(User { id: *id, hash: "x".into() }))
    }
}
async fn login(mut auth: AuthSession<Database>) -> &'static str {
    let Ok(Some(user)) = auth.authenticate(()).await else { return "no" };
    if auth.login(&user).await.is_err() {
        return "no";
    }
    "yes"
}
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = Pool::new(Config::from_url("redis://127.0.0.1")?, None, None, None, 6)?;
    pool.connect();
    pool.wait_for_connect().await?;
    let sessions = SessionManagerLayer::new(RedisStore::new(pool));
    let app = Router::new()
        .route(
            "/me",
            get(async |auth: AuthSession<Database>| auth.user.map_or(0, |u| u.id).to_string()),
        )
        .route_layer(login_required!(Database, login_url = "/login"))
        .route("/login", post(login))
        .layer(AuthManagerLayerBuilder::new(Database, sessions).build());
    axum::serve(tokio::net::TcpListener::bind("127.0.0.1:0").await?, app).await?;
    Ok(())
}
