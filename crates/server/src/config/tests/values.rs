//! Accepted and refused values, variable by variable.

use super::*;

/// What else must be set for the value to be looked at on its own.
fn company(name: &str) -> &'static [(&'static str, &'static str)] {
    match name {
        "REDIS_PORT" | "REDIS_PASSWORD" | "REDIS_DB" => &[("REDIS_HOST", "localhost")],
        "GOOGLE_CLIENT_ID" => &[("GOOGLE_CLIENT_SECRET", "s")],
        "GOOGLE_CLIENT_SECRET" => &[("GOOGLE_CLIENT_ID", "i")],
        "GITHUB_CLIENT_ID" => &[("GITHUB_CLIENT_SECRET", "s")],
        "GITHUB_CLIENT_SECRET" => &[("GITHUB_CLIENT_ID", "i")],
        "SMTP_URL" => &[("MAIL_FROM", "a@b.example")],
        "MAIL_FROM" | "SMTP_CA_FILE" => &[("SMTP_URL", "smtps://mail.example"), ("MAIL_FROM", "a@b.example")],
        "RESEND_API_KEY" => &[("RESEND_FROM_EMAIL", "a@b.example")],
        "RESEND_FROM_EMAIL" => &[("RESEND_API_KEY", "k")],
        _ => &[],
    }
}

const SERVICE: (&[&str], &[&str]) = (
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
        "ftp://id.example",
        "https://",
        "https://u:p@id.example",
        "https://u@id.example",
        "https://id.example?x=1",
        "https://id.example#x",
        "file:///x",
        "http://localhost.example.com",
    ],
);
const MAILBOX: (&[&str], &[&str]) = (
    &["a@b.example", "Tracera <a@b.example>", "\"A, B\" <a@b.example>"],
    &[
        "x",
        "a@",
        "@b.example",
        "Tracera a@b.example",
        "a@b.example, c@d.example",
        "A <a@b.example>\r\nBcc: c@d.example",
    ],
);
const SOCKET: (&[&str], &[&str]) = (
    &["127.0.0.1:8081", "0.0.0.0:80", "[::1]:65535"],
    &["x", "8080", ":8080", "127.0.0.1", "localhost:8080", "127.0.0.1:65536", "::1:80", "127.0.0.1:80 "],
);
const TEXT: (&[&str], &[&str]) = (&["x"], &[]);

/// Values at and just beyond the limits of a number, and what is no number.
fn number(
    accepted: &'static [&'static str],
    beyond: &'static [&'static str],
) -> (Vec<&'static str>, Vec<&'static str>) {
    let no_number = ["x", "-1", "+5", "1.5", "5 ", " 5", "0x5", "1e1", "99999999999999999999"];
    (accepted.to_vec(), [beyond, &no_number].concat())
}

/// Accepted and refused values of every variable.
fn cases(name: &str) -> (Vec<&'static str>, Vec<&'static str>) {
    let lists =
        |(accepted, refused): (&[&'static str], &[&'static str])| (accepted.to_vec(), refused.to_vec());
    match name {
        "SESSION_SECRET" => (
            vec![
                "0123456789abcdef0123456789abcdef",
                "kS0vV3y1QmZbq2nD8rTfXh5LwJ7cEu9AkS0vV3y1QmZbq2nD8rTfXh5LwJ7cEu9A",
                "ÄÖÜäöüßéèáàÄÖÜäöü",
            ],
            vec![
                "x",
                "0123456789abcdef0123456789abcde",
                "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                "abcdefgabcdefgabcdefgabcdefgabcdefg",
                "changeme-0123456789abcdef0123456789",
                "Please-Change-Me-0123456789abcdef",
                "your-secret-key-minimum-32-bytes-long",
                " 0123456789abcdef0123456789abcdef",
                "0123456789abcdef0123456789abcdef\n",
            ],
        ),
        "SESSION_SECRET_PREVIOUS" => (
            vec![OLDER, "older-Qw8rT2yU4iO6pA1sD3fG5hJ7kL9z, 0123456789abcdef0123456789abcdef"],
            vec![
                "x",
                SECRET,
                "0123456789abcdef0123456789abcdef,",
                "0123456789abcdef0123456789abcdef,0123456789abcdef0123456789abcdef",
                "0123456789abcdef0123456789abcdef,short",
                "0123456789abcdef0123456789abcde1,0123456789abcdef0123456789abcde2,0123456789abcdef0123456789abcde3,\
                 0123456789abcdef0123456789abcde4,0123456789abcdef0123456789abcde5,0123456789abcdef0123456789abcde6,\
                 0123456789abcdef0123456789abcde7,0123456789abcdef0123456789abcde8,0123456789abcdef0123456789abcde9",
            ],
        ),
        "SESSION_LIFETIME_HOURS" => number(&["1", "8760"], &["0", "8761"]),
        "SESSION_IDLE_MINUTES" => number(&["0", "1", "525600"], &["525601"]),
        "SESSION_MAX_PER_USER" => number(&["1", "1000"], &["0", "1001"]),
        "SESSION_COOKIE_SECURE" => (
            vec!["true", "TRUE", "1", "yes", "On", "false", "0", "no", "off"],
            vec!["x", "2", "truee", "auto", " true"],
        ),
        "BASE_URL" => (
            vec![
                "http://localhost:8080",
                "https://tracera.example",
                "https://tracera.example/",
                "http://10.0.0.1:8080",
                "https://[::1]:8443",
            ],
            vec![
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
        "TRUSTED_PROXIES" => (
            vec!["10.0.0.0/8", "10.0.0.0/8, 192.0.2.7,2001:db8::/32", "::1", "0.0.0.0/0"],
            vec![
                "x",
                "10.0.0.0/33",
                "10.0.0.1/8",
                "10.0.0.0/8,",
                "10.0.0.0/8 192.0.2.7",
                "2001:db8::/129",
                "proxy.example",
            ],
        ),
        "REQUEST_TIMEOUT_SECONDS" => number(&["1", "300"], &["0", "301"]),
        "REDIS_URL" => (
            vec![
                "redis://localhost",
                "redis://:p%40ss@127.0.0.1:6380/3",
                "rediss://user:secret@cache.example:6380",
                "valkey://localhost",
                "valkeys://localhost:6379/1",
                "redis://[::1]:6379",
                "redis+sentinel://a:26379,b:26379/tracera",
                "redis+sentinel://u:p@a:26379/tracera/2",
                "redis+cluster://a:7000,b:7001",
                "rediss+cluster://u:p@a:7000/0",
                "valkey+cluster://a:7000",
            ],
            vec![
                "x",
                "localhost:6379",
                "http://localhost",
                "redis://",
                "redis:///0",
                "redis://:6379",
                "redis://h:port",
                "redis://h/db",
                "redis://a,b",
                "redis+other://a",
                "redis+sentinel://a,/tracera",
                "redis+cluster://a:7000/1",
                "redis+sentinel://a/tracera/x",
                "unix:///run/redis.sock",
                "redis+unix:///run/redis.sock",
            ],
        ),
        "REDIS_HOST" => (
            vec!["localhost", "cache.example", "127.0.0.1", "::1"],
            vec!["redis://h", "h:6379", "a b", "h/0", "u@h"],
        ),
        "REDIS_PORT" => number(&["1", "65535"], &["0", "65536", "tcp://10.0.0.1:6379"]),
        "REDIS_DB" => number(&["0", "65535"], &["65536"]),
        "DATA_DIR" => (vec!["./data", "/var/lib/tracera"], vec!["file:///var", "a\0b"]),
        "DATABASE_URL" => (
            vec![
                "sqlite://data/x.db",
                "sqlite:///var/lib/x.db",
                "sqlite:x.db",
                "sqlite://x.db?mode=rwc",
                "postgres://u:p@h/db",
                "postgresql://h:5432/db?sslmode=require",
            ],
            vec![
                "x",
                "mysql://h/db",
                "sqlite://",
                "sqlite::memory:",
                "sqlite://:memory:",
                "sqlite://data/",
                "sqlite://x.db?mode=memory",
                "sqlite://%ff",
                "postgres://",
                "postgres:///db",
                "postgres://h",
                "postgres://h/",
                "postgres://h:port/db",
            ],
        ),
        "AUTH_RATE_LIMIT_PER_MINUTE" => number(&["1", "10000"], &["0", "10001"]),
        "MAGIC_LINK_EXPIRY_MINUTES" => number(&["1", "10"], &["0", "11"]),
        "SMTP_URL" => (
            vec![
                "smtps://u:p@mail.example",
                "smtps://mail.example:465",
                "smtp://mail.example:587?tls=required",
                "smtp://u%40x:p%3A@mail.example?tls=required",
                "smtp://localhost:1025",
                "smtp://127.0.0.1",
                "smtp://[::1]:25",
            ],
            vec![
                "x",
                "mail.example:465",
                "https://mail.example",
                "smtps://",
                "smtp://mail.example",
                "smtp://mail.example?tls=opportunistic",
                "smtps://mail.example?x=1",
                "smtps://mail.example/x",
                "smtps://u@mail.example",
                "smtps://:p@mail.example",
                "smtps://%ff:p@mail.example",
                "smtps://mail.example:0",
                "smtps://mail.example#x",
            ],
        ),
        "SMTP_CA_FILE" => lists(TEXT),
        "MAIL_FROM" | "RESEND_FROM_EMAIL" => lists(MAILBOX),
        "STEAM_API_KEY" => (vec!["0123456789ABCDEF"], vec!["a b", "a\n", "ä"]),
        "PRICE_FEED_URL" => (
            vec![
                "https://prices.example/items?app_id=730",
                "http://localhost:9/items",
                "file:///var/prices.json",
            ],
            vec![
                "x",
                "http://prices.example",
                "ftp://prices.example",
                "file://host/prices.json",
                "file:///",
                "prices.json",
            ],
        ),
        "PRICE_REFRESH_MINUTES" => number(&["1", "1440"], &["0", "1441"]),
        "PORTFOLIO_IMPORT_COOLDOWN_MINUTES" => number(&["0", "1440"], &["1441"]),
        "LISTEN_ADDR" | "METRICS_ADDR" => lists(SOCKET),
        "LOG_FORMAT" => (vec!["text", "json"], vec!["x", "JSON", "pretty"]),
        "RUST_LOG" => (
            vec!["info", "warn,tracera=debug", "off", "tracera[request]=trace"],
            vec!["a=b=c", "tracera=loud", "[", "info,=debug=x"],
        ),
        "GOOGLE_ISSUER_URL"
        | "GITHUB_URL"
        | "GITHUB_API_URL"
        | "RESEND_API_URL"
        | "STEAM_OPENID_URL"
        | "STEAM_COMMUNITY_URL"
        | "STEAM_API_URL" => lists(SERVICE),
        "REDIS_PASSWORD"
        | "GOOGLE_CLIENT_ID"
        | "GOOGLE_CLIENT_SECRET"
        | "GITHUB_CLIENT_ID"
        | "GITHUB_CLIENT_SECRET"
        | "RESEND_API_KEY" => lists(TEXT),
        other => panic!("{other} has no cases"),
    }
}

#[test]
fn every_variable_takes_what_it_should_and_nothing_else() {
    for row in table::variables() {
        let (good, bad) = cases(row.name);
        for value in good {
            let pairs = [company(row.name), &[(row.name, value)]].concat();
            assert!(serve(&pairs).is_ok(), "{}={value:?}: {:?}", row.name, serve(&pairs).err());
        }
        for value in bad {
            let (subjects, text) = refused(Mode::Serve, &[company(row.name), &[(row.name, value)]].concat());
            assert_eq!(subjects, [row.name], "{value:?}: {text}");
        }
    }
}

#[test]
fn what_belongs_together_is_required_together() {
    let google = ("GOOGLE_CLIENT_ID", "x");
    let smtp = ("SMTP_URL", "smtps://mail.example");
    let resend = [("RESEND_API_KEY", "x"), ("RESEND_FROM_EMAIL", "a@b.example")];
    let github = [("GITHUB_CLIENT_ID", "x"), ("GITHUB_CLIENT_SECRET", "y")];
    let from = ("MAIL_FROM", "a@b.example");
    for (pairs, blamed) in [
        (vec![google], "GOOGLE_CLIENT_SECRET"),
        (vec![("GOOGLE_CLIENT_SECRET", "x")], "GOOGLE_CLIENT_ID"),
        (vec![github[0]], "GITHUB_CLIENT_SECRET"),
        (vec![github[1]], "GITHUB_CLIENT_ID"),
        (vec![github[0], github[1], ("GITHUB_URL", "https://git.example")], "GITHUB_API_URL"),
        (vec![resend[0]], "RESEND_FROM_EMAIL"),
        (vec![resend[1]], "RESEND_API_KEY"),
        (vec![smtp], "MAIL_FROM"),
        (vec![smtp, from, resend[0], resend[1]], "RESEND_API_KEY"),
        (vec![("SMTP_URL", "smtp://localhost"), from, ("SMTP_CA_FILE", "ca.pem")], "SMTP_CA_FILE"),
        (vec![("REDIS_URL", "redis://a"), ("REDIS_HOST", "b")], "REDIS_HOST"),
        (vec![("REDIS_URL", "redis://a"), ("REDIS_PASSWORD", "b")], "REDIS_PASSWORD"),
        (vec![("REDIS_PASSWORD", "b")], "REDIS_PASSWORD"),
        (vec![("REDIS_URL", "redis://a"), ("REDIS_DB", "1")], "REDIS_DB"),
        (vec![("LISTEN_ADDR", "127.0.0.1:9"), ("METRICS_ADDR", "127.0.0.1:9")], "METRICS_ADDR"),
        (
            vec![("BASE_URL", "http://tracera.example"), ("SESSION_COOKIE_SECURE", "true")],
            "SESSION_COOKIE_SECURE",
        ),
    ] {
        let (subjects, text) = refused(Mode::Serve, &pairs);
        assert_eq!(subjects, [blamed], "{text}");
    }
}

#[test]
fn the_cookie_is_secure_when_the_public_address_is() {
    for (base_url, given, secure, warned) in [
        ("https://tracera.example", "", true, false),
        ("http://localhost:8080", "", false, false),
        ("https://tracera.example", "true", true, false),
        ("https://tracera.example", "false", false, true),
        ("http://localhost:8080", "true", true, true),
        ("http://localhost:8080", "false", false, false),
    ] {
        let config = accepted(&[("BASE_URL", base_url), ("SESSION_COOKIE_SECURE", given)]);
        assert_eq!(config.session.cookie_secure, secure, "{base_url} {given}");
        assert_eq!(warned_about(&config).contains(&"SESSION_COOKIE_SECURE"), warned, "{base_url} {given}");
    }
}

#[test]
fn what_is_probably_not_meant_is_a_warning() {
    assert_eq!(warned_about(&accepted(&[])), ["REDIS_URL", "SMTP_URL"]);
    let quiet = [("REDIS_HOST", "h"), ("RESEND_API_KEY", "k"), ("RESEND_FROM_EMAIL", "a@b.example")];
    for (pair, warned) in [
        (("BASE_URL", "http://tracera.example"), "BASE_URL"),
        (("LISTEN_ADDR", "127.0.0.1:9000"), "BASE_URL"),
        (("TRUSTED_PROXIES", "::/0"), "TRUSTED_PROXIES"),
        (("METRICS_ADDR", "0.0.0.0:9100"), "METRICS_ADDR"),
        (("MAIL_FROM", "a@b.example"), "MAIL_FROM"),
        (("SMTP_CA_FILE", "ca.pem"), "SMTP_CA_FILE"),
        (("SESSION_SECRET", "0123456789abcdef,0123456789abcdef"), "SESSION_SECRET"),
    ] {
        assert_eq!(warned_about(&accepted(&quiet)), [""; 0]);
        assert_eq!(warned_about(&accepted(&[&quiet[..], &[pair]].concat())), [warned], "{pair:?}");
    }
}

#[test]
fn a_redis_url_is_built_from_its_parts() {
    for (pairs, url) in [
        (vec![("REDIS_HOST", "cache.example")], "redis://cache.example:6379/0"),
        (vec![("REDIS_HOST", "::1"), ("REDIS_PORT", "6380"), ("REDIS_DB", "3")], "redis://[::1]:6380/3"),
        (vec![("REDIS_HOST", "h"), ("REDIS_PASSWORD", "p@:/ä")], "redis://:p%40%3A%2F%C3%A4@h:6379/0"),
    ] {
        assert_eq!(accepted(&pairs).store.redis.unwrap().expose(), url);
    }
    let both = accepted(&[("REDIS_URL", "redis+cluster://u:p@a:1,b:2"), ("REDIS_PORT", "1")]);
    assert_eq!(both.store.redis.unwrap().expose(), "redis+cluster://u:p@a:1,b:2");
}

#[test]
fn the_database_follows_the_data_directory_unless_told_otherwise() {
    for (pairs, expected) in [
        (vec![("DATA_DIR", "/srv/t")], "/srv/t/tracera.db"),
        (vec![("DATA_DIR", "/srv/t"), ("DATABASE_URL", "sqlite:///a%20b.db?mode=rwc")], "/a b.db"),
        (vec![("DATABASE_URL", "sqlite://data/x.db")], "data/x.db"),
    ] {
        match accepted(&pairs).store.database {
            DatabaseTarget::Sqlite(path) => assert_eq!(path, Path::new(expected)),
            other @ DatabaseTarget::Postgres(_) => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_mail_server_is_understood_with_credentials_and_protection() {
    for (url, host, port, security, user) in [
        ("smtps://u%40x:p%3A@mail.example", "mail.example", 465, SmtpSecurity::Tls, Some(("u@x", "p:"))),
        ("smtp://mail.example?tls=required", "mail.example", 587, SmtpSecurity::StartTls, None),
        ("smtp://localhost?tls=required", "localhost", 587, SmtpSecurity::StartTls, None),
        ("smtp://[::1]", "::1", 25, SmtpSecurity::Plain, None),
        ("smtp://u:p@localhost:1025", "localhost", 1025, SmtpSecurity::Plain, Some(("u", "p"))),
    ] {
        let MailSettings::Smtp(smtp) = accepted(&[("SMTP_URL", url), ("MAIL_FROM", "T <a@b.example>")]).mail
        else {
            panic!("{url} is a mail server");
        };
        assert_eq!((&*smtp.host, smtp.port, smtp.security), (host, port, security), "{url}");
        let credentials = smtp.credentials.as_ref();
        assert_eq!(
            credentials.map(|it| (it.user.expose_secret(), it.password.expose_secret())),
            user,
            "{url}"
        );
        assert_eq!(smtp.from.to_string(), "T <a@b.example>");
    }
}

#[test]
fn a_service_keeps_its_exact_spelling() {
    let pairs = [
        ("GOOGLE_CLIENT_ID", "i"),
        ("GOOGLE_CLIENT_SECRET", "s"),
        ("GOOGLE_ISSUER_URL", "https://id.example/"),
    ];
    assert_eq!(accepted(&pairs).auth.google.unwrap().issuer.as_str(), "https://id.example/");
}

#[test]
fn a_price_feed_is_a_file_or_an_address() {
    let feed = |url| accepted(&[("PRICE_FEED_URL", url)]).prices.feed;
    assert!(matches!(feed("file:///a%20b.json"), PriceFeed::File(path) if path == Path::new("/a b.json")));
    assert!(
        matches!(feed("https://p.example/x?y=1"), PriceFeed::Http(url) if url.expose() == "https://p.example/x?y=1")
    );
}
