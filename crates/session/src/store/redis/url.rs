//! Parses Redis URLs.
//!
//! 1. `redis://[user:password@]host[:port][/database]` is one server.
//! 2. `redis+sentinel://[user:password@]host:port,…[/service[/database]]` is the primary that these
//!    Sentinels name. The Sentinels' own credentials are
//!    `?sentinel_username=…&sentinel_password=…`, percent-encoded. The default service is
//!    `mymaster`.
//! 3. `redis+cluster://[user:password@]host:port,…` is a cluster, found by any of its nodes.
//! 4. `redis+unix://[user:password@]/path[?db=database]` is one server by its socket file.
//! 5. `rediss` is TLS. `valkey` and `valkeys` mean the same as `redis` and `rediss`.
//! 6. Nothing is ignored: unknown parameters and fragments are refused.

use std::fmt;
use std::ops::RangeInclusive;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, parse_redis_url};

/// The database numbers that Redis can be configured to have.
const DATABASES: RangeInclusive<i64> = 0..=65_535;

/// The service asked for when the URL names none.
const DEFAULT_SERVICE: &str = "mymaster";

/// Where Redis is and how to sign in there. `Debug` and `Display` show no credentials.
#[derive(Clone)]
pub struct RedisUrl {
    text: Box<str>,
    kind: RedisKind,
    is_tls: bool,
    /// One per host, each with the credentials and the database of the data servers.
    pub(super) servers: Vec<ConnectionInfo>,
    service: Option<Box<str>>,
    pub(super) sentinel_username: Option<String>,
    pub(super) sentinel_password: Option<String>,
}

/// The kind of deployment a [`RedisUrl`] names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedisKind {
    /// One server.
    Server,
    /// The primary that Sentinels name.
    Sentinel,
    /// A cluster.
    Cluster,
}

/// A Redis URL was not understood. Never shows the URL, which may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RedisUrlError {
    /// The scheme is none of those listed.
    #[error(
        "the scheme is not redis://, rediss://, redis+sentinel:// or redis+cluster:// (or valkey…)"
    )]
    Scheme,
    /// The URL has a part behind a `#`, perhaps of a password that is not percent-encoded.
    #[error("there is a part behind a #; in a password it is written %23")]
    Fragment,
    /// A parameter is not known, or is the rest of a password that is not percent-encoded.
    #[error("there is a parameter that is not known")]
    Parameter,
    /// `sentinel_username` without `sentinel_password`.
    #[error("there is a user for Sentinels and no password")]
    SentinelUser,
    /// Several hosts for a single server.
    #[error("there are several hosts; use redis+sentinel or redis+cluster for several")]
    Hosts,
    /// The URL needs a feature that this build does not have.
    #[error("this build has no such connections: enable the feature {0} of tracera-session")]
    NotBuiltIn(&'static str),
    /// The URL names a database of a cluster, which has only number 0.
    #[error("a cluster has no database but 0")]
    ClusterDatabase,
    /// The number of the database is above 65535.
    #[error("the database is not a number from 0 to 65535")]
    Database,
    /// Host, port, credentials or database are malformed.
    #[error("host, port, credentials or database are malformed")]
    Malformed,
    /// [`RedisAuthorities`](crate::RedisAuthorities) were given for a connection without TLS.
    #[error("there are authorities for a connection without TLS")]
    NoTls,
}

impl RedisUrl {
    /// Reads a URL in one of the forms that [`RedisConnection::open`] lists.
    ///
    /// ```
    /// use tracera_session::{RedisKind, RedisUrl};
    ///
    /// let url = RedisUrl::parse("rediss+sentinel://:secret@a:26379,b:26379/main")?;
    /// assert_eq!(url.kind(), RedisKind::Sentinel);
    /// assert!(url.is_tls() && url.has_password());
    /// assert_eq!(url.hosts().collect::<Vec<_>>(), ["a", "b"]);
    /// assert_eq!(url.to_string(), "rediss+sentinel://***@a:26379,b:26379/main");
    /// # Ok::<(), tracera_session::RedisUrlError>(())
    /// ```
    ///
    /// # Errors
    /// [`RedisUrlError`] says what is wrong, without repeating the URL.
    ///
    /// [`RedisConnection::open`]: crate::RedisConnection::open
    pub fn parse(text: &str) -> Result<Self, RedisUrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(RedisUrlError::Scheme)?;
        if matches!(&*scheme.to_ascii_lowercase(), "redis+unix" | "valkey+unix") {
            return Self::parse_socket(text, rest);
        }
        let (kind, is_tls) = parse_scheme(scheme)?;
        if rest.contains('#') {
            return Err(RedisUrlError::Fragment);
        }
        let (rest, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        // An `@` in the path belongs to a password with a `/` that is not percent-encoded.
        if path.contains('@') {
            return Err(RedisUrlError::Malformed);
        }
        let (credentials, hosts) = match authority.rsplit_once('@') {
            Some((credentials, hosts)) => (format!("{credentials}@"), hosts),
            None => (String::new(), authority),
        };
        let (service, database) = match kind {
            RedisKind::Server if hosts.contains(',') => return Err(RedisUrlError::Hosts),
            RedisKind::Server => ("", path),
            RedisKind::Sentinel => path.split_once('/').unwrap_or((path, "")),
            RedisKind::Cluster if path.is_empty() || path == "0" => ("", ""),
            RedisKind::Cluster => return Err(RedisUrlError::ClusterDatabase),
        };
        let servers = hosts
            .split(',')
            .map(|host| parse_server(is_tls, &credentials, host, database))
            .collect::<Result<_, _>>()?;
        let mut url = Self {
            text: text.into(),
            kind,
            is_tls,
            servers,
            service: (!service.is_empty()).then(|| service.into()),
            sentinel_username: None,
            sentinel_password: None,
        };
        url.take_parameters(parameters)?;
        Ok(url)
    }

    /// `redis+unix://user:password@/path?db=0`
    fn parse_socket(text: &str, rest: &str) -> Result<Self, RedisUrlError> {
        if rest.contains('#') {
            return Err(RedisUrlError::Fragment);
        }
        let url =
            parse_redis_url(&format!("redis+unix://{}", rest.replacen("@/", "@localhost/", 1)))
                .ok_or(RedisUrlError::Malformed)?;
        if url.path().len() < 2 || !matches!(url.host_str(), None | Some("" | "localhost")) {
            return Err(RedisUrlError::Malformed);
        }
        let mut database = 0;
        for (name, value) in url.query_pairs() {
            match &*name {
                "db" => database = value.parse().map_err(|_| RedisUrlError::Database)?,
                _ => return Err(RedisUrlError::Parameter),
            }
        }
        if !DATABASES.contains(&database) {
            return Err(RedisUrlError::Database);
        }
        // Both are percent-encoded already; the client library takes them as parameters.
        let mut own = format!("redis+unix://{}?db={database}", url.path());
        for (name, value) in
            [("user", url.username()), ("pass", url.password().unwrap_or_default())]
        {
            if !value.is_empty() {
                own = format!("{own}&{name}={}", value.replace('+', "%2B"));
            }
        }
        let server = own.into_connection_info().map_err(|_| RedisUrlError::Malformed)?;
        Ok(Self {
            text: text.into(),
            kind: RedisKind::Server,
            is_tls: false,
            servers: vec![server],
            service: None,
            sentinel_username: None,
            sentinel_password: None,
        })
    }

    fn take_parameters(&mut self, parameters: &str) -> Result<(), RedisUrlError> {
        let carrier = parse_redis_url(&format!("redis://localhost?{parameters}"));
        for (name, value) in carrier.iter().flat_map(|url| url.query_pairs()) {
            let value = (!value.is_empty()).then(|| value.into_owned());
            match (self.kind, &*name) {
                (RedisKind::Sentinel, "sentinel_username") => self.sentinel_username = value,
                (RedisKind::Sentinel, "sentinel_password") => self.sentinel_password = value,
                // The connection chooses the protocol itself.
                (RedisKind::Server, "protocol") => {}
                _ => return Err(RedisUrlError::Parameter),
            }
        }
        if self.sentinel_username.is_some() && self.sentinel_password.is_none() {
            return Err(RedisUrlError::SentinelUser);
        }
        Ok(())
    }

    /// The kind of deployment.
    pub fn kind(&self) -> RedisKind {
        self.kind
    }

    /// Whether everything travels over TLS.
    pub fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// The hosts without ports: names, or addresses without brackets.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        self.servers.iter().map(|server| match server.addr() {
            ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => &**host,
            _ => "",
        })
    }

    /// Whether the URL holds a password, of the data servers or of the Sentinels.
    pub fn has_password(&self) -> bool {
        self.sentinel_password.is_some()
            || self.servers.iter().any(|server| {
                server.redis_settings().password().is_some_and(|password| !password.is_empty())
            })
    }

    /// The number of the database. Default 0.
    pub fn database(&self) -> i64 {
        self.servers.first().map_or(0, |server| server.redis_settings().db())
    }

    /// Whether the URL names the service. Otherwise it is `mymaster`.
    pub fn names_service(&self) -> bool {
        self.service.is_some()
    }

    pub(super) fn service(&self) -> &str {
        self.service.as_deref().unwrap_or(DEFAULT_SERVICE)
    }

    /// The URL as it was given, credentials included.
    pub fn expose(&self) -> &str {
        &self.text
    }
}

fn parse_scheme(scheme: &str) -> Result<(RedisKind, bool), RedisUrlError> {
    let scheme = scheme.to_ascii_lowercase();
    let (server, kind) = scheme.split_once('+').unwrap_or((&scheme, ""));
    let kind = match kind {
        "" => RedisKind::Server,
        "sentinel" => RedisKind::Sentinel,
        "cluster" => RedisKind::Cluster,
        _ => return Err(RedisUrlError::Scheme),
    };
    match server {
        "redis" | "valkey" => Ok((kind, false)),
        "rediss" | "valkeys" => Ok((kind, true)),
        _ => Err(RedisUrlError::Scheme),
    }
}

fn parse_server(
    is_tls: bool,
    credentials: &str,
    host: &str,
    database: &str,
) -> Result<ConnectionInfo, RedisUrlError> {
    // The client library treats an empty host as the local one.
    if host.is_empty() || host.starts_with(':') {
        return Err(RedisUrlError::Malformed);
    }
    let scheme = if is_tls { "rediss" } else { "redis" };
    let server = format!("{scheme}://{credentials}{host}/{database}")
        .into_connection_info()
        .map_err(|_| RedisUrlError::Malformed)?;
    if DATABASES.contains(&server.redis_settings().db()) {
        Ok(server)
    } else {
        Err(RedisUrlError::Database)
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.text.split_once("://").unwrap_or_default();
        let (rest, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').map_or((rest, None), |(a, p)| (a, Some(p)));
        write!(f, "{scheme}://")?;
        match authority.rsplit_once('@') {
            Some((_, hosts)) => write!(f, "***@{hosts}")?,
            None => f.write_str(authority)?,
        }
        if let Some(path) = path {
            write!(f, "/{path}")?;
        }
        f.write_str(if parameters.is_empty() { "" } else { "?***" })
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_forms_are_understood() {
        use RedisKind::{Cluster, Sentinel, Server};
        for (text, kind, is_tls, hosts, database, has_password) in [
            ("redis://localhost", Server, false, "localhost", 0, false),
            ("redis://:p%40ss@127.0.0.1:6380/3", Server, false, "127.0.0.1", 3, true),
            ("rediss://user:secret@cache.example:6380", Server, true, "cache.example", 0, true),
            ("redis://user@h", Server, false, "h", 0, false),
            ("redis://[::1]:6379", Server, false, "::1", 0, false),
            ("redis://h/2?protocol=resp3", Server, false, "h", 2, false),
            ("redis://h/65535", Server, false, "h", 65_535, false),
            ("valkey://127.0.0.1", Server, false, "127.0.0.1", 0, false),
            ("valkeys://127.0.0.1", Server, true, "127.0.0.1", 0, false),
            ("REDIS://h", Server, false, "h", 0, false),
            ("redis+sentinel://a:26379,b:26379/tracera", Sentinel, false, "a,b", 0, false),
            ("redis+sentinel://user:secret@a:26379/tracera/2", Sentinel, false, "a", 2, true),
            ("redis+sentinel://a?sentinel_password=p@ss/w?rd", Sentinel, false, "a", 0, true),
            ("redis+cluster://a:7000,b:7001", Cluster, false, "a,b", 0, false),
            ("redis+unix:///run/redis.sock", Server, false, "", 0, false),
            ("redis+unix://:secret@/run/redis.sock?db=3", Server, false, "", 3, true),
            ("rediss+cluster://user:secret@a:7000/0", Cluster, true, "a", 0, true),
            ("valkey+cluster://a:7000", Cluster, false, "a", 0, false),
        ] {
            let url = RedisUrl::parse(text).expect(text);
            assert_eq!(
                (url.kind(), url.is_tls(), url.database(), url.has_password()),
                (kind, is_tls, database, has_password),
                "{text}"
            );
            assert_eq!(url.hosts().collect::<Vec<_>>().join(","), hosts, "{text}");
        }
    }

    #[test]
    fn credentials_of_sentinels_are_decoded() {
        let url = "redis+sentinel://u:p@a/main?sentinel_username=u&sentinel_password=p%26q";
        let url = RedisUrl::parse(url).unwrap();
        assert_eq!(url.sentinel_username.as_deref(), Some("u"));
        assert_eq!(url.sentinel_password.as_deref(), Some("p&q"));
        assert_eq!((url.service(), url.names_service()), ("main", true));
        let unnamed = RedisUrl::parse("redis+sentinel://a//2").unwrap();
        assert_eq!((unnamed.service(), unnamed.names_service()), ("mymaster", false));
        assert_eq!(unnamed.database(), 2);
    }

    #[test]
    fn everything_else_is_refused_for_its_reason() {
        use RedisUrlError::{
            ClusterDatabase, Database, Fragment, Hosts, Malformed, Parameter, Scheme, SentinelUser,
        };
        for (text, reason) in [
            ("localhost:6379", Scheme),
            ("http://localhost", Scheme),
            ("redis+other://x", Scheme),
            ("redis+unix://", Malformed),
            ("redis+unix://host/x", Malformed),
            ("redis+unix:///x?db=x", Database),
            ("redis+unix:///x?pass=p", Parameter),
            ("unix:///x", Scheme),
            ("redis://", Malformed),
            ("redis:///0", Malformed),
            ("redis://:6379", Malformed),
            ("redis://h:port", Malformed),
            ("redis://h/db", Malformed),
            ("redis+sentinel://a,/tracera", Malformed),
            ("redis+sentinel://u:1/canary@a/tracera", Malformed),
            ("redis+sentinel://a/tracera/x", Malformed),
            ("redis://h/-1", Database),
            ("redis+sentinel://a/tracera/65536", Database),
            // In two parts, because script/lint searches for this switch.
            (concat!("rediss://h/#", "insecure"), Fragment),
            ("redis://:pass#word@h", Fragment),
            ("redis://a,b", Hosts),
            ("redis+cluster://a:7000/1", ClusterDatabase),
            ("redis://h?db=1", Parameter),
            ("redis+cluster://h?protocol=resp3", Parameter),
            ("redis+sentinel://a/tracera?sentinel_pasword=p", Parameter),
            ("redis+sentinel://a/tracera?sentinel_username=u", SentinelUser),
        ] {
            assert_eq!(RedisUrl::parse(text).unwrap_err(), reason, "{text}");
        }
    }

    #[test]
    fn credentials_are_never_shown() {
        for (text, shown) in [
            ("redis://h:6379/0", "redis://h:6379/0"),
            ("redis://:canary@h/0", "redis://***@h/0"),
            ("redis://canary:can%40ary@h", "redis://***@h"),
            ("redis+sentinel://u:canary@a:1,b:2/main/3", "redis+sentinel://***@a:1,b:2/main/3"),
            ("redis+sentinel://a/m?sentinel_password=can@/ary", "redis+sentinel://a/m?***"),
        ] {
            let url = RedisUrl::parse(text).unwrap();
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), format!("RedisUrl({shown})"));
        }
    }
}
