//! The stores of sessions and users.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sqlx::postgres::PgConnectOptions;
use tracera_session::{RedisUrl, RedisUrlError};
use url::{Host, Url};

use super::Mode;
use super::address::SecretUrl;
use super::in_clear;
use super::problem::{Wrong, quoted};
use super::reader::{Read, Reader};

/// The stores of sessions and users.
#[derive(Debug)]
pub struct StoreSettings {
    /// The session store. Default: Redis if configured, else the embedded one.
    pub sessions: SessionStoreKind,
    /// Redis for sessions and rate limits. Default none: then each process counts its own limits.
    pub redis: Option<RedisUrl>,
    /// The variable it is configured by: `REDIS_URL` or `REDIS_HOST`.
    pub redis_variable: &'static str,
    /// A PEM file of root certificates that replace the public ones. Default none.
    pub redis_ca_file: Option<PathBuf>,
    /// PEM files of the client certificate and its key. Default none.
    pub redis_client: Option<(PathBuf, PathBuf)>,
    /// The prefix of every key in Redis. Default: none.
    pub redis_key_prefix: String,
    /// Number of Redis replicas that must confirm the end of a session. Default 0.
    pub replica_ack: usize,
    /// The directory of the embedded stores. Default `./data`.
    pub data_dir: PathBuf,
    /// The database for all other data. Default: the file `tracera.db` in the data directory.
    pub database: DatabaseTarget,
    /// Maximum number of connections to a database server. Default 16.
    pub database_max_connections: u32,
}

/// The kind of session store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionStoreKind {
    /// Redis, also for the rate limits.
    Redis,
    /// A file that only this process may use.
    Embedded,
    /// The `PostgreSQL` database that also has all other data.
    Postgres,
}

/// The settings of the database, sufficient for `tracera migrate`.
#[derive(Debug)]
pub struct DatabaseSettings {
    /// The directory of the embedded stores. Default `./data`.
    pub data_dir: PathBuf,
    /// The database. Default: the file `tracera.db` in the data directory.
    pub target: DatabaseTarget,
    /// Maximum number of connections to a database server. Default 16.
    pub max_connections: u32,
}

/// A relational database.
#[derive(Debug, Clone)]
pub enum DatabaseTarget {
    /// A `SQLite` file, created if missing.
    Sqlite(PathBuf),
    /// A `PostgreSQL` server.
    Postgres(SecretUrl),
}

/// The accepted parameters of a `PostgreSQL` URL, by libpq's names.
const PG_PARAMETERS: [&str; 13] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
    "statement-cache-capacity",
];

/// Aliases that the library also accepts.
const PG_ALIASES: [&str; 5] = ["ssl-mode", "ssl-root-cert", "ssl-ca", "ssl-cert", "ssl-key"];

impl fmt::Display for SessionStoreKind {
    /// Formats it as in `SESSION_STORE`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Redis => "redis",
            Self::Embedded => "embedded",
            Self::Postgres => "postgres",
        })
    }
}

impl fmt::Display for DatabaseTarget {
    /// Formats it as a URL, without credentials and parameters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite://{}", path.display()),
            Self::Postgres(url) => url.fmt(f),
        }
    }
}

pub(super) fn read(reader: &mut Reader<'_>) -> Read<StoreSettings> {
    let redis = read_redis(reader);
    let kind = reader.optional("SESSION_STORE", parse_kind);
    let replica_ack = reader.number("SESSION_REPLICA_ACK", 0..=10);
    let database = read_database(reader);
    let (redis, kind, replica_ack, database) = (redis?, kind?, replica_ack?, database?);
    let (sessions, redis) = choose(reader, kind, redis, &database.target)?;
    let redis_ca_file = read_ca_file(reader, redis.as_ref())?;
    let redis_client = read_client_certificate(reader, redis.as_ref())?;
    let redis_key_prefix =
        reader.optional("REDIS_KEY_PREFIX", parse_key_prefix)?.unwrap_or_default();
    if redis.is_none() && replica_ack > 0 {
        let wrong = Wrong::new("is set without Redis", "set REDIS_URL too, or leave it out");
        return Err(reader.refuse("SESSION_REPLICA_ACK", wrong));
    }
    if reader.mode == Mode::Serve && sessions == SessionStoreKind::Embedded {
        let text =
            "is not set: sessions and rate limits live in this process, which must be the only one";
        reader.warn("REDIS_URL", text);
    }
    let DatabaseSettings { data_dir, target: database, max_connections } = database;
    let redis_variable = redis_variable(reader);
    warn_of_passwords_in_clear(reader, redis.as_ref(), redis_variable, &database);
    Ok(StoreSettings {
        sessions,
        redis,
        redis_variable,
        redis_ca_file,
        redis_client,
        redis_key_prefix,
        replica_ack,
        data_dir,
        database,
        database_max_connections: max_connections,
    })
}

fn parse_kind(value: &str) -> Result<SessionStoreKind, Wrong> {
    match value {
        "redis" => Ok(SessionStoreKind::Redis),
        "embedded" => Ok(SessionStoreKind::Embedded),
        "postgres" => Ok(SessionStoreKind::Postgres),
        _ => {
            let what = format!("is {}", quoted(value));
            Err(Wrong::new(what, "write redis, embedded or postgres"))
        }
    }
}

/// Chooses the session store, and Redis if that is used.
fn choose(
    reader: &mut Reader<'_>,
    kind: Option<SessionStoreKind>,
    redis: Option<RedisUrl>,
    database: &DatabaseTarget,
) -> Read<(SessionStoreKind, Option<RedisUrl>)> {
    use SessionStoreKind::{Embedded, Postgres, Redis};
    let refusal = match (kind, &redis, database) {
        (Some(Redis), None, _) => {
            ("is redis, and no Redis is configured", "set REDIS_URL, or leave SESSION_STORE out")
        }
        (Some(Postgres), _, DatabaseTarget::Sqlite(_)) => {
            ("is postgres, and DATABASE_URL is not", "set DATABASE_URL to a postgres:// URL")
        }
        (None, Some(_), _) | (Some(Redis), ..) => return Ok((Redis, redis)),
        (None | Some(Embedded), None, _) => return Ok((Embedded, None)),
        (Some(Postgres), None, _) => return Ok((Postgres, None)),
        (Some(kind @ (Embedded | Postgres)), Some(_), _) => {
            let text = format!("is not used, because SESSION_STORE is {kind}");
            let variable = redis_variable(reader);
            reader.warn(variable, text);
            return Ok((kind, None));
        }
    };
    Err(reader.refuse("SESSION_STORE", Wrong::new(refusal.0, refusal.1)))
}

fn redis_variable(reader: &Reader<'_>) -> &'static str {
    if reader.given("REDIS_URL").is_some() { "REDIS_URL" } else { "REDIS_HOST" }
}

pub(super) fn read_database(reader: &mut Reader<'_>) -> Read<DatabaseSettings> {
    let data_dir = reader.read("DATA_DIR", parse_directory);
    let target = reader.optional("DATABASE_URL", parse_database_url);
    let max_connections = reader.number("DATABASE_MAX_CONNECTIONS", 1..=1000);
    let (data_dir, target, max_connections) = (data_dir?, target?, max_connections?);
    let target = target.unwrap_or_else(|| DatabaseTarget::Sqlite(data_dir.join("tracera.db")));
    Ok(DatabaseSettings { data_dir, target, max_connections })
}

/// This is only a warning: a tunnel that protects the connection is not visible here.
fn warn_of_passwords_in_clear(
    reader: &mut Reader<'_>,
    redis: Option<&RedisUrl>,
    redis_variable: &str,
    database: &DatabaseTarget,
) {
    if redis.is_some_and(in_clear::redis) {
        let (name, text) = if redis_variable == "REDIS_URL" {
            (
                "REDIS_URL",
                "has a password, which crosses the network unencrypted: write rediss (or valkeys) \
                 for TLS",
            )
        } else {
            (
                "REDIS_PASSWORD",
                "crosses the network unencrypted: set REDIS_URL to a rediss URL for TLS",
            )
        };
        reader.warn(name, text);
    }
    if let DatabaseTarget::Postgres(url) = database
        && in_clear::postgres(url.expose())
    {
        let text = "has a password, which may cross the network unencrypted: add \
                    sslmode=verify-full for TLS";
        reader.warn("DATABASE_URL", text);
    }
}

fn read_ca_file(reader: &mut Reader<'_>, redis: Option<&RedisUrl>) -> Read<Option<PathBuf>> {
    let file = reader.given("REDIS_CA_FILE");
    match redis {
        Some(url) if file.is_some() && !url.is_tls() => {
            let wrong =
                Wrong::new("is set for a connection without TLS", "write rediss in REDIS_URL");
            Err(reader.refuse("REDIS_CA_FILE", wrong))
        }
        None if file.is_some() => {
            reader.warn("REDIS_CA_FILE", "has no effect without REDIS_URL");
            Ok(None)
        }
        _ => Ok(file.map(PathBuf::from)),
    }
}

fn read_client_certificate(
    reader: &mut Reader<'_>,
    redis: Option<&RedisUrl>,
) -> Read<Option<(PathBuf, PathBuf)>> {
    let files = reader.pair("REDIS_CERT_FILE", "REDIS_KEY_FILE")?;
    match redis {
        Some(url) if files.is_some() && !url.is_tls() => {
            let wrong =
                Wrong::new("is set for a connection without TLS", "write rediss in REDIS_URL");
            Err(reader.refuse("REDIS_CERT_FILE", wrong))
        }
        None if files.is_some() => {
            reader.warn("REDIS_CERT_FILE", "has no effect without REDIS_URL");
            Ok(None)
        }
        _ => Ok(files.map(|(certificate, key)| (certificate.into(), key.into()))),
    }
}

/// Braces are excluded: they would decide which cluster node has a key.
fn parse_key_prefix(value: &str) -> Result<String, Wrong> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/".contains(&byte);
    if value.len() <= 64 && value.bytes().all(plain) {
        return Ok(value.to_owned());
    }
    let what = format!("is {}", quoted(value));
    Err(Wrong::new(what, "write up to 64 letters, digits and -_.:/, such as staging:"))
}

fn parse_directory(value: &str) -> Result<PathBuf, Wrong> {
    if value.contains('\0') || value.contains("://") {
        return Err(Wrong::new(format!("is {}", quoted(value)), "write the path of a directory"));
    }
    Ok(PathBuf::from(value))
}

fn read_redis(reader: &mut Reader<'_>) -> Read<Option<RedisUrl>> {
    let url = reader.optional("REDIS_URL", parse_redis_url);
    let host = reader.optional("REDIS_HOST", parse_host);
    let port = read_redis_port(reader);
    let database = reader.number::<u16>("REDIS_DB", 0..=65_535);
    let (url, host, port, database) = (url?, host?, port?, database?);
    for part in ["REDIS_HOST", "REDIS_PASSWORD", "REDIS_DB"] {
        if url.is_some() && reader.given(part).is_some() {
            reader.warn(part, "is not used, because REDIS_URL is set");
        }
    }
    if url.is_none() && host.is_none() && reader.given("REDIS_PASSWORD").is_some() {
        let wrong = Wrong::new("is set without REDIS_HOST", "set REDIS_HOST or REDIS_URL too");
        return Err(reader.refuse("REDIS_PASSWORD", wrong));
    }
    let Some(host) = host.filter(|_| url.is_none()) else { return Ok(url) };
    let credentials = reader.given("REDIS_PASSWORD").map_or_else(String::new, |password| {
        format!(":{}@", utf8_percent_encode(password, NON_ALPHANUMERIC))
    });
    // Rejects values that are well-formed but not a host, such as 0.0.0.0.
    RedisUrl::parse(&format!("redis://{credentials}{host}:{port}/{database}")).map(Some).map_err(
        |_| {
            let wrong = Wrong::new("is no host to connect to", "write the address of the server");
            reader.refuse("REDIS_HOST", wrong)
        },
    )
}

fn read_redis_port(reader: &mut Reader<'_>) -> Read<u16> {
    if reader.given("REDIS_PORT").is_some_and(|port| port.starts_with("tcp://")) {
        if reader.given("REDIS_URL").is_some() || reader.given("REDIS_HOST").is_none() {
            reader.warn("REDIS_PORT", "is not used");
            return Ok(0);
        }
        let what = "is an address: Kubernetes sets it for a service named redis";
        let remedy = "set enableServiceLinks: false in the pod, or REDIS_PORT yourself";
        return Err(reader.refuse("REDIS_PORT", Wrong::new(what, remedy)));
    }
    reader.number("REDIS_PORT", 1..=65_535)
}

/// Parses a host into the form used in URLs.
fn parse_host(value: &str) -> Result<String, Wrong> {
    if let Ok(IpAddr::V6(address)) = value.parse() {
        return Ok(format!("[{address}]"));
    }
    let remedy = "write a host name or an IP address, without scheme and port";
    let host =
        Host::parse(value).map_err(|_| Wrong::new(format!("is {}", quoted(value)), remedy))?;
    Ok(host.to_string())
}

fn parse_redis_url(value: &str) -> Result<RedisUrl, Wrong> {
    RedisUrl::parse(value).map_err(|error| match error {
        RedisUrlError::Scheme => Wrong::new(
            "has no scheme of Redis",
            "write a redis, rediss, redis+sentinel, redis+cluster or redis+unix URL (or valkey in \
             place of redis)",
        ),
        RedisUrlError::Fragment => Wrong::new(
            "has a part behind a #",
            "leave it out, or write %23 for a # in the password",
        ),
        // The name is omitted: it may be the rest of a password that contains an `&`.
        RedisUrlError::Parameter => Wrong::new(
            "has a parameter that is not known",
            "percent-encode the values; known are sentinel_username and sentinel_password",
        ),
        RedisUrlError::SentinelUser => {
            Wrong::new("has a user for Sentinels and no password", "add sentinel_password")
        }
        RedisUrlError::Hosts => {
            Wrong::new("lists several hosts", "use redis+sentinel or redis+cluster for several")
        }
        RedisUrlError::ClusterDatabase => {
            Wrong::new("names a database", "leave it out: a cluster has only 0")
        }
        RedisUrlError::Database => Wrong::new(
            "names a database that no server has",
            "write a number from 0 to 65535, as the server's databases setting allows",
        ),
        _ => Wrong::new(
            "is malformed",
            "check host, port, database, and that special characters in the password are \
             percent-encoded",
        ),
    })
}

fn parse_database_url(value: &str) -> Result<DatabaseTarget, Wrong> {
    if let Some(rest) = value.strip_prefix("sqlite:") {
        return parse_sqlite_path(rest.strip_prefix("//").unwrap_or(rest))
            .map(DatabaseTarget::Sqlite);
    }
    if !value.starts_with("postgres://") && !value.starts_with("postgresql://") {
        return Err(Wrong::new(
            "is for no database we know",
            "write sqlite://path or a postgres:// URL",
        ));
    }
    let remedy = "write postgres://user:password@host/database, special characters in the \
                  password percent-encoded";
    let value = &*with_host(value);
    match Url::parse(value) {
        Ok(url) if url.host_str().is_none_or(str::is_empty) && !names_socket(&url) => {
            let remedy = "write postgres://user:password@host/database, or ?host=/run/postgresql \
                          for a local socket";
            Err(Wrong::new("has no host", remedy))
        }
        Ok(url) if url.path().len() < 2 => Err(Wrong::new("names no database", remedy)),
        Ok(url) => match url.query_pairs().find(|(name, _)| !is_parameter(name)) {
            Some((name, _)) if name == "channel_binding" => Err(Wrong::new(
                "asks for channel binding, which is not spoken here",
                "leave channel_binding out, and write sslmode=verify-full to know the server",
            )),
            Some((name, _)) => {
                let remedy = format!("leave it out; known are {}", PG_PARAMETERS.join(", "));
                Err(Wrong::new(
                    format!("has a parameter {}, which is not known", quoted(&name)),
                    remedy,
                ))
            }
            None if value.parse::<PgConnectOptions>().is_err() => {
                let remedy = "check them; sslmode is disable, allow, prefer, require, verify-ca \
                              or verify-full";
                Err(Wrong::new("has parameters that cannot be read", remedy))
            }
            None => Ok(DatabaseTarget::Postgres(SecretUrl::new(value))),
        },
        Err(error) => Err(Wrong::new(format!("is malformed ({error})"), remedy)),
    }
}

/// Cloud providers write `user:password@/database?host=/cloudsql/…`. Without a host, that is not a
/// valid URL.
fn with_host(url: &str) -> Cow<'_, str> {
    let begin = url.find("://").map_or(0, |at| at + 3);
    match url[begin..].find('/') {
        Some(slash) if url[begin..begin + slash].ends_with('@') => {
            let (credentials, rest) = url.split_at(begin + slash);
            Cow::Owned(format!("{credentials}localhost{rest}"))
        }
        _ => Cow::Borrowed(url),
    }
}

/// The library logs unknown parameters with their values and ignores them. So they are refused
/// here.
fn is_parameter(name: &str) -> bool {
    PG_PARAMETERS.contains(&name)
        || PG_ALIASES.contains(&name)
        || name.starts_with("options[") && name.ends_with(']')
}

/// Whether a parameter names the directory of a Unix socket, as in libpq.
fn names_socket(url: &Url) -> bool {
    url.query_pairs().any(|(name, value)| name == "host" && value.starts_with('/'))
}

fn parse_sqlite_path(rest: &str) -> Result<PathBuf, Wrong> {
    let remedy = "write sqlite:// and the path of a file, such as sqlite://data/tracera.db";
    // `?mode=rwc` is common and has no effect here: the file is created if missing anyway.
    let path = rest.strip_suffix("?mode=rwc").unwrap_or(rest);
    if path.contains('?') {
        let remedy =
            "leave out the ? and what follows: the file is read and written, and made when missing";
        return Err(Wrong::new("has parameters that a file cannot have here", remedy));
    }
    let path =
        percent_decode_str(path).decode_utf8().map_err(|_| Wrong::new("is no UTF-8", remedy))?;
    if path.is_empty() || path.ends_with('/') || path.contains(":memory:") || path.contains('\0') {
        return Err(Wrong::new("names no file", remedy));
    }
    Ok(Path::new(path.as_ref()).to_owned())
}
