//! The meaning of single variables and of combinations.

use super::*;

#[test]
fn what_belongs_together_is_required_together() {
    let google = ("GOOGLE_CLIENT_ID", "x");
    let smtp = ("SMTP_URL", "smtps://mail.example");
    let resend = [("RESEND_API_KEY", "x"), ("RESEND_FROM_EMAIL", "a@b.example")];
    let github = [("GITHUB_CLIENT_ID", "x"), ("GITHUB_CLIENT_SECRET", "y")];
    let oidc = [
        ("OIDC_ISSUER_URL", "https://id.example"),
        ("OIDC_CLIENT_ID", "x"),
        ("OIDC_CLIENT_SECRET", "y"),
    ];
    let from = ("MAIL_FROM", "a@b.example");
    for (pairs, blamed) in [
        (vec![google], "GOOGLE_CLIENT_SECRET"),
        (vec![("GOOGLE_CLIENT_SECRET", "x")], "GOOGLE_CLIENT_ID"),
        (vec![github[0]], "GITHUB_CLIENT_SECRET"),
        (vec![github[1]], "GITHUB_CLIENT_ID"),
        (vec![github[0], github[1], ("GITHUB_URL", "https://git.example")], "GITHUB_API_URL"),
        (vec![oidc[0]], "OIDC_CLIENT_ID"),
        (vec![oidc[1]], "OIDC_CLIENT_SECRET"),
        (vec![oidc[1], oidc[2]], "OIDC_ISSUER_URL"),
        (vec![("OIDC_NAME", "x")], "OIDC_ISSUER_URL"),
        (vec![resend[0]], "RESEND_FROM_EMAIL"),
        (vec![resend[1]], "RESEND_API_KEY"),
        (vec![smtp], "MAIL_FROM"),
        (vec![smtp, from, resend[0], resend[1]], "RESEND_API_KEY"),
        (vec![("SMTP_URL", "smtp://localhost"), from, ("SMTP_CA_FILE", "ca.pem")], "SMTP_CA_FILE"),
        (vec![("REDIS_URL", "redis+cluster://h"), ("REDIS_CA_FILE", "ca.pem")], "REDIS_CA_FILE"),
        (vec![("REDIS_HOST", "h"), ("REDIS_CA_FILE", "ca.pem")], "REDIS_CA_FILE"),
        (
            vec![("REDIS_HOST", "h"), ("REDIS_CERT_FILE", "c"), ("REDIS_KEY_FILE", "k")],
            "REDIS_CERT_FILE",
        ),
        (vec![("REDIS_URL", "rediss://h"), ("REDIS_CERT_FILE", "c")], "REDIS_KEY_FILE"),
        (vec![("REDIS_PASSWORD", "b")], "REDIS_PASSWORD"),
        (vec![("SESSION_REPLICA_ACK", "1")], "SESSION_REPLICA_ACK"),
        (vec![("SESSION_STORE", "redis")], "SESSION_STORE"),
        (vec![("SESSION_STORE", "postgres")], "SESSION_STORE"),
        (vec![("PROXY_PROTOCOL", "on")], "PROXY_PROTOCOL"),
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
        assert_eq!(
            warned_about(&config).contains(&"SESSION_COOKIE_SECURE"),
            warned,
            "{base_url} {given}"
        );
    }
}

#[test]
fn what_is_probably_not_meant_is_a_warning() {
    assert_eq!(warned_about(&accepted(&[])), ["REDIS_URL", "SMTP_URL"]);
    let without_redis = accepted(&[("REDIS_CA_FILE", "ca.pem")]);
    assert_eq!(warned_about(&without_redis), ["REDIS_CA_FILE", "REDIS_URL", "SMTP_URL"]);
    let quiet =
        [("REDIS_HOST", "h"), ("RESEND_API_KEY", "k"), ("RESEND_FROM_EMAIL", "a@b.example")];
    for (pair, warned) in [
        (("BASE_URL", "http://tracera.example"), "BASE_URL"),
        (("LISTEN_ADDR", "127.0.0.1:9000"), "BASE_URL"),
        (("TRUSTED_PROXIES", "::/0"), "TRUSTED_PROXIES"),
        (("METRICS_ADDR", "0.0.0.0:9100"), "METRICS_ADDR"),
        (("MAIL_FROM", "a@b.example"), "MAIL_FROM"),
        (("SMTP_CA_FILE", "ca.pem"), "SMTP_CA_FILE"),
        (("LOG_LEVEL", "debug"), "RUST_LOG"),
        (("SESSION_SECRET", "0123456789abcdef,0123456789abcdef"), "SESSION_SECRET"),
    ] {
        assert_eq!(warned_about(&accepted(&quiet)), [""; 0]);
        assert_eq!(warned_about(&accepted(&[&quiet[..], &[pair]].concat())), [warned], "{pair:?}");
    }
}

#[test]
fn authorities_are_for_every_form_of_a_redis_url_with_tls() {
    for url in ["rediss://h", "rediss+sentinel://h/tracera", "rediss+cluster://h", "valkeys://h"] {
        let config = accepted(&[("REDIS_URL", url), ("REDIS_CA_FILE", "ca.pem")]);
        assert_eq!(config.store.redis_ca_file.as_deref(), Some(Path::new("ca.pem")), "{url}");
    }
}

#[test]
fn a_redis_url_is_built_from_its_parts() {
    for (pairs, url) in [
        (vec![("REDIS_HOST", "cache.example")], "redis://cache.example:6379/0"),
        (
            vec![("REDIS_HOST", "::1"), ("REDIS_PORT", "6380"), ("REDIS_DB", "3")],
            "redis://[::1]:6380/3",
        ),
        (
            vec![("REDIS_HOST", "h"), ("REDIS_PASSWORD", "p@:/ä")],
            "redis://:p%40%3A%2F%C3%A4@h:6379/0",
        ),
    ] {
        assert_eq!(accepted(&pairs).store.redis.unwrap().expose(), url);
    }
    let (_, text) =
        refused(Mode::Serve, &[("REDIS_HOST", "redis"), ("REDIS_PORT", "tcp://10.0.0.1:6379")]);
    assert!(text.contains("enableServiceLinks"), "{text}");
    let url = ("REDIS_URL", "redis+cluster://u:p@a:1,b:2");
    for unused in [
        ("REDIS_HOST", "h"),
        ("REDIS_PASSWORD", "p"),
        ("REDIS_DB", "1"),
        ("REDIS_PORT", "tcp://10.0.0.1:1"),
    ] {
        let both = accepted(&[url, unused]);
        assert!(warned_about(&both).contains(&unused.0), "{unused:?}");
        assert_eq!(both.store.redis.unwrap().expose(), url.1);
    }
    assert!(warned_about(&accepted(&[("REDIS_PORT", "tcp://10.0.0.1:1")])).contains(&"REDIS_PORT"));
}

#[test]
fn what_is_wrong_with_a_file_of_a_database_is_its_parameters_when_it_has_some() {
    for (url, wrong) in [
        ("sqlite://x.db?mode=ro", "has parameters that a file"),
        ("sqlite://data/", "names no file"),
    ] {
        let (_, text) = refused(Mode::Serve, &[("DATABASE_URL", url)]);
        assert!(text.starts_with(&format!("DATABASE_URL {wrong}")), "{text}");
    }
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
        (
            "smtps://u%40x:p%3A@mail.example",
            "mail.example",
            465,
            SmtpSecurity::Tls,
            Some(("u@x", "p:")),
        ),
        ("smtp://mail.example?tls=required", "mail.example", 587, SmtpSecurity::StartTls, None),
        ("smtp://localhost?tls=required", "localhost", 587, SmtpSecurity::StartTls, None),
        ("smtp://[::1]", "::1", 25, SmtpSecurity::Plain, None),
        ("smtp://u:p@localhost:1025", "localhost", 1025, SmtpSecurity::Plain, Some(("u", "p"))),
    ] {
        let MailSettings::Smtp(smtp) =
            accepted(&[("SMTP_URL", url), ("MAIL_FROM", "T <a@b.example>")]).mail
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
fn one_more_issuer_has_the_name_that_was_chosen_or_its_host() {
    let name = |given: &str| {
        let pairs = [
            ("OIDC_ISSUER_URL", "https://id.example:8443/realms/traders"),
            ("OIDC_CLIENT_ID", "i"),
            ("OIDC_CLIENT_SECRET", "s"),
            ("OIDC_NAME", given),
        ];
        accepted(&pairs).auth.oidc.unwrap().name
    };
    assert_eq!(
        (name(""), name("Our \u{fc}ber SSO")),
        ("id.example".into(), "Our \u{fc}ber SSO".into())
    );
}

#[test]
fn all_spellings_of_github_are_one_issuer() {
    let issuer = |url| {
        let pairs = [
            ("GITHUB_CLIENT_ID", "i"),
            ("GITHUB_CLIENT_SECRET", "s"),
            ("GITHUB_URL", url),
            ("GITHUB_API_URL", "https://api.github.com"),
        ];
        accepted(&pairs).auth.github.unwrap().url.as_str().to_owned()
    };
    for url in ["", "https://github.com", "https://github.com/", "HTTPS://GitHub.com:443//"] {
        assert_eq!(issuer(url), "https://github.com", "{url}");
    }
    assert_eq!(issuer("https://Git.example:8443/Here/"), "https://git.example:8443/Here");
}

#[test]
fn the_usual_feeds_are_in_the_configured_currency() {
    let usual = "https://api.skinport.com/v1/items?app_id=730&currency=USD&tradable=0";
    for (currency, fallbacks) in [("USD", 2), ("EUR", 1), ("SEK", 0)] {
        for given in ["", usual] {
            let prices =
                accepted(&[("PRICE_CURRENCY", currency), ("PRICE_FEED_URL", given)]).prices;
            let url = |feed: &PriceFeed| match feed {
                PriceFeed::Http(url) => url.expose().to_owned(),
                PriceFeed::File(path) => panic!("{path:?}"),
            };
            assert_eq!(url(&prices.feed), usual.replace("USD", currency));
            assert_eq!(prices.fallbacks.len(), fallbacks, "{currency}");
            let last = prices.fallbacks.last().map(url);
            assert!(
                last.is_none_or(|url| url.ends_with(&format!("/{currency}.json"))),
                "{currency}"
            );
        }
    }
    let own = accepted(&[
        ("PRICE_CURRENCY", "EUR"),
        ("PRICE_FEED_URL", "https://p.example/?currency=USD"),
    ]);
    assert!(own.prices.fallbacks.is_empty());
    assert!(
        matches!(own.prices.feed, PriceFeed::Http(url) if url.expose().ends_with("currency=USD"))
    );
}

#[test]
fn a_price_feed_is_a_file_or_an_address() {
    let feed = |url| accepted(&[("PRICE_FEED_URL", url)]).prices.feed;
    assert!(matches!(feed("file:///a%20b.json"),
            PriceFeed::File(path) if path == Path::new("/a b.json")));
    assert!(matches!(feed("https://p.example/x?y=1"),
            PriceFeed::Http(url) if url.expose() == "https://p.example/x?y=1"));
}

#[test]
fn a_sender_of_an_international_domain_is_written_as_mail_servers_know_it() {
    let smtp = ("SMTP_URL", "smtps://mail.example");
    for (from, written) in [
        ("a@bücher.example", "a@xn--bcher-kva.example"),
        ("Tracera <a@bücher.example>", "Tracera <a@xn--bcher-kva.example>"),
        ("Bücher <a@b.example>", "\"Bücher\" <a@b.example>"),
    ] {
        match accepted(&[smtp, ("MAIL_FROM", from)]).mail {
            MailSettings::Smtp(smtp) => {
                assert_eq!(smtp.from, written.parse().unwrap(), "{from}");
            }
            other => panic!("{other:?}"),
        }
    }
    let (_, text) = refused(Mode::Serve, &[smtp, ("MAIL_FROM", "bücher@b.example")]);
    assert!(text.starts_with("MAIL_FROM has letters before the @"), "{text}");
}

#[test]
fn the_mail_server_is_told_a_name_it_can_believe() {
    let smtp = ("SMTP_URL", "smtps://mail.example");
    for (base_url, from, given, told) in [
        ("https://tracera.example", "a@b.example", "", "tracera.example"),
        ("http://localhost:8080", "a@b.example", "", "b.example"),
        ("https://192.0.2.1", "a@bücher.example", "", "xn--bcher-kva.example"),
        ("https://tracera", "a@localhost", "", "[127.0.0.1]"),
        ("https://tracera.example", "a@b.example", "mail.c.example", "mail.c.example"),
        ("https://tracera.example", "a@b.example", "[192.0.2.7]", "[192.0.2.7]"),
        ("https://tracera.example", "a@b.example", "[IPv6:2001:db8::7]", "[IPv6:2001:db8::7]"),
    ] {
        let vars = [smtp, ("BASE_URL", base_url), ("MAIL_FROM", from), ("SMTP_HELLO_NAME", given)];
        match accepted(&vars).mail {
            MailSettings::Smtp(smtp) => assert_eq!(smtp.hello.to_string(), told, "{vars:?}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_port_for_the_other_kind_of_tls_is_a_warning() {
    for (url, warned) in [
        ("smtps://mail.example", false),
        ("smtps://mail.example:2465", false),
        ("smtps://mail.example:587", true),
        ("smtps://mail.example:25", true),
        ("smtp://mail.example?tls=required", false),
        ("smtp://mail.example:465?tls=required", true),
    ] {
        let config = accepted(&[("SMTP_URL", url), ("MAIL_FROM", "a@b.example")]);
        assert_eq!(warned_about(&config).contains(&"SMTP_URL"), warned, "{url}");
    }
}

#[test]
fn database_urls_of_cloud_providers_are_understood_or_refused_with_what_to_do() {
    for url in [
        "postgresql://user:pass@/db?host=/cloudsql/project:region:instance",
        "postgres://postgres.ref:pass@aws-0.pooler.supabase.com:6543/postgres",
        "postgres://user:pass@[::1]:5432/db",
    ] {
        accepted(&[("DATABASE_URL", url)]);
    }
    for (url, remedy) in [
        (
            "postgresql://u:p@ep.neon.tech/db?sslmode=require&channel_binding=require",
            "leave channel_binding out",
        ),
        ("postgres://u:p@h/db?connect_timeout=10", "leave it out; known are"),
        ("postgres://u:p@h/db?pgbouncer=true", "leave it out; known are"),
    ] {
        let (_, text) = refused(Mode::Serve, &[("DATABASE_URL", url)]);
        assert!(text.starts_with("DATABASE_URL ") && text.contains(remedy), "{text}");
    }
}
