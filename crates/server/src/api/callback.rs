//! Back from a provider. Every callback spends its transaction and ends in a redirect to a page of
//! ours, so that no code or state stays in the address bar. One that has none leaves the cookies of
//! another that is under way.

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::{HeaderMap, HeaderValue, header};
use time::OffsetDateTime;
use tracera_session::Session;
use uuid::Uuid;

use super::oauth::page;
use crate::api::account::user_id;
use crate::auth::accounts::{self, Entry};
use crate::auth::callback::OauthCallback;
use crate::auth::cookie::handle_hash;
use crate::auth::events::{ClientInfo, Kind, Notice};
use crate::auth::magic_link::Requester;
use crate::auth::provider_error::ProviderError;
use crate::auth::sign_in::{REAUTH_WINDOW, SignInMethod, sign_in};
use crate::auth::transaction::{Ended, LIFETIME, Purpose, Spent};
use crate::clock::utc;
use crate::domain::provider::Provider;
use crate::http::App;
use crate::http::error::AppError;
use crate::pages::last_method;
use crate::pages::return_target::ReturnTarget;
use crate::store::users::{self, User};
use crate::telemetry::RequestId;
use crate::telemetry::metrics;

/// `GET /api/v1/auth/google/callback`
pub async fn google(
    state: State<App>,
    session: Session,
    visit: ClientInfo,
    headers: HeaderMap,
    query: RawQuery,
) -> Response {
    callback(state, session, visit, headers, query, Provider::Google, None).await
}

/// `GET /api/v1/auth/github/callback`
pub async fn github(
    state: State<App>,
    session: Session,
    visit: ClientInfo,
    headers: HeaderMap,
    query: RawQuery,
) -> Response {
    callback(state, session, visit, headers, query, Provider::Github, None).await
}

/// `GET /api/v1/auth/steam/login/callback`
pub async fn steam_login(
    state: State<App>,
    session: Session,
    visit: ClientInfo,
    headers: HeaderMap,
    query: RawQuery,
) -> Response {
    callback(state, session, visit, headers, query, Provider::Steam, Some(false)).await
}

/// `GET /api/v1/auth/steam/callback`
pub async fn steam_link(
    state: State<App>,
    session: Session,
    visit: ClientInfo,
    headers: HeaderMap,
    query: RawQuery,
) -> Response {
    callback(state, session, visit, headers, query, Provider::Steam, Some(true)).await
}

/// `linking` where the address tells the purpose.
async fn callback(
    State(app): State<App>,
    session: Session,
    visit: ClientInfo,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    provider: Provider,
    linking: Option<bool>,
) -> Response {
    let clear = app.providers.transactions.clear_cookie();
    let https = app.is_https();
    let next = ReturnTarget::remembered(&headers, https).unwrap_or_default();
    let forget = ReturnTarget::forget(&headers, https);
    let arrival = Arrival {
        app,
        session,
        visit,
        headers,
        query: query.unwrap_or_default(),
        provider,
        linking,
    };
    // A task of its own: a browser that hangs up leaves nothing half done.
    let arrived = RequestId::spawn(async move { arrival.finish(next).await }).await;
    let Landing { target, device, spent } = arrived.unwrap_or_else(|panic| Landing {
        target: page("/login", AppError::internal(panic).into()),
        device: None,
        spent: false,
    });
    let mut response = Redirect::to(&target).into_response();
    let last_used = device.as_ref().map(|_| last_method::remember(provider.as_str(), https));
    let used_up = [Some(clear), forget].into_iter().filter(|_| spent);
    for cookie in used_up.chain([device, last_used]).flatten() {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

/// How a callback is answered.
struct Landing {
    /// The page to go to.
    target: String,
    /// The cookie of a new sign-in.
    device: Option<HeaderValue>,
    /// Whether the browser's transaction was spent.
    spent: bool,
}

/// Somebody has come back.
struct Arrival {
    app: App,
    session: Session,
    visit: ClientInfo,
    headers: HeaderMap,
    query: String,
    provider: Provider,
    linking: Option<bool>,
}

impl Arrival {
    async fn finish(self, next: ReturnTarget) -> Landing {
        let callback = OauthCallback::parse(&self.query);
        let spent = self.spend(&callback).await;
        let is_spent = spent.is_ok();
        let done = match spent {
            Ok(spent) => self.proceed(spent, &callback).await,
            Err(failure) => Err(self.stray(failure)),
        };
        let target = match done {
            // The account page says it; the start page shows it.
            Ok(None) if next.is_page("/account") => {
                next.saying("done", &format!("{}_linked", self.provider.as_str()))
            }
            Ok(_) => next.as_str().to_owned(),
            Err(failure) => self.failed_at(&next, failure),
        };
        Landing { target, device: done.ok().flatten(), spent: is_spent }
    }

    /// The page that says why. The sign-in page sends whoever is signed in on to the page they came
    /// from.
    fn failed_at(&self, next: &ReturnTarget, failure: ProviderError) -> String {
        match (self.linking, self.session.user()) {
            (Some(true), _) => next.saying("error", failure.code()),
            (_, Ok(_)) => next.by_way_of_failure(failure.code()),
            (_, Err(_)) => page("/login", failure),
        }
    }

    /// The cookie of a new sign-in; `None` when something was linked.
    async fn proceed(
        &self,
        spent: Spent,
        callback: &OauthCallback,
    ) -> Result<Option<HeaderValue>, ProviderError> {
        let transaction = self.end(spent, callback).map_err(|failure| self.stray(failure))?;
        match &transaction.purpose {
            Purpose::SignIn => {
                self.sign_in(&transaction, callback).await.map(Some).inspect_err(|failure| {
                    let (method, code) = (self.provider.as_str(), failure.code());
                    tracing::warn!(event = "sign_in_failed", method, code, "nobody was signed in");
                    metrics::tried_to_sign_in(method, "failed");
                })
            }
            Purpose::Link { user, session_hash } => {
                let linked = self.link(&transaction, callback, *user, session_hash).await;
                if let Err(failure) = linked {
                    let (method, code) = (self.provider.as_str(), failure.code());
                    tracing::warn!(event = "link_failed", %user, method, code, "nothing was linked");
                    self.record(*user, Kind::LinkFailed).await;
                }
                linked.map(|()| None)
            }
        }
    }

    async fn spend(&self, callback: &OauthCallback) -> Result<Spent, ProviderError> {
        let state = callback.state.as_deref().ok_or(ProviderError::Expired)?;
        self.app
            .providers
            .transactions
            .spend(state, &self.headers)
            .await?
            .ok_or(ProviderError::Expired)
    }

    fn end(&self, spent: Spent, callback: &OauthCallback) -> Result<Ended, ProviderError> {
        let ended = spent.end(self.provider, self.now())?;
        let is_link = matches!(ended.purpose, Purpose::Link { .. });
        if self.linking.is_some_and(|linking| linking != is_link) {
            return Err(ProviderError::Expired);
        }
        if callback.repeated {
            return Err(ProviderError::Refused(self.provider));
        }
        Ok(ended)
    }

    /// Says in the log that nothing was begun that this belongs to.
    fn stray(&self, failure: ProviderError) -> ProviderError {
        let (method, code) = (self.provider.as_str(), failure.code());
        tracing::warn!(
            event = "callback_refused",
            method,
            code,
            "a callback fits nothing that was begun"
        );
        metrics::tried_to_sign_in(method, "stray");
        failure
    }

    async fn sign_in(
        &self,
        transaction: &Ended,
        callback: &OauthCallback,
    ) -> Result<HeaderValue, ProviderError> {
        let app = &self.app;
        let person = app
            .providers
            .identify(self.provider, transaction, callback, &self.query, self.now())
            .await?;
        match accounts::enter(&app.database, &person, self.now()).await? {
            Entry::Open(user) => Ok(sign_in(
                app,
                &self.session,
                &user,
                SignInMethod::Identity(&person.identity),
                &self.visit,
            )
            .await?),
            Entry::ProofNeeded(owner) => {
                self.record(owner.id, Kind::SignInFailed).await;
                Err(self.ask_for_proof(owner).await?)
            }
        }
    }

    /// Mails the owner of the address a link to sign in, unless somebody is signed in already.
    async fn ask_for_proof(&self, owner: User) -> Result<ProviderError, ProviderError> {
        let (Some(links), Some(email), Err(_)) =
            (&self.app.magic_links, owner.email, self.session.user())
        else {
            return Ok(ProviderError::AccountExists);
        };
        // No code: it would be for this browser, which may be anybody's.
        let requester =
            Requester { binding: None, client: self.visit.client.clone(), ip: self.visit.ip };
        links.request(email, &requester, self.now()).await?;
        Ok(ProviderError::ProofMailed)
    }

    async fn link(
        &self,
        transaction: &Ended,
        callback: &OauthCallback,
        user: Uuid,
        session_hash: &[u8; 32],
    ) -> Result<(), ProviderError> {
        let app = &self.app;
        self.require_session(user, session_hash).await?;
        let person = app
            .providers
            .identify(self.provider, transaction, callback, &self.query, self.now())
            .await?;
        // Again, for the provider may have taken its time.
        self.require_session(user, session_hash).await?;
        if accounts::link(&app.database, user, &person, self.now()).await? {
            // And once more, for the owner of the mailbox may have come and ended it.
            if let Err(ended) = self.require_session(user, session_hash).await {
                accounts::undo_link(&app.database, user, &person).await?;
                return Err(ended);
            }
            tracing::info!(event = "linked", %user, method = self.provider.as_str(), "linked");
            self.record(user, Kind::Linked).await;
            let owner = users::find_by_id(&app.database, user).await.map_err(AppError::from)?;
            let email = owner.and_then(|owner| owner.email);
            app.events.mail(
                email.as_ref(),
                &Notice::Linked(self.provider),
                &self.visit,
                self.now(),
            );
        }
        Ok(())
    }

    /// The session that began to link has to be this one, and alive by the store's own account.
    async fn require_session(
        &self,
        user: Uuid,
        session_hash: &[u8; 32],
    ) -> Result<(), ProviderError> {
        let present = self.session.user().ok().and_then(|id| user_id(&id).ok());
        let binding = self.session.binding().map(handle_hash);
        if present != Some(user) || binding.as_ref() != Some(session_hash) {
            return Err(ProviderError::SessionChanged);
        }
        self.session
            .require_fresh(REAUTH_WINDOW + LIFETIME)
            .await
            .map_err(|_| ProviderError::SessionChanged)
    }

    async fn record(&self, user: Uuid, kind: Kind) {
        self.app
            .events
            .record(user, kind, Some(self.provider.as_str()), &self.visit, self.now())
            .await;
    }

    fn now(&self) -> OffsetDateTime {
        utc(self.app.clock.now())
    }
}
