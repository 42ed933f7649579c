//! Accepted and refused values, variable by variable.

use super::*;

/// Variables with their accepted and refused values.
type Case = (&'static [&'static str], &'static [&'static str], &'static [&'static str]);

/// Numeric variables with their minimum and maximum.
const NUMBERS: [(&str, u64, u64); 22] = [
    ("DATABASE_MAX_CONNECTIONS", 1, 1000),
    ("SESSION_LIFETIME_HOURS", 1, 8760),
    ("SESSION_IDLE_MINUTES", 0, 525_600),
    ("DEVICE_PROOF_SECONDS", 300, 3600),
    ("SESSION_MAX_PER_USER", 1, 1000),
    ("SESSION_REPLICA_ACK", 0, 10),
    ("REQUEST_TIMEOUT_SECONDS", 1, 300),
    ("REDIS_PORT", 1, 65_535),
    ("REDIS_DB", 0, 65_535),
    ("AUTH_RATE_LIMIT_PER_MINUTE", 1, 10_000),
    ("MAGIC_LINK_EXPIRY_MINUTES", 1, 10),
    ("PRICE_REFRESH_MINUTES", 1, 1440),
    ("PORTFOLIO_IMPORT_COOLDOWN_MINUTES", 0, 1440),
    ("PORTFOLIO_IMPORT_MAX_MINUTES", 1, 1440),
    ("PORTFOLIO_MAX_ITEMS", 1, 1_000_000),
    ("PRICE_FEED_MAX_MIB", 1, 1024),
    ("STEAM_PAGE_SIZE", 1, 5000),
    ("STEAM_SPACING_MILLISECONDS", 0, 60_000),
    ("STEAM_TIMEOUT_SECONDS", 1, 120),
    ("STEAM_PAUSE_SECONDS", 1, 3600),
    ("STEAM_PATIENCE_SECONDS", 0, 3600),
    ("STEAM_PAGE_MAX_MIB", 1, 1024),
];

const NO_NUMBERS: [&str; 9] =
    ["x", "-1", "+5", "1.5", "5 ", " 5", "0x5", "1e1", "99999999999999999999"];

/// The variables that are not numeric.
const CASES: &[Case] = &[
    (
        &["SESSION_SECRET"],
        &[
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "0123456789abcdef0123456789abcdef",
            "kS0vV3y1QmZbq2nD8rTfXh5LwJ7cEu9AkS0vV3y1QmZbq2nD8rTfXh5LwJ7cEu9A",
            "ÄÖÜäöüßéèáàÄÖÜäöü",
        ],
        &[
            "x",
            "0123456789abcdef0123456789abcde",
            "changeme-0123456789abcdef0123456789",
            "Please-Change-Me-0123456789abcdef",
            "your-secret-key-minimum-32-bytes-long",
            " 0123456789abcdef0123456789abcdef",
            "0123456789abcdef0123456789abcdef\n",
        ],
    ),
    (
        &["SESSION_STORE"],
        &["redis", "embedded", "postgres"],
        &["x", "Redis", "sqlite", "postgresql", "redis,postgres"],
    ),
    (
        &["SESSION_SECRET_PREVIOUS"],
        &[OLDER, "older-Qw8rT2yU4iO6pA1sD3fG5hJ7kL9z, 0123456789abcdef0123456789abcdef"],
        &[
            "x",
            SECRET,
            "0123456789abcdef0123456789abcdef,",
            "0123456789abcdef0123456789abcdef,0123456789abcdef0123456789abcdef",
            "0123456789abcdef0123456789abcdef,short",
            "changeme-0123456789abcdef0123456789",
            "0123456789abcdef0123456789abcdef,Please-Change-Me-0123456789abcdef",
            "your-secret-key-minimum-32-bytes-long",
            "0123456789abcdef0123456789abcde1,0123456789abcdef0123456789abcde2,\
             0123456789abcdef0123456789abcde3,0123456789abcdef0123456789abcde4,\
             0123456789abcdef0123456789abcde5,0123456789abcdef0123456789abcde6,\
             0123456789abcdef0123456789abcde7,0123456789abcdef0123456789abcde8,\
             0123456789abcdef0123456789abcde9",
        ],
    ),
    (
        &["SESSION_COOKIE_SECURE"],
        &["true", "TRUE", "1", "yes", "On", "false", "0", "no", "off", "auto", "Auto"],
        &["x", "2", "truee", "automatic", " true"],
    ),
    (
        &["SECURITY_CONTACT"],
        &["mailto:security@tracera.example", "https://tracera.example/security?lang=en"],
        &[
            "security@tracera.example",
            "mailto:",
            "mailto:tracera.example",
            "mailto:a@tracera.example?subject=x\nExpires: never",
            "http://tracera.example/",
            "https://",
            "https://tracera.example/a b",
            "https://tracera.example/\nContact: mailto:a@b.example",
        ],
    ),
    (
        &["SESSION_COOKIE_NAME"],
        &["tracera", "session", "sid.v2_x-y"],
        &["__Host-tracera", "__secure-x", "a b", "a;b", "visitor", "ä"],
    ),
    (&["SESSION_NEAR_CACHE"], &["on", "OFF", "true", "0"], &["x", "auto", "on "]),
    (&["SESSION_DEVICE_BINDING"], &["auto", "OFF", "off"], &["on", "true", "x", "off "]),
    (
        &["BASE_URL"],
        &[
            "http://localhost:8080",
            "https://tracera.example",
            "https://tracera.example/",
            "http://10.0.0.1:8080",
            "https://[::1]:8443",
        ],
        &[
            "x",
            "tracera.example",
            "ftp://tracera.example",
            "https://",
            "https://tracera.example/app",
            "https://tracera.example?x",
            "https://tracera.example/#x",
            "https://u:p@tracera.example",
            "https://u@tracera.example",
            "https://tracera.example:65536",
        ],
    ),
    (&["IDLE_CONNECTION_SECONDS"], &["1", "130", "3600"], &["0", "3601", "-1", "2m"]),
    (&["DRAIN_SECONDS"], &["0", "5", "300"], &["301", "-1", "5s"]),
    (&["MAX_CONNECTIONS_PER_CLIENT"], &["1", "200", "20000"], &["0", "20001", "many"]),
    (
        &["REDIS_KEY_PREFIX"],
        &["staging:", "a.b/c-d_e"],
        &[
            "{a}",
            "a b",
            "ä",
            "0123456789012345678901234567890123456789012345678901234567890123456789",
        ],
    ),
    (
        &["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"],
        &["http://localhost:4318", "https://otlp.example/otlp"],
        &["localhost:4318", "grpc://h:4317", "x"],
    ),
    (
        &["OTEL_EXPORTER_OTLP_HEADERS"],
        &["api-key=k", "a=b,c=d%20e"],
        &["key", "=v", "a b=c", "a=%0d%0a"],
    ),
    (&["OTEL_EXPORTER_OTLP_PROTOCOL"], &["http/protobuf"], &["grpc", "http/json"]),
    (&["OTEL_SERVICE_NAME"], &["tracera-eu"], &[]),
    (&["OTEL_RESOURCE_ATTRIBUTES"], &["deployment.environment.name=eu"], &["eu", "=eu"]),
    (
        &["OTEL_TRACES_SAMPLER"],
        &["always_on", "always_off", "traceidratio", "parentbased_traceidratio"],
        &["sometimes", "parentbased_jaeger_remote"],
    ),
    (&["OTEL_TRACES_SAMPLER_ARG"], &["0", "0.1", "1"], &["1.5", "half", "-1"]),
    (&["PROXY_PROTOCOL"], &["on", "off", "true", "0"], &["v1", "2"]),
    (
        &["LISTEN_ADDR"],
        &["unix:/run/tracera/socket"],
        &["unix:", "unix:socket", "unix:run/socket", "/run/tracera/socket"],
    ),
    (
        &["LISTEN_ADDR", "METRICS_ADDR"],
        &["127.0.0.1:8081", "0.0.0.0:80", "[::1]:65535"],
        &[
            "x",
            "8080",
            ":8080",
            "127.0.0.1",
            "localhost:8080",
            "127.0.0.1:65536",
            "::1:80",
            "127.0.0.1:80 ",
        ],
    ),
    (
        &["TRUSTED_PROXIES"],
        &["10.0.0.0/8", "10.0.0.0/8, 192.0.2.7,2001:db8::/32", "::1", "0.0.0.0/0"],
        &[
            "x",
            "10.0.0.0/33",
            "10.0.0.1/8",
            "10.0.0.0/8,",
            ",",
            "10.0.0.0/8 192.0.2.7",
            "2001:db8::/129",
            "p.example",
        ],
    ),
    (
        &["TRUSTED_PROXY_HEADER"],
        &["x-forwarded-for", "X-Forwarded-For", "forwarded"],
        &["x", "x-real-ip", "forwarded,x-forwarded-for", " forwarded", "forwarded:"],
    ),
    (
        &["AUTH_RATE_LIMIT_WIDE"],
        &["10,50", "1,1", "1000, 1000"],
        &["x", "10", "0,50", "10,0", "10,1001", "10,50,90", "10;50", "-1,5", "+1,5", "1.5,5", ","],
    ),
    (
        &["REDIS_URL"],
        &[
            "redis://localhost",
            "redis://:p%40ss@127.0.0.1:6380/3",
            "rediss://user:secret@cache.example:6380",
            "valkey://localhost",
            "valkeys://localhost:6379/1",
            "redis://h/65535",
            "redis://h/2?protocol=resp3",
            "redis://[::1]:6379",
            "redis+sentinel://a:26379,b:26379/tracera",
            "redis+sentinel://u:p@a:26379/tracera/2",
            "redis+sentinel://a?sentinel_password=p@ss/w?rd",
            "rediss+sentinel://u:p@a,b/tracera/2?sentinel_username=u&sentinel_password=p%26q",
            "redis+cluster://a:7000,b:7001",
            "rediss+cluster://u:p@a:7000/0",
            "valkey+cluster://a:7000",
        ],
        &[
            "x",
            "localhost:6379",
            "http://localhost",
            "redis://",
            "redis:///0",
            "redis://:6379",
            "rediss://h/#part",
            "redis://:pass#word@h",
            "redis://h:port",
            "redis://h/db",
            "redis://h/-1",
            "redis://h/65536",
            "redis+sentinel://a/tracera/65536",
            "redis://a,b",
            "redis+other://a",
            "redis+sentinel://a,/tracera",
            "redis+sentinel://a/tracera?sentinel_username=u",
            "redis+sentinel://a/tracera?sentinel_pasword=p",
            "redis+sentinel://a/tracera?sentinel_password=p#part",
            "redis+sentinel://a/tracera/x",
            "redis+cluster://a:7000/1",
            "unix:///run/redis.sock",
            "redis+unix://run/redis.sock",
        ],
    ),
    (
        &["REDIS_HOST"],
        &["localhost", "cache.example", "127.0.0.1", "::1"],
        &["redis://h", "h:6379", "a b", "h/0", "u@h", "0.0.0.0"],
    ),
    (&["DATA_DIR"], &["./data", "/var/lib/tracera"], &["file:///var", "a\0b"]),
    (
        &["DATABASE_URL"],
        &[
            "sqlite://data/x.db",
            "sqlite:///var/lib/x.db",
            "sqlite:x.db",
            "sqlite://x.db?mode=rwc",
            "postgres://u:p@h/db",
            "postgresql://h:5432/db?sslmode=require",
            "postgres:///db?host=/run/postgresql",
            "postgres://user@%2Frun%2Fpostgresql/db",
            "postgres://h/db?ssl-mode=verify-full&application_name=x&options[search_path]=y&\
             sslrootcert=/etc/ca.pem",
        ],
        &[
            "x",
            "mysql://h/db",
            "sqlite://",
            "sqlite::memory:",
            "sqlite://:memory:",
            "sqlite://data/",
            "sqlite://x.db?mode=memory",
            "sqlite://x.db?mode=ro",
            "sqlite://%ff",
            "postgres://",
            "postgres:///db",
            "postgres:///db?host=",
            "postgres://h/db?pasword=canary",
            "postgres://h/db?sslpassword=canary",
            "postgres://h/db?sslmode=verifyfull",
            "postgres://h/db?sslmod=verify-full",
            "postgres:///?host=/run/postgresql",
            "postgres://h",
            "postgres://h/",
            "postgres://h:port/db",
        ],
    ),
    (
        &["SMTP_HELLO_NAME"],
        &["mail.b.example", "büro.example", "[192.0.2.1]", "[IPv6:2001:db8::1]"],
        &["a b", "mail_server.example", "mail.example:25", "[mail.example]", "a%2eb", "192.0.2.1"],
    ),
    (
        &["SMTP_URL"],
        &[
            "smtps://u:p@mail.example",
            "smtps://mail.example:465",
            "smtp://mail.example:587?tls=required",
            "smtp://u%40x:p%3A@mail.example?tls=required",
            "smtp://localhost:1025",
            "smtp://127.0.0.1",
            "smtp://[::1]:25",
        ],
        &[
            "x",
            "mail.example:465",
            "https://mail.example",
            "smtps://",
            "smtp://mail.example",
            "smtp://mail.example?tls=opportunistic",
            "smtps://mail.example?x=1",
            "smtps://mail.example/x",
            "smtps://mail.example#x",
            "smtps://mail.example:0",
            "smtps://u@mail.example",
            "smtps://:p@mail.example",
            "smtps://%ff:p@mail.example",
        ],
    ),
    (
        &["MAIL_FROM", "RESEND_FROM_EMAIL"],
        &["a@b.example", "Tracera <a@b.example>", "\"A, B\" <a@b.example>"],
        &[
            "x",
            "a@",
            "@b.example",
            "Tracera a@b.example",
            "a@b.example, c@d.example",
            "A <a@b.example>\r\nBcc: c@d.example",
        ],
    ),
    (
        &["STEAM_PROXY_URL"],
        &["http://10.0.0.1:3128", "socks5h://user:pw@proxy.example:1080"],
        &["10.0.0.1", "ftp://proxy.example", "socks5:"],
    ),
    (&["STEAM_API_KEY"], &["0123456789ABCDEF"], &["a b", "a\n", "ä"]),
    (
        &["PRICE_FALLBACK_URLS"],
        &["https://a.example/x, file:///b.json", "http://localhost:9/items"],
        &["x", "https://a.example,", "http://a.example", "https://a.example,ftp://b.example"],
    ),
    (
        &["PRICE_FEED_NAME", "OIDC_NAME"],
        &["Skinport", "Our own prices"],
        &["a\nb", "a name of more than forty characters, all told"],
    ),
    (&["PRICE_CURRENCY"], &["EUR", "USD"], &["eur", "EURO", "E R", "€", "ABC"]),
    (
        &["PRICE_FEED_URL"],
        &[
            "https://prices.example/items?app_id=730",
            "http://localhost:9/items",
            "file:///var/prices.json",
        ],
        &[
            "x",
            "http://prices.example",
            "ftp://prices.example",
            "file://host/prices.json",
            "file:///",
        ],
    ),
    (&["LOG_FORMAT"], &["text", "json", "JSON"], &["x", "pretty", "json "]),
    (
        &["RUST_LOG"],
        &["info", "warn,tracera=debug", "off", "tracera[request]=trace"],
        &["a=b=c", "tracera=loud", "[", "info,=debug=x"],
    ),
    (
        &[
            "GOOGLE_ISSUER_URL",
            "OIDC_ISSUER_URL",
            "GITHUB_URL",
            "GITHUB_API_URL",
            "RESEND_API_URL",
            "STEAM_OPENID_URL",
            "STEAM_COMMUNITY_URL",
            "STEAM_API_URL",
            "STEAM_IMAGE_URL",
        ],
        &[
            "https://id.example",
            "https://id.example/base/",
            "https://id.example:8443/x",
            "http://localhost:9",
            "http://127.0.0.1:9/x",
            "http://[::1]:9",
        ],
        &[
            "x",
            "id.example",
            "http://id.example",
            "http://localhost.example.com",
            "ftp://id.example",
            "file:///x",
            "https://",
            "https://u:p@id.example",
            "https://u@id.example",
            "https://id.example?x=1",
            "https://id.example#x",
        ],
    ),
    // Any value that another service may issue.
    (
        &[
            "REDIS_PASSWORD",
            "GOOGLE_CLIENT_ID",
            "GOOGLE_CLIENT_SECRET",
            "OIDC_CLIENT_ID",
            "OIDC_CLIENT_SECRET",
            "GITHUB_CLIENT_ID",
            "GITHUB_CLIENT_SECRET",
            "RESEND_API_KEY",
            "SMTP_CA_FILE",
            "REDIS_CA_FILE",
            "REDIS_CERT_FILE",
            "REDIS_KEY_FILE",
        ],
        &["x"],
        &[],
    ),
];

/// The other variables that must be set for this one to be parsed.
fn company(name: &str) -> &'static [(&'static str, &'static str)] {
    match name {
        "REDIS_PASSWORD" | "SESSION_REPLICA_ACK" => &[("REDIS_HOST", "localhost")],
        "SESSION_STORE" => {
            &[("REDIS_HOST", "localhost"), ("DATABASE_URL", "postgres://u@localhost/tracera")]
        }
        "REDIS_CA_FILE" => &[("REDIS_URL", "rediss://localhost")],
        "REDIS_CERT_FILE" => &[("REDIS_URL", "rediss://localhost"), ("REDIS_KEY_FILE", "key.pem")],
        "REDIS_KEY_FILE" => &[("REDIS_URL", "rediss://localhost"), ("REDIS_CERT_FILE", "c.pem")],
        "GOOGLE_CLIENT_ID" => &[("GOOGLE_CLIENT_SECRET", "s")],
        "GOOGLE_CLIENT_SECRET" => &[("GOOGLE_CLIENT_ID", "i")],
        "OIDC_ISSUER_URL" => &[("OIDC_CLIENT_ID", "i"), ("OIDC_CLIENT_SECRET", "s")],
        "OIDC_CLIENT_ID" => {
            &[("OIDC_CLIENT_SECRET", "s"), ("OIDC_ISSUER_URL", "https://id.example")]
        }
        "OIDC_CLIENT_SECRET" => {
            &[("OIDC_CLIENT_ID", "i"), ("OIDC_ISSUER_URL", "https://id.example")]
        }
        "OIDC_NAME" => &[
            ("OIDC_CLIENT_ID", "i"),
            ("OIDC_CLIENT_SECRET", "s"),
            ("OIDC_ISSUER_URL", "https://id.example"),
        ],
        "GITHUB_CLIENT_ID" => &[("GITHUB_CLIENT_SECRET", "s")],
        "GITHUB_CLIENT_SECRET" => &[("GITHUB_CLIENT_ID", "i")],
        "SMTP_URL" => &[("MAIL_FROM", "a@b.example")],
        "PROXY_PROTOCOL" => &[("TRUSTED_PROXIES", "10.0.0.0/8")],
        "MAIL_FROM" | "SMTP_CA_FILE" | "SMTP_HELLO_NAME" => {
            &[("SMTP_URL", "smtps://mail.example"), ("MAIL_FROM", "a@b.example")]
        }
        "RESEND_API_KEY" => &[("RESEND_FROM_EMAIL", "a@b.example")],
        "RESEND_FROM_EMAIL" => &[("RESEND_API_KEY", "k")],
        _ => &[],
    }
}

fn must_accept(name: &'static str, value: &str) {
    let read = serve(&[company(name), &[(name, value)]].concat());
    assert!(read.is_ok(), "{name}={value:?}: {:?}", read.err());
}

fn must_refuse(name: &'static str, value: &str) {
    let (subjects, text) = refused(Mode::Serve, &[company(name), &[(name, value)]].concat());
    assert_eq!(subjects, [name], "{value:?}: {text}");
}

#[test]
fn every_variable_has_cases() {
    let of_text = CASES.iter().flat_map(|(names, ..)| names.iter().copied());
    let covered: BTreeSet<_> = NUMBERS.iter().map(|(name, ..)| *name).chain(of_text).collect();
    assert_eq!(covered, table::variables().map(|row| row.name).collect());
}

#[test]
fn numbers_are_accepted_within_their_limits_only() {
    for (name, least, greatest) in NUMBERS {
        for number in [least, greatest] {
            must_accept(name, &number.to_string());
        }
        for number in [least.checked_sub(1), Some(greatest + 1)].into_iter().flatten() {
            must_refuse(name, &number.to_string());
        }
        for value in NO_NUMBERS {
            must_refuse(name, value);
        }
    }
}

#[test]
fn texts_are_accepted_in_their_forms_only() {
    for (names, good, bad) in CASES {
        for name in *names {
            good.iter().for_each(|value| must_accept(name, value));
            bad.iter().for_each(|value| must_refuse(name, value));
        }
    }
}
