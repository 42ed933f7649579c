//! The report of `tracera check-config`.

use std::fmt::Write as _;

use super::address::redact_url;
use super::portfolio::in_currency;
use super::problem::escaped;
use super::table::{Exposure, Fallback, Variable, sections};
use super::{
    Config, Environment, MailSettings, OidcSettings, Origin, Problem, SessionStoreKind,
    SmtpSecurity,
};

/// Lists every variable with its value and source. Then it describes what the server would do, or
/// why it would not start. Contains no secret.
pub fn report(environment: &Environment, config: &Result<Config, Vec<Problem>>) -> String {
    let mut text = String::from("What `tracera serve` would do here; nothing was connected to.\n");
    for section in sections() {
        let _ = writeln!(text, "\n{}", section.title);
        for row in section.variables {
            let value = shown(row, environment, config);
            let origin = match environment.origin(row.name) {
                Some(Origin::Process) => "environment",
                Some(Origin::DotEnv) => ".env",
                Some(Origin::File) => "file",
                Some(Origin::DevSecret) => "development secret",
                None => "default",
            };
            let _ = writeln!(text, "  {:<33} {value}  ({origin})", row.name);
        }
    }
    match config {
        Ok(config) => summarize(&mut text, config),
        Err(problems) => {
            text.push_str("\nThe server would not start:\n");
            for problem in problems {
                let _ = writeln!(text, "  {problem}");
            }
        }
    }
    text
}

fn shown(
    row: &Variable,
    environment: &Environment,
    config: &Result<Config, Vec<Problem>>,
) -> String {
    let Some(value) = environment.given(row.name) else {
        return match (row.fallback, config) {
            (Fallback::Derived(_), Ok(config)) => derived(row.name, config),
            (Fallback::Derived(rule), Err(_)) => rule.to_owned(),
            // The default feed is requested in the configured currency.
            (Fallback::Value(usual), Ok(config)) if row.name == "PRICE_FEED_URL" => {
                in_currency(usual, &config.prices.currency)
            }
            (Fallback::Required, _) => "missing".to_owned(),
            (Fallback::Value(_) | Fallback::Unset, _) => {
                environment.effective(row.name).unwrap_or("unset").to_owned()
            }
        };
    };
    let refused =
        config.as_ref().is_err_and(|problems| problems.iter().any(|it| it.subject() == row.name));
    match row.exposure {
        Exposure::Public if !refused => escaped(value),
        Exposure::Url if !refused => redact_url(value),
        // A refused value may be a secret that was meant for another variable.
        _ => format!("set ({} bytes)", value.len()),
    }
}

/// The effective value of a variable whose default depends on others.
fn derived(name: &str, config: &Config) -> String {
    match name {
        "SESSION_COOKIE_SECURE" => config.session.cookie_secure.to_string(),
        "SESSION_COOKIE_NAME" => config.session.cookie_name.clone(),
        "SESSION_STORE" => config.store.sessions.to_string(),
        "REDIS_URL" => config.store.redis.as_ref().map_or("unset".to_owned(), ToString::to_string),
        "DATABASE_URL" => config.store.database.to_string(),
        "PRICE_FALLBACK_URLS" if config.prices.fallbacks.is_empty() => "unset".to_owned(),
        "PRICE_FALLBACK_URLS" => {
            config.prices.fallbacks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        }
        "SMTP_HELLO_NAME" => match &config.mail {
            MailSettings::Smtp(smtp) => smtp.hello.to_string(),
            _ => "unset".to_owned(),
        },
        "OIDC_NAME" => {
            config.auth.oidc.as_ref().map_or("unset".to_owned(), |oidc| escaped(&oidc.name))
        }
        "LOG_FORMAT" => "text on a terminal, else json".to_owned(),
        other => unreachable!("{other} has no derived default"),
    }
}

fn summarize(text: &mut String, config: &Config) {
    let sessions = match (&config.store.redis, config.store.sessions) {
        (Some(url), _) => url.to_string(),
        (None, SessionStoreKind::Postgres) => config.store.database.to_string(),
        (None, _) => format!("embedded, in {}", config.store.data_dir.display()),
    };
    let secure = if config.session.cookie_secure { "yes" } else { "no" };
    let lines = [
        ("listen on", config.http.listen_addr.to_string()),
        ("be known as", config.http.base_url.origin().ascii_serialization()),
        ("keep sessions in", sessions),
        ("keep users in", config.store.database.to_string()),
        ("send cookies over https only", secure.to_owned()),
    ];
    text.push_str("\nThe server would\n");
    for (what, how) in lines {
        let _ = writeln!(text, "  {what:<29} {how}");
    }
    text.push_str("  sign people in by\n");
    for (method, state) in sign_in_methods(config) {
        let _ = writeln!(text, "    {method:<8} {state}");
    }
    if !config.warnings().is_empty() {
        text.push_str("\nWarnings\n");
    }
    for warning in config.warnings() {
        let _ = writeln!(text, "  {warning}");
    }
}

fn sign_in_methods(config: &Config) -> [(&'static str, String); 5] {
    let email = match &config.mail {
        MailSettings::Smtp(smtp) => {
            let how = match smtp.security {
                SmtpSecurity::Tls => "TLS",
                SmtpSecurity::StartTls => "STARTTLS",
                SmtpSecurity::Plain => "no TLS",
            };
            format!("on (SMTP to {}, port {}, {how}, from {})", smtp.host, smtp.port, smtp.from)
        }
        MailSettings::Resend(resend) => format!("on (Resend, from {})", resend.from),
        MailSettings::Terminal => "on (printed on the terminal)".to_owned(),
        MailSettings::None => "off (neither SMTP_URL nor RESEND_API_KEY is set)".to_owned(),
    };
    let of_issuer = |settings: Option<&OidcSettings>, variable| match settings {
        Some(OidcSettings { client_id, issuer, .. }) => {
            format!("on (client {}, issuer {})", escaped(client_id), issuer.as_str())
        }
        None => format!("off ({variable} is not set)"),
    };
    let google = of_issuer(config.auth.google.as_ref(), "GOOGLE_CLIENT_ID");
    let oidc = of_issuer(config.auth.oidc.as_ref(), "OIDC_CLIENT_ID");
    let github = match &config.auth.github {
        Some(github) => {
            format!("on (client {}, at {})", escaped(&github.client_id), github.url.as_str())
        }
        None => "off (GITHUB_CLIENT_ID is not set)".to_owned(),
    };
    let steam = format!("on (needs no key; {})", config.steam.openid_url.as_str());
    [("e-mail", email), ("Google", google), ("GitHub", github), ("Steam", steam), ("OIDC", oidc)]
}
