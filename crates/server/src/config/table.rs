//! The table of all variables.

use Fallback::{Derived, Required, Unset, Value};

/// The variables of one concern, in display order.
#[derive(Debug)]
pub struct Section {
    /// The title of the section.
    pub title: &'static str,
    /// The variables.
    pub variables: &'static [Variable],
}

/// One environment variable.
#[derive(Debug)]
pub struct Variable {
    /// The name.
    pub name: &'static str,
    /// How much of its value may be shown.
    pub exposure: Exposure,
    /// The effect if it is not set.
    pub fallback: Fallback,
    /// The unit or form of the value.
    pub unit: &'static str,
    /// A sentence that describes it.
    pub help: &'static str,
}

/// How much of a value may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposure {
    /// The whole value.
    Public,
    /// A URL without its credentials and parameters.
    Url,
    /// Only its length.
    Secret,
}

/// The effect if a variable is not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// This value is used.
    Value(&'static str),
    /// The value depends on other settings, as described.
    Derived(&'static str),
    /// The feature is off, or the value is empty.
    Unset,
    /// The server does not start.
    Required,
}

/// All variables, by section.
pub fn sections() -> &'static [Section] {
    SECTIONS
}

/// All variables.
pub(super) fn variables() -> impl Iterator<Item = &'static Variable> {
    SECTIONS.iter().flat_map(|section| section.variables)
}

/// The row of a variable that is in the table.
pub(super) fn variable(name: &str) -> &'static Variable {
    variables()
        .find(|row| row.name == name)
        .expect("every variable that is read stands in the table")
}

const fn public(
    name: &'static str,
    fallback: Fallback,
    unit: &'static str,
    help: &'static str,
) -> Variable {
    Variable { name, exposure: Exposure::Public, fallback, unit, help }
}

const fn url(
    name: &'static str,
    fallback: Fallback,
    unit: &'static str,
    help: &'static str,
) -> Variable {
    Variable { name, exposure: Exposure::Url, fallback, unit, help }
}

const fn secret(
    name: &'static str,
    fallback: Fallback,
    unit: &'static str,
    help: &'static str,
) -> Variable {
    Variable { name, exposure: Exposure::Secret, fallback, unit, help }
}

#[rustfmt::skip]
static SECTIONS: &[Section] = &[
    Section { title: "Sessions", variables: &[
        secret("SESSION_SECRET", Required, "at least 32 bytes",
            "Signs session cookies; make one with `tracera secret`."),
        secret("SESSION_SECRET_PREVIOUS", Unset, "comma-separated secrets, at most 8",
            "Other secrets accepted, older ones or the next, so that changing the secret signs \
                nobody out."),
        public("SESSION_LIFETIME_HOURS", Value("72"), "hours, 1 to 8760",
            "How long a session lasts at most."),
        public("SESSION_IDLE_MINUTES", Value("0"), "minutes, 0 to 525600; 0 is off",
            "How long a session lasts without a request; the earlier limit wins."),
        public("SESSION_MAX_PER_USER", Value("100"), "sessions, 1 to 1000",
            "How many sessions one user may have at once."),
        public("SESSION_STORE", Derived("redis when Redis is set, else embedded"),
            "redis, embedded or postgres",
            "Where sessions live: in Redis, in this process alone, or in the PostgreSQL of \
                DATABASE_URL."),
        public("SESSION_NEAR_CACHE", Value("on"), "on or off",
            "Whether live sessions are kept in memory, dropped the moment the store tells of a \
                change."),
        public("SESSION_REPLICA_ACK", Value("0"), "replicas, 0 to 10; 0 is off",
            "How many replicas of Redis must have a sign-out or revocation before it counts as \
                done."),
        public("SESSION_COOKIE_SECURE", Derived("true when BASE_URL is https"),
            "true, false or auto",
            "Whether browsers send the session cookie over HTTPS only."),
        public("SESSION_COOKIE_NAME",
            Derived("__Host-session when the cookie is secure, else session"),
            "letters, digits, -, _ and .; __Host- or __Secure- before them",
            "Name of the session cookie, for a host that has another application's too."),
        public("SESSION_DEVICE_BINDING", Value("auto"), "auto or off",
            "Whether browsers that can prove their device are asked to, where the cookie is \
                secure."),
        public("DEVICE_PROOF_SECONDS", Value("600"), "seconds, 300 to 3600",
            "How long such a proof lasts before the browser is asked for the next."),
    ]},
    Section { title: "HTTP", variables: &[
        public("BASE_URL", Value("http://localhost:8080"), "origin, http or https",
            "Public address; every link, redirect and origin check comes from it."),
        public("LISTEN_ADDR", Value("127.0.0.1:8080"), "IP address and port, or unix:/path",
            "Socket the server listens on, unless systemd hands one over (LISTEN_FDS)."),
        public("IDLE_CONNECTION_SECONDS", Value("130"), "seconds, 1 to 3600",
            "How long a connection waits for its next request; longer than proxies keep theirs."),
        public("DRAIN_SECONDS", Value("0"), "seconds, 0 to 300",
            "How long to go on listening, unhealthy, after SIGTERM or SIGHUP."),
        public("MAX_CONNECTIONS_PER_CLIENT", Value("200"), "connections, 1 to 20000",
            "Open connections of an IPv4 address or IPv6 /64; trusted proxies may have more."),
        public("PROXY_PROTOCOL", Value("off"), "on or off",
            "Whether TRUSTED_PROXIES begin connections with the PROXY protocol, version 1 or 2."),
        public("TRUSTED_PROXIES", Unset, "comma-separated CIDRs",
            "Proxies that are believed whom they speak for."),
        public("TRUSTED_PROXY_HEADER", Value("x-forwarded-for"), "x-forwarded-for or forwarded",
            "The one header in which TRUSTED_PROXIES name their client."),
        public("REQUEST_TIMEOUT_SECONDS", Value("30"), "seconds, 1 to 300",
            "How long a request may take."),
        public("SECURITY_CONTACT", Unset, "mailto: or https address",
            "Whom to tell of a weakness, in /.well-known/security.txt."),
    ]},
    Section { title: "Stores", variables: &[
        url("REDIS_URL", Derived("built from REDIS_HOST"),
            "redis, rediss, redis+sentinel or redis+cluster URL",
            "Where sessions and rate limits live; without it embedded in this process."),
        public("REDIS_CA_FILE", Unset, "PEM file",
            "Root certificates Redis may use, Sentinels and cluster nodes too, in place of the \
                public ones."),
        public("REDIS_CERT_FILE", Unset, "PEM file",
            "Certificate to show to Redis, where it asks for one."),
        public("REDIS_KEY_FILE", Unset, "PEM file",
            "Private key of REDIS_CERT_FILE."),
        public("REDIS_KEY_PREFIX", Unset, "text, up to 64 characters",
            "Stands before every key, for several deployments in one Redis."),
        public("REDIS_HOST", Unset, "host name or IP address",
            "Redis server, when REDIS_URL is not used."),
        public("REDIS_PORT", Value("6379"), "port, 1 to 65535",
            "Port of REDIS_HOST."),
        secret("REDIS_PASSWORD", Unset, "text",
            "Password of REDIS_HOST."),
        public("REDIS_DB", Value("0"), "database number, 0 to 65535",
            "Database of REDIS_HOST."),
        public("DATA_DIR", Value("./data"), "directory",
            "Where the embedded stores live."),
        url("DATABASE_URL", Derived("sqlite://DATA_DIR/tracera.db"),
            "sqlite://path or postgres:// URL",
            "Where users and portfolios live; migrations run at start."),
        public("DATABASE_MAX_CONNECTIONS", Value("16"), "connections, 1 to 1000",
            "How many connections to PostgreSQL this instance opens at most."),
    ]},
    Section { title: "Sign-in", variables: &[
        public("AUTH_RATE_LIMIT_PER_MINUTE", Value("20"), "requests per minute, 1 to 10000",
            "Limit per client address over all of /api/v1/auth and the forms of pages."),
        public("AUTH_RATE_LIMIT_WIDE", Value("10,50"), "two numbers, 1 to 1000",
            "How many times that limit an IPv4 /24 or IPv6 /56 has, and an IPv6 /48."),
        public("MAGIC_LINK_EXPIRY_MINUTES", Value("10"), "minutes, 1 to 10",
            "How long a sign-in link works."),
        public("GOOGLE_CLIENT_ID", Unset, "text",
            "OAuth client for signing in with Google."),
        secret("GOOGLE_CLIENT_SECRET", Unset, "text",
            "Secret of GOOGLE_CLIENT_ID."),
        public("GOOGLE_ISSUER_URL", Value("https://accounts.google.com"), "https URL",
            "OpenID Connect issuer in Google's place."),
        public("OIDC_ISSUER_URL", Unset, "https URL",
            "One more OpenID Connect issuer to sign in with, exactly as it names itself."),
        public("OIDC_CLIENT_ID", Unset, "text",
            "OAuth client at OIDC_ISSUER_URL."),
        secret("OIDC_CLIENT_SECRET", Unset, "text",
            "Secret of OIDC_CLIENT_ID."),
        public("OIDC_NAME", Derived("host of OIDC_ISSUER_URL"), "text, 1 to 40 characters",
            "What its button says: \"Continue with\" this."),
        public("GITHUB_CLIENT_ID", Unset, "text",
            "OAuth app for signing in with GitHub."),
        secret("GITHUB_CLIENT_SECRET", Unset, "text",
            "Secret of GITHUB_CLIENT_ID."),
        public("GITHUB_URL", Value("https://github.com"), "https URL",
            "GitHub, or a GitHub Enterprise server."),
        public("GITHUB_API_URL", Value("https://api.github.com"), "https URL",
            "Its API; https://HOST/api/v3 for GitHub Enterprise."),
    ]},
    Section { title: "Mail", variables: &[
        url("SMTP_URL", Unset, "smtps://, or smtp://…?tls=required, or smtp:// to loopback",
            "Mail server for sign-in links, with percent-encoded credentials."),
        public("SMTP_CA_FILE", Unset, "PEM file",
            "Root certificates the mail server may use besides the public ones."),
        public("SMTP_HELLO_NAME", Derived("host of BASE_URL, else domain of MAIL_FROM"),
            "host name or [address]",
            "What the mail server is told about who connects (EHLO)."),
        public("MAIL_FROM", Unset, "mailbox: Name <a@b.example>",
            "Sender of mail by SMTP, quoted in .env: MAIL_FROM=\"Name <a@b.example>\"."),
        secret("RESEND_API_KEY", Unset, "text",
            "Key of Resend's HTTP mail API, in place of SMTP_URL."),
        public("RESEND_FROM_EMAIL", Unset, "mailbox: Name <a@b.example>",
            "Sender of mail by Resend, quoted in .env as MAIL_FROM is."),
        public("RESEND_API_URL", Value("https://api.resend.com"), "https URL",
            "Resend's API."),
    ]},
    Section { title: "Steam, prices and imports", variables: &[
        public("STEAM_OPENID_URL", Value("https://steamcommunity.com/openid/login"), "https URL",
            "Steam's OpenID endpoint."),
        public("STEAM_COMMUNITY_URL", Value("https://steamcommunity.com"), "https URL",
            "Where inventories are read."),
        public("STEAM_API_URL", Value("https://api.steampowered.com"), "https URL",
            "Steam's Web API."),
        public("STEAM_IMAGE_URL", Value("https://community.fastly.steamstatic.com/economy/image"),
            "https URL",
            "Where browsers find the pictures of items; the portfolio page lets them load from \
                that host."),
        secret("STEAM_API_KEY", Unset, "text",
            "Web API key, for names and avatars."),
        public("STEAM_PAGE_SIZE", Value("2000"), "items, 1 to 5000",
            "How many inventory items are asked for at once; less when Steam refuses."),
        public("STEAM_SPACING_MILLISECONDS", Value("3000"), "milliseconds, 0 to 60000",
            "Least time between two inventory requests, whoever they are for."),
        public("STEAM_TIMEOUT_SECONDS", Value("15"), "seconds, 1 to 120",
            "How long one inventory request may take."),
        public("STEAM_PAUSE_SECONDS", Value("60"), "seconds, 1 to 3600",
            "Pause after Steam refused a request for its limit; doubles up to an hour."),
        public("STEAM_PATIENCE_SECONDS", Value("30"), "seconds, 0 to 3600",
            "Longest pause an import waits for; a longer one ends it."),
        public("STEAM_PAGE_MAX_MIB", Value("32"), "MiB, 1 to 1024",
            "Largest inventory page, decompressed."),
        url("STEAM_PROXY_URL", Unset, "http, https, socks5 or socks5h URL",
            "Proxy that inventories are read through, for when Steam refuses the address of this \
                server."),
        url("PRICE_FEED_URL",
            Value("https://api.skinport.com/v1/items?app_id=730&currency=USD&tradable=0"),
            "https or file:/// URL",
            "Prices of all items; the default is asked for in PRICE_CURRENCY."),
        public("PRICE_FEED_NAME", Unset, "text, 1 to 40 characters",
            "What pages and answers call the source of these prices; unset: Skinport or CSFloat \
                by its host, else the host."),
        public("PRICE_REFRESH_MINUTES", Value("30"), "minutes, 1 to 1440",
            "How often prices are read anew."),
        url("PRICE_FALLBACK_URLS",
            Derived("behind the default feed CSFloat (USD) and market.csgo.com (USD, EUR, RUB)"),
            "comma-separated https or file:/// URLs",
            "Feeds to try in turn when PRICE_FEED_URL fails."),
        public("PRICE_CURRENCY", Value("USD"), "three capital letters",
            "Currency of all feeds; one in another is refused. CSFloat has USD only."),
        public("PRICE_FEED_MAX_MIB", Value("64"), "MiB, 1 to 1024",
            "Largest price feed, decompressed."),
        public("PORTFOLIO_IMPORT_COOLDOWN_MINUTES", Value("10"), "minutes, 0 to 1440; 0 is off",
            "How long a user waits between imports."),
        public("PORTFOLIO_IMPORT_MAX_MINUTES", Value("15"), "minutes, 1 to 1440",
            "How long one import may take, its waits included."),
        public("PORTFOLIO_MAX_ITEMS", Value("100000"), "items, 1 to 1000000",
            "Largest inventory that is imported."),
    ]},
    Section { title: "Operation", variables: &[
        public("LOG_FORMAT", Derived("text on a terminal, else json"), "text or json",
            "Form of the log, which goes to stderr in UTC."),
        public("RUST_LOG", Value("info"), "filter directives",
            "What is logged, such as info,tracera=debug."),
        public("METRICS_ADDR", Unset, "IP address and port",
            "Socket that answers /metrics for Prometheus."),
        url("OTEL_EXPORTER_OTLP_ENDPOINT", Unset, "http or https URL",
            "Collector that traces are sent to, by OTLP over HTTP; /v1/traces is added."),
        url("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", Unset, "http or https URL",
            "The same, exactly as it is posted to."),
        secret("OTEL_EXPORTER_OTLP_HEADERS", Unset, "name=value,name=value, percent-encoded",
            "Headers for the collector, such as a key."),
        public("OTEL_EXPORTER_OTLP_PROTOCOL", Value("http/protobuf"), "http/protobuf",
            "How the collector is spoken to; there is no other way."),
        public("OTEL_SERVICE_NAME", Value("tracera"), "text",
            "What traces call this service."),
        public("OTEL_RESOURCE_ATTRIBUTES", Unset, "name=value,name=value, percent-encoded",
            "What traces say of this process besides."),
        public("OTEL_TRACES_SAMPLER", Value("parentbased_always_on"),
            "always_on, always_off, traceidratio; parentbased_ before it",
            "Which traces are kept; parentbased_ lets a trusted proxy decide first."),
        public("OTEL_TRACES_SAMPLER_ARG", Unset, "share, 0 to 1",
            "The share of traces that the samplers by ratio keep; all if it is not set."),
    ]},
];
