//! Turns settings into a running service: connects the dependencies and assembles the parts.

use std::fs::{self, OpenOptions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use redis::{ErrorKind, RedisError, ServerErrorKind};
use secrecy::ExposeSecret;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracera_guard::{
    ClientLimit, CsrfGuard, OriginPolicy, RateLimit, RateLimiter, SecurityHeaders, VisitorCookie,
};
use tracera_session::{
    Clock, ConnectError, DeviceBinding, EmbeddedStore, InvalidAuthorities, KeyRing, NearCache,
    OpenError, RedisAuthorities, RedisConnection, RedisKind, RedisLimits, RedisStore, RedisUrl,
    Session, SessionConfig, SessionStore, Sessions,
};
use tracera_session_sqlx::PostgresLimits;

use crate::actions::deletion;
use crate::auth::api_tokens::{self, ApiTokens};
use crate::auth::code_budget::CodeBudget;
use crate::auth::events::SecurityEvents;
use crate::auth::magic_link::MagicLinks;
use crate::auth::mail_limits::MailLimits;
use crate::auth::one_time_key::OneTimeKey;
use crate::auth::passkeys::Passkeys;
use crate::auth::providers::Providers;
use crate::auth::recovery_codes::{GUESSES, RecoveryCodes};
use crate::clock::Stopwatch;
use crate::config::{Config, DatabaseTarget, ListenAddr, Mode, SessionStoreKind};
use crate::demo::{self, Demo};
use crate::http::event_stream::Streams;
use crate::http::serve::{Listener, ServeLimits, Serving, serve};
use crate::http::{App, Parts};
use crate::mail::{self, Mailer, Outbox};
use crate::portfolio::Portfolio;
use crate::private_dir;
use crate::router;
use crate::store::{self, Database};
use crate::telemetry::metrics;
use crate::telemetry::trace::{self, Kind, Span};
use crate::telemetry::traced_store::Traced;
use crate::{error_chain, tls};

/// Maximum number of open event streams per user, across all tabs.
const STREAMS_PER_USER: usize = 16;
/// Time limit for sending queued mails when the server stops.
const MAIL_DRAIN: Duration = Duration::from_secs(10);

/// Time limit for the replicas' confirmation. The session store requires less than a third of its
/// operation limit.
const REPLICA_ACK_WITHIN: Duration = Duration::from_millis(450);

/// Time limit for ending imports when the server stops.
const IMPORT_DRAIN: Duration = Duration::from_secs(5);
/// Time limit for sending the last spans when the server stops.
const TRACES_DRAIN: Duration = Duration::from_secs(3);

/// Why the service could not start. Names the setting to check, never a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The directory of the embedded stores cannot be created.
    #[error("DATA_DIR: cannot create {path}: {source}; choose a directory the server may write to")]
    DataDir {
        /// The directory, or a file in it.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// Redis cannot be reached.
    #[error("{variable}: {source}; {remedy}")]
    Redis {
        /// The variable that configures the address of Redis.
        variable: &'static str,
        /// The reason.
        source: ConnectError,
        /// The remedy.
        remedy: String,
    },
    /// Redis responds, but cannot store sessions.
    #[error("{variable}: {reason}")]
    RedisUnfit {
        /// The variable with its address.
        variable: &'static str,
        /// The reason, and the remedy.
        reason: String,
    },
    /// The certificates for Redis cannot be used.
    #[error("{variable}: cannot use {path}: {source}; write the path of a PEM file")]
    RedisFile {
        /// The variable that names the file.
        variable: &'static str,
        /// The configured file.
        path: PathBuf,
        /// The reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The session file cannot be opened.
    #[error(
        "DATA_DIR: {0}; stop the other process, choose another directory, or set REDIS_URL to \
         share sessions"
    )]
    Sessions(#[source] OpenError),
    /// The database file in the directory of the embedded stores cannot be used.
    #[error("DATA_DIR: {0}")]
    DatabaseFile(#[source] store::ConnectError),
    /// The database cannot be opened.
    #[error("DATABASE_URL: {0}")]
    Database(#[source] store::ConnectError),
    /// The mail settings cannot be used.
    #[error(transparent)]
    Mail(#[from] mail::SetupError),
    /// The client for Steam and price feeds cannot be created.
    #[error("cannot set up TLS for Steam and price feeds: {0}")]
    Portfolio(#[source] reqwest::Error),
    /// The demo user cannot be stored.
    #[error("the demo cannot be stored: {0}")]
    Demo(#[source] store::StoreError),
    /// Traces cannot be sent.
    #[error("OTEL_EXPORTER_OTLP_ENDPOINT: {0}")]
    Traces(#[from] trace::InstallError),
    /// Metrics are already being collected.
    #[error("METRICS_ADDR: {0}")]
    Metrics(#[source] metrics_exporter_prometheus::BuildError),
    /// The socket for metrics cannot be bound.
    #[error(
        "METRICS_ADDR: cannot listen on {addr}: {source}; stop what uses it, or choose another \
         port"
    )]
    ListenMetrics {
        /// The address.
        addr: SocketAddr,
        /// The reason.
        source: io::Error,
    },
    /// The socket cannot be bound.
    #[error(
        "LISTEN_ADDR: cannot listen on {addr}: {source}; stop what uses it, or choose another port"
    )]
    Listen {
        /// The address.
        addr: ListenAddr,
        /// The reason.
        source: io::Error,
    },
}

/// The open stores.
#[derive(Debug)]
pub struct Stores {
    /// The database.
    pub database: Database,
    /// The Redis connection that sessions and limits share, if Redis is used.
    pub redis: Option<RedisConnection>,
    /// The limits' store, if sessions are in PostgreSQL.
    limits: Option<PostgresLimits>,
    /// The sessions of all users.
    pub sessions: Sessions,
    keys: KeyRing,
}

/// Opens the stores.
///
/// # Errors
/// [`StartError`] with the variable whose store cannot be opened.
pub async fn open_stores(config: &Config, clock: &Clock) -> Result<Stores, StartError> {
    let keys = key_ring(config);
    let session_config = SessionConfig::default()
        .lifetime(config.session.lifetime)
        .idle_timeout(config.session.idle)
        .max_sessions_per_user(config.session.max_per_user as usize)
        .secure(config.session.cookie_secure)
        .cookie_name(&config.session.cookie_name)
        // The realm is constant: one that follows the cookie's name would lose all sessions when
        // the cookie is renamed.
        .realm("")
        .near_cache(if config.session.near_cache { NearCache::default() } else { NearCache::Off })
        .clock(clock.clone());
    let session_config = match config.session.device_proof {
        Some(lifetime) => session_config.device_binding(device_binding(lifetime)),
        None => session_config,
    };
    let store = &config.store;
    let database =
        open_database(&store.database, store.database_max_connections, &store.data_dir).await?;
    let redis = match &config.store.redis {
        Some(url) => Some(connect_redis(url, config).await?),
        None => None,
    };
    let mut limits = None;
    let sessions = match (&redis, &config.store.database) {
        (Some(connection), _) => {
            let store = session_store(connection.clone(), config);
            check_redis(&store, config).await?;
            let store = Traced::new(acknowledged(store, config).await?, "redis");
            Sessions::new(store, keys.clone(), session_config)
        }
        (None, DatabaseTarget::Postgres(url))
            if config.store.sessions == SessionStoreKind::Postgres =>
        {
            let stores = Database::sessions_and_limits(url.expose()).await;
            let (store, shared) = stores.map_err(StartError::Database)?;
            limits = Some(shared);
            Sessions::new(Traced::new(store, "postgresql"), keys.clone(), session_config)
        }
        (None, _) => {
            let path = &config.store.data_dir;
            let file = embedded_sessions(path);
            create_private(path, &file)
                .map_err(|source| StartError::DataDir { path: path.clone(), source })?;
            let file = EmbeddedStore::open(file).map_err(StartError::Sessions)?;
            Sessions::new(file, keys.clone(), session_config)
        }
    };
    Ok(Stores { database, redis, limits, sessions, keys })
}

/// The file of the embedded session store.
pub(crate) fn embedded_sessions(data_dir: &Path) -> PathBuf {
    data_dir.join("sessions.redb")
}

/// Opens the database alone.
///
/// # Errors
/// [`StartError`] with the variable that configures it.
pub async fn open_database(
    target: &DatabaseTarget,
    max_connections: u32,
    data_dir: &Path,
) -> Result<Database, StartError> {
    Database::connect(target, max_connections).await.map_err(|error| match error {
        store::ConnectError::Create { path, source } if path.starts_with(data_dir) => {
            StartError::DataDir { path, source }
        }
        store::ConnectError::File { ref path, .. } if path.starts_with(data_dir) => {
            StartError::DatabaseFile(error)
        }
        error => StartError::Database(error),
    })
}

/// Connects to Redis at `url`, with the configured certificates.
pub(crate) async fn connect_redis(
    url: &RedisUrl,
    config: &Config,
) -> Result<RedisConnection, StartError> {
    let connection = match redis_authorities(config)? {
        Some(authorities) => {
            RedisConnection::open_trusting(url.expose(), RedisLimits::default(), &authorities).await
        }
        None => RedisConnection::open(url.expose()).await,
    };
    connection.map_err(|source| {
        let usual = if url.kind() == RedisKind::Sentinel && !url.names_service() {
            "check that Sentinels run there and know a primary called mymaster; the path names \
             another: redis+sentinel://host:26379/NAME"
        } else {
            "check that Redis runs there and that user and password are right"
        };
        let remedy =
            tls::remedy(&source.to_string(), "REDIS_CA_FILE").unwrap_or_else(|| usual.to_owned());
        StartError::Redis { variable: config.store.redis_variable, source, remedy }
    })
}

/// The store of sessions over that connection.
pub(crate) fn session_store(connection: RedisConnection, config: &Config) -> RedisStore {
    let prefix = format!("{}session", config.store.redis_key_prefix);
    RedisStore::new(connection).with_prefix(&prefix)
}

/// Whether sessions can be kept in a Redis that answers. What passes by itself, such as too few
/// replicas, is a warning: sessions may still be read there.
///
/// # Errors
/// [`StartError`] when they cannot.
pub(crate) async fn check_redis(store: &RedisStore, config: &Config) -> Result<(), StartError> {
    let variable = config.store.redis_variable;
    let unfit = |reason: String| Err(StartError::RedisUnfit { variable, reason });
    let (cluster, probed) = tokio::join!(store.is_part_of_cluster(), store.ping());
    if matches!(cluster, Ok(true)) {
        return unfit(
            "this is one node of a cluster, and sessions belong to other nodes too; write \
             redis+cluster:// in place of redis://"
                .to_owned(),
        );
    }
    let Err(error) = probed else { return Ok(()) };
    let reason = error_chain::chain(&error);
    let mut causes = error_chain::causes(&error);
    if causes.any(|cause| cause.downcast_ref().is_some_and(is_forbidden)) {
        return unfit(format!(
            "the user may not do there what sessions need: {reason}; docs/configure.md lists the \
             rights"
        ));
    }
    tracing::warn!(reason, "redis answers and takes no writes");
    Ok(())
}

fn is_forbidden(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm)
}

fn redis_authorities(config: &Config) -> Result<Option<RedisAuthorities>, StartError> {
    let store = &config.store;
    let read = |variable, path: &PathBuf| {
        fs::read(path).map_err(|error| StartError::RedisFile {
            variable,
            path: path.clone(),
            source: error.into(),
        })
    };
    let unusable = |variable, path: &PathBuf| {
        let path = path.clone();
        move |error: InvalidAuthorities| StartError::RedisFile {
            variable,
            path,
            source: error.into(),
        }
    };
    let roots = match &store.redis_ca_file {
        Some(path) => {
            let pem = read("REDIS_CA_FILE", path)?;
            let roots = RedisAuthorities::from_pem(&pem);
            Some(roots.map_err(unusable("REDIS_CA_FILE", path))?)
        }
        None => None,
    };
    let Some((certificate, key)) = &store.redis_client else { return Ok(roots) };
    let (chain, key) = (read("REDIS_CERT_FILE", certificate)?, read("REDIS_KEY_FILE", key)?);
    let client = roots.unwrap_or_else(RedisAuthorities::public).with_client(&chain, &key);
    client.map(Some).map_err(unusable("REDIS_CERT_FILE", certificate))
}

/// Checks that the files named in the configuration are usable.
///
/// # Errors
/// [`StartError`] when one is not.
pub fn check_files(config: &Config) -> Result<(), StartError> {
    redis_authorities(config)?;
    Mailer::new(&config.mail)?;
    Ok(())
}

/// Makes the store wait for replicas, if configured.
async fn acknowledged(store: RedisStore, config: &Config) -> Result<RedisStore, StartError> {
    match (config.store.replica_ack, &config.store.redis) {
        (0, _) | (_, None) => Ok(store),
        (replicas, Some(url)) => {
            let own = connect_redis(url, config).await?;
            Ok(store.with_replica_ack(own, replicas, REPLICA_ACK_WITHIN))
        }
    }
}

/// Creates the file and its directory, readable by the owner alone.
fn create_private(directory: &Path, file: &Path) -> io::Result<()> {
    private_dir::create(directory)?;
    OpenOptions::new().create(true).append(true).mode(0o600).open(file).map(drop)
}

/// The secrets that sign cookies, newest first.
fn key_ring(config: &Config) -> KeyRing {
    let secret = config.session.secret.expose_secret().as_bytes();
    let previous =
        config.session.previous_secrets.iter().map(|secret| secret.expose_secret().as_bytes());
    KeyRing::with_previous(secret, previous)
        .expect("the configuration has checked length and repetition")
}

/// Assembles the application.
///
/// # Errors
/// [`StartError`] when mail or the clients of other services cannot be set up.
pub fn assemble(
    config: &Config,
    stores: &Stores,
    clock: Clock,
) -> Result<(App, Option<Mailer>), StartError> {
    let limiter = |limit: RateLimit| match (&stores.redis, &stores.limits) {
        (Some(connection), _) => {
            let connection = connection.clone();
            RateLimiter::redis_prefixed(limit, &config.store.redis_key_prefix, move |command| {
                let (watch, asked) = (Stopwatch::start(), connection.ask(command));
                let span = Span::child("rate limit", Kind::Client);
                span.set("db.system.name", "redis");
                span.around(async move {
                    let answer = asked.await;
                    metrics::asked_limit(watch.elapsed());
                    answer
                })
            })
        }
        (None, Some(shared)) => RateLimiter::in_store(limit, shared.clone()),
        (None, None) => RateLimiter::in_memory(limit),
    };
    let base_url = config.http.base_url.clone();
    let mut account_url = base_url.clone();
    account_url.set_path("/account");
    let outbox = Outbox::new(stores.database.clone(), &stores.keys.derive("outbox"), clock.clone());
    let mailer = Mailer::with_outbox(&config.mail, outbox)?;
    let mailbox = mailer.as_ref().and_then(Mailer::mailbox).cloned();
    let magic_links = mailer.clone().map(|mailer| {
        let key = OneTimeKey::new(stores.keys.derive("one-time").0);
        MagicLinks::new(
            stores.database.clone(),
            mailer,
            (MailLimits::new(key.clone(), limiter), CodeBudget::new(limiter)),
            key,
            &base_url,
            config.auth.magic_link_expiry,
        )
    });
    let portfolio = Portfolio::new(
        stores.database.clone(),
        clock.clone(),
        &config.steam,
        &config.prices,
        config.portfolio,
        &config.store.data_dir,
    )
    .map_err(StartError::Portfolio)?;
    let (visitor_key, previous_visitor_keys) = stores.keys.derive("visitor");
    let visitor =
        VisitorCookie::new(visitor_key, previous_visitor_keys, config.session.cookie_secure);
    let auth_limit =
        RateLimit::new("auth", config.auth.rate_limit_per_minute, Duration::from_mins(1));
    let session_limit =
        RateLimit::new("session", config.auth.rate_limit_per_minute, Duration::from_mins(1));
    let app = App::new(Parts {
        request_timeout: config.http.request_timeout,
        log_all_requests: config.log.all_requests,
        database: stores.database.clone(),
        redis: stores.redis.is_some(),
        sessions: stores.sessions.clone(),
        session_lifetime: config.session.lifetime,
        session_idle: config.session.idle,
        magic_links,
        providers: Arc::new(Providers::new(config, &stores.database)),
        passkeys: Passkeys::new(stores.database.clone(), &base_url),
        recovery_codes: RecoveryCodes::new(stores.database.clone(), limiter(GUESSES)),
        api_tokens: ApiTokens::new(
            stores.database.clone(),
            stores.sessions.clone(),
            limiter(api_tokens::LIMIT),
        ),
        events: SecurityEvents::new(
            stores.database.clone(),
            mailer.clone(),
            account_url,
            config.auth.provider_names(),
        ),
        mailbox,
        portfolio,
        security_contact: config.http.security_contact.clone(),
        proxies: config.http.trusted_proxies.clone(),
        auth_limit: ClientLimit::new(limiter(auth_limit))
            .wide(config.auth.rate_limit_wide, config.auth.rate_limit_widest),
        session_limit: limiter(session_limit),
        origin: OriginPolicy::new(base_url.as_str())
            .expect("the configuration has checked the base URL"),
        csrf: CsrfGuard::new(stores.keys.derive("csrf"), Session::csrf_binding)
            .visitor_cookie(visitor),
        streams: Streams::new(STREAMS_PER_USER),
        downloads: Streams::new(1),
        endpoints: router::endpoints(),
        draining: CancellationToken::new(),
        stopping: CancellationToken::new(),
        binds_devices: config.session.device_proof.is_some(),
        base_url,
        clock,
    });
    Ok((app, mailer))
}

/// Serves until the process is asked to stop.
///
/// # Errors
/// [`StartError`] with the reason why the service could not start.
pub async fn run(config: &Config, mode: Mode, demo: Option<&Demo>) -> Result<(), StartError> {
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::warn!(%error, "cannot raise the limit on open files");
    }
    let clock = Clock::system();
    let traces = config.traces.as_ref().map(trace::install).transpose()?;
    let metrics =
        config.metrics_addr.map(|addr| metrics::install().map(|collected| (addr, collected)));
    let metrics = metrics.transpose().map_err(StartError::Metrics)?;
    let stores = open_stores(config, &clock).await?;
    let (app, mailer) = assemble(config, &stores, clock)?;
    let listener = Listener::bind(&config.http.listen_addr)
        .await
        .map_err(|source| StartError::Listen { addr: config.http.listen_addr.clone(), source })?;
    if let Some((addr, collected)) = metrics {
        let listener = TcpListener::bind(addr)
            .await
            .map_err(|source| StartError::ListenMetrics { addr, source })?;
        let routes = metrics::routes(
            collected,
            stores.sessions.clone(),
            {
                let database = stores.database.clone();
                move || database.connections()
            },
            mailer.clone().map(|mailer| move || mailer.waiting()),
        );
        let serving = Serving::new(SecurityHeaders::new(), app.stopping.clone());
        tokio::spawn(serve(listener, routes, serving));
    }
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    if let Some(connection) = &stores.redis {
        RedisStore::new(connection.clone()).warn_of_eviction().await;
    }
    tracing::info!(bound = %listener, base_url = %config.http.base_url,
        version = env!("CARGO_PKG_VERSION"), "listening");
    deletion::keep_up(app.accounts(), app.magic_links.clone(), app.stopping.clone());
    if let Some(demo) = demo {
        demo::fill(demo, &app).await.map_err(StartError::Demo)?;
        println!("\n  The demo: sign in with Steam, which a page of this program stands in for.");
    }
    if mode == Mode::Dev {
        let store = &config.store;
        let sessions = match (&store.redis, store.sessions) {
            (Some(url), _) => url.to_string(),
            (None, SessionStoreKind::Postgres) => store.database.to_string(),
            (None, _) => store.data_dir.display().to_string(),
        };
        let url = &app.base_url;
        println!("\n  Tracera is ready: {url}");
        if let Some(mailbox) = &app.mailbox {
            println!("  Mails appear here and at {url}dev/mailbox?key={}", mailbox.key());
        }
        println!(
            "  Sessions are kept in {sessions}, everything else in {database}\n",
            database = store.database
        );
    }
    stop_on_signal(app.clone(), config.http.drain);
    app.portfolio.start();
    let serving = Serving {
        limits: ServeLimits {
            idle: config.http.idle_connection,
            connections_per_client: config.http.connections_per_client,
            ..ServeLimits::default()
        },
        proxies: config.http.trusted_proxies.clone(),
        proxy_protocol: config.http.proxy_protocol,
        draining: app.draining.clone(),
        ..Serving::new(app.security_headers(), app.stopping.clone())
    };
    serve(listener, router::build(&app), serving).await;
    app.portfolio.shutdown(IMPORT_DRAIN).await;
    if let Some(mailer) = mailer {
        mailer.shutdown(MAIL_DRAIN).await;
    }
    stores.database.close().await;
    if let Some(traces) = traces {
        traces.shutdown(TRACES_DRAIN).await;
    }
    tracing::info!("stopped");
    Ok(())
}

/// SIGTERM and SIGHUP drain the service and then stop it gracefully; SIGINT stops it gracefully at
/// once. A second signal ends the process.
fn stop_on_signal(app: App, drain: Duration) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hang_up)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
        signal(SignalKind::hangup()),
    ) else {
        tracing::error!("cannot listen for signals; the process will not stop gently");
        return;
    };
    tokio::spawn(async move {
        let drain = tokio::select! {
            _ = interrupt.recv() => Duration::ZERO,
            _ = terminate.recv() => drain,
            _ = hang_up.recv() => drain,
        };
        tracing::info!(?drain, "stopping; requests in flight may finish");
        app.draining.cancel();
        let second = async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hang_up.recv() => {}
            }
        };
        tokio::pin!(second);
        tokio::select! {
            () = tokio::time::sleep(drain) => app.stopping.cancel(),
            () = &mut second => std::process::exit(130),
        }
        second.await;
        std::process::exit(130);
    });
}

/// Paths whose responses are the same for visitors need no device proof.
fn device_binding(lifetime: Duration) -> DeviceBinding {
    const FOR_EVERYBODY: [&str; 7] = [
        "/assets",
        "/login",
        "/healthz",
        "/api/v1/health",
        "/api/v1/auth/csrf",
        "/api/v1/auth/me",
        "/api/v1/auth/methods",
    ];
    FOR_EVERYBODY.into_iter().fold(DeviceBinding::new(lifetime), DeviceBinding::exclude)
}
