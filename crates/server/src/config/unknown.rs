//! Detects unknown names that were probably meant for this server.
//!
//! An environment contains hundreds of variables of other programs. Some have the prefixes used
//! here: `GITHUB_…` in CI, `STEAM_…` on a desktop, `REDIS_…` in Kubernetes. So a name is refused
//! only if no other program would use it.

use std::collections::BTreeMap;

use super::problem::{Problem, Wrong};
use super::reader::given;
use super::secret_file;
use super::table::variables;

/// Prefixes that no other software is known to use, except for the names in [`FOREIGN`].
const OWN_FAMILIES: [&str; 11] = [
    "AUTH_RATE_",
    "GITHUB_CLIENT_",
    "GOOGLE_CLIENT_",
    "MAGIC_LINK_",
    "PORTFOLIO_",
    "PRICE_",
    "RESEND_",
    "SESSION_",
    "STEAM_API_",
    "TRACERA_",
    "TRUSTED_PROX",
];

/// Names with such prefixes that desktops, shells and tools set.
const FOREIGN: [&str; 3] = ["RUSTUP_LOG", "SESSION_ID", "SESSION_MANAGER"];

/// Prefixes that other software uses too. There a longer last word is a different name rather than
/// a misspelling.
const SHARED_FAMILIES: [&str; 8] =
    ["DATABASE_", "GITHUB_", "GOOGLE_", "LOG_", "MAIL_", "OIDC_", "REDIS_", "RUST_"];

/// Names that mean a variable of the table but do not resemble it. Other programs use them too, so
/// they are refused only in `.env`.
const SYNONYMS: [(&str, &str); 1] = [("LOG_LEVEL", "RUST_LOG")];

/// The minimum length of an abbreviated word; shorter ones are ambiguous.
const LEAST_LETTERS: usize = 3;

/// Shorter names are more likely to resemble each other by chance.
const LONG_NAME: usize = 10;

/// Maximum number of edits for a suggestion, for a name that is certainly wrong.
const SUGGESTED_EDITS: usize = 3;

/// The problems with unknown names in `vars`.
pub(super) fn in_environment(vars: &BTreeMap<String, String>) -> impl Iterator<Item = Problem> {
    // An operator who sets `REDIS_HOST` means other `REDIS_` variables for this server too.
    let from_parts = given(vars, "REDIS_HOST").is_some() && given(vars, "REDIS_URL").is_none();
    let set =
        vars.iter().filter(|(name, value)| !value.is_empty() && !is_service_link(name, value));
    set.map(|(name, _)| name)
        .filter(move |name| {
            let is_part = from_parts && name.starts_with("REDIS_");
            !is_known(name) && (is_part || is_meant_for_us(name))
        })
        .map(|name| unknown(name))
}

/// Whether Kubernetes sets this variable for a service, which may be called `tracera` or
/// `portfolio`.
fn is_service_link(name: &str, value: &str) -> bool {
    name.contains("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.contains("_PORT_")
        || (name.ends_with("_PORT") && value.contains("://"))
}

/// The problem with an unknown name in `.env`, where all names are for this server.
pub(super) fn in_file(name: &str) -> Option<Problem> {
    (!is_known(name)).then(|| unknown(name))
}

pub(super) fn is_known(name: &str) -> bool {
    variables().any(|row| row.name == name)
        || secret_file::candidates().any(|(_, file)| file == name)
}

fn is_meant_for_us(name: &str) -> bool {
    let allowed = if name.len() < LONG_NAME { 1 } else { 2 };
    let begins_with = |families: &[&str]| families.iter().any(|family| name.starts_with(family));
    let is_spelt_out = spelt_out(name).is_some() && !begins_with(&SHARED_FAMILIES);
    let is_near = begins_with(&OWN_FAMILIES) || is_spelt_out || nearest(name, allowed).is_some();
    is_near && !FOREIGN.contains(&name)
}

fn unknown(name: &str) -> Problem {
    let synonym = SYNONYMS.into_iter().find(|(synonym, _)| *synonym == name).map(|(_, ours)| ours);
    let remedy =
        match synonym.or_else(|| spelt_out(name)).or_else(|| nearest(name, SUGGESTED_EDITS)) {
            Some(near) => format!("did you mean {near}?"),
            None => "remove it, or see `tracera --help` for the names there are".to_owned(),
        };
    Problem::new(name, Wrong::new("is not a variable of this server", remedy))
}

/// The variable that differs only in its last word, where one of the two words abbreviates the
/// other.
fn spelt_out(name: &str) -> Option<&'static str> {
    let (beginning, word) = name.rsplit_once('_')?;
    let mut names = variables().map(|row| row.name);
    names.find(|ours| {
        let Some((_, last)) = ours.rsplit_once('_').filter(|(before, _)| *before == beginning)
        else {
            return false;
        };
        word.len().min(last.len()) >= LEAST_LETTERS
            && (word.starts_with(last) || last.starts_with(word))
    })
}

/// The variable with the fewest edits to `name`, if at most `allowed`.
fn nearest(name: &str, allowed: usize) -> Option<&'static str> {
    variables()
        .filter(|row| row.name.len().abs_diff(name.len()) <= allowed)
        .map(|row| (edits(name.as_bytes(), row.name.as_bytes()), row.name))
        .filter(|(edits, _)| *edits <= allowed)
        .min()
        .map(|(_, name)| name)
}

/// The Levenshtein distance; swapping two neighbouring letters counts as one edit.
fn edits(a: &[u8], b: &[u8]) -> usize {
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 0..a.len() {
        let mut row = vec![i + 1];
        for j in 0..b.len() {
            let mut least = rows[i][j] + usize::from(a[i] != b[j]);
            least = least.min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                least = least.min(rows[i - 1][j - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(name: &str) -> Option<String> {
        let vars = BTreeMap::from([(name.to_owned(), "x".to_owned())]);
        in_environment(&vars).next().map(|problem| problem.to_string())
    }

    #[test]
    fn a_misspelt_name_is_refused_with_the_right_one() {
        for (wrong, right) in [
            ("SESION_SECRET", "SESSION_SECRET"),
            ("SESSION_LIFETIME_HOUR", "SESSION_LIFETIME_HOURS"),
            ("SMTP_URI", "SMTP_URL"),
            ("BASE_URI", "BASE_URL"),
            ("TRUSTED_PROXY", "TRUSTED_PROXIES"),
            ("LISTEN_ADR", "LISTEN_ADDR"),
            ("GITHUB_CLIENT_IDS", "GITHUB_CLIENT_ID"),
            ("LISTEN_ADDRESS", "LISTEN_ADDR"),
            ("METRICS_ADDRESS", "METRICS_ADDR"),
            ("DATA_DIRECTORY", "DATA_DIR"),
            ("REQUEST_TIMEOUT_SEC", "REQUEST_TIMEOUT_SECONDS"),
        ] {
            let expected =
                format!("{wrong} is not a variable of this server; did you mean {right}?");
            assert_eq!(judged(wrong), Some(expected));
        }
    }

    #[test]
    fn a_name_in_a_family_of_ours_is_refused() {
        for name in [
            "PORTFOLIO_CURRENCY",
            "RESEND_TOKEN",
            "SESSION_COOKIE_PATH",
            "SESSION_IDLE_TIMEOUT",
            "SESSION_LIFETIME",
            "SESSION_TTL",
            "MAGIC_LINK_EXPIRY",
            "TRACERA_DATA",
            "TRACERA_PORT",
        ] {
            assert!(judged(name).is_some(), "{name}");
        }
    }

    #[test]
    fn what_kubernetes_tells_of_a_service_named_like_us_is_left_alone() {
        for (name, value) in [
            ("TRACERA_SERVICE_HOST", "10.0.0.1"),
            ("TRACERA_SERVICE_PORT", "8080"),
            ("TRACERA_SERVICE_PORT_HTTP", "8080"),
            ("TRACERA_PORT", "tcp://10.0.0.1:8080"),
            ("TRACERA_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
            ("TRACERA_PORT_8080_TCP_ADDR", "10.0.0.1"),
            ("PORTFOLIO_PORT_80_TCP_PROTO", "tcp"),
        ] {
            let vars = BTreeMap::from([(name.to_owned(), value.to_owned())]);
            assert!(in_environment(&vars).next().is_none(), "{name}");
        }
    }

    #[test]
    fn names_of_other_software_are_left_alone() {
        for name in [
            "SESSION_MANAGER",
            "SESSION_ID",
            "GITHUB_SERVER_URL",
            "GITHUB_GRAPHQL_URL",
            "GITHUB_TOKEN",
            "GOOGLE_APPLICATION_CREDENTIALS",
            "REDIS_SERVICE_HOST",
            "REDIS_SERVICE_PORT",
            "REDIS_PORT_6379_TCP_ADDR",
            "REDIS_PORT_6379_TCP",
            "REDIS_PORT_6379_TCP_PROTO",
            "REDIS_NAME",
            "REDIS_USER",
            "REDIS_USERNAME",
            "REDIS_PASS",
            "REDIS_HOSTNAME",
            "REDIS_DATABASE",
            "REDIS_TLS_URL",
            "REDIS_VERSION",
            "DATABASE_HOST",
            "DATABASE_NAME",
            "DATABASE_PASSWORD",
            "DATABASE_PORT",
            "DATABASE_USER",
            "DATABASE_URL_UNPOOLED",
            "OIDC_REDIRECT_URI",
            "OIDC_RP_CLIENT_ID",
            "OIDC_SCOPES",
            "SMTP_HOST",
            "SMTP_PORT",
            "SMTP_USER",
            "SMTP_PASS",
            "SMTP_PASSWORD",
            "SMTP_SERVER",
            "MAIL",
            "MAILCHECK",
            "MAIL_HOST",
            "MAIL_FROM_NAME",
            "LOGNAME",
            "LOGFILE",
            "LOG_DIR",
            "LOG_FILE",
            "LOG_FORMATTER",
            "LOG_LEVEL",
            "LOG_PATH",
            "HOME",
            "HOST",
            "HOSTNAME",
            "PORT",
            "DATA",
            "DATA_PATH",
            "BASE_DIR",
            "BASE_PATH",
            "LISTEN_FDS",
            "LISTEN_FDNAMES",
            "LISTEN_PID",
            "LISTEN_PORT",
            "METRICS_PORT",
            "REQUEST_TIMEOUT",
            "GITHUB_ACTIONS",
            "GITHUB_API_KEY",
            "GITHUB_REF",
            "GITHUB_REPOSITORY",
            "GITHUB_RUN_ID",
            "GITHUB_WORKSPACE",
            "GOOGLE_API_KEY",
            "GOOGLE_CLOUD_PROJECT",
            "INVOCATION_ID",
            "JOURNAL_STREAM",
            "RUSTUP_HOME",
            "RUSTUP_LOG",
            "RUST_LOGGER",
            "RUST_LOG_STYLE",
            "RUST_BACKTRACE",
            "STEAM_RUNTIME",
            "SteamAppId",
            "XDG_DATA_DIRS",
            "PATH",
        ] {
            assert_eq!(judged(name), None);
        }
    }

    #[test]
    fn beside_a_host_of_redis_every_unknown_part_is_refused() {
        let of = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            let problems: Vec<_> = in_environment(&pairs.collect()).collect();
            problems.iter().map(|problem| problem.subject().to_owned()).collect::<Vec<_>>()
        };
        let user = ("REDIS_USERNAME", "u");
        assert_eq!(of(&[("REDIS_HOST", "h"), user]), ["REDIS_USERNAME"]);
        assert_eq!(of(&[("REDIS_HOST", "h"), ("REDIS_URL", "redis://h"), user]), [""; 0]);
        let kubernetes = [
            ("REDIS_HOST", "h"),
            ("REDIS_SERVICE_HOST", "10.0.0.1"),
            ("REDIS_SERVICE_PORT", "6379"),
            ("REDIS_PORT_6379_TCP_ADDR", "10.0.0.1"),
        ];
        assert_eq!(of(&kubernetes), [""; 0]);
    }

    #[test]
    fn what_others_call_the_filter_of_their_logs_is_refused_in_the_file_alone() {
        let problem = in_file("LOG_LEVEL").unwrap().to_string();
        assert_eq!(problem, "LOG_LEVEL is not a variable of this server; did you mean RUST_LOG?");
        assert_eq!(judged("LOG_LEVEL"), None);
    }

    #[test]
    fn the_distance_counts_insertions_deletions_replacements_and_swaps() {
        for (a, b, distance) in [
            ("", "", 0),
            ("", "ab", 2),
            ("kitten", "sitting", 3),
            ("ab", "ba", 1),
            ("abc", "cba", 2),
        ] {
            assert_eq!(edits(a.as_bytes(), b.as_bytes()), distance, "{a} {b}");
            assert_eq!(edits(b.as_bytes(), a.as_bytes()), distance, "{b} {a}");
        }
    }
}
