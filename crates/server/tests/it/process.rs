//! The program: its commands, exit statuses and output. No output contains a secret.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command as AsyncCommand};
use tracera_testkit::{Certificate, Postgres, RedisServer, SmtpMode, SmtpServer, free_port};

use crate::browser::Browser;
use crate::harness::{SECRET, eventually, token_of};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tracera");

/// Runs a command in an empty directory with only these variables. Returns exit status, stdout and
/// stderr.
pub(crate) fn run(args: &[&str], vars: &[(&str, &str)]) -> (i32, String, String) {
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new(PROGRAM)
        .args(args)
        .env_clear()
        .envs(vars.iter().copied())
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn serve_without_a_good_secret_is_one_clear_line_and_status_2() {
    let (status, out, err) = run(&["serve"], &[]);
    assert_eq!((status, &*out), (2, ""));
    assert_eq!(err.lines().count(), 1, "{err}");
    assert!(err.contains("SESSION_SECRET is missing") && err.contains("tracera secret"), "{err}");

    let (status, _, err) = run(&["serve"], &[("SESSION_SECRET", "short-canary")]);
    assert_eq!(status, 2);
    assert!(err.contains("SESSION_SECRET has 12 bytes") && !err.contains("canary"), "{err}");
}

#[test]
fn serve_lists_every_problem_at_once() {
    let vars =
        [("SESSION_LIFETIME_HOURS", "soon"), ("BASE_URL", "ftp://x"), ("LISTEN_ADDR", "here")];
    let (status, _, err) = run(&["serve"], &vars);
    assert_eq!(status, 2);
    assert_eq!(err.lines().count(), 4, "{err}");
    for name in ["SESSION_SECRET", "SESSION_LIFETIME_HOURS", "BASE_URL", "LISTEN_ADDR"] {
        assert!(err.contains(name), "{name}: {err}");
    }
}

#[test]
fn serve_with_an_unreachable_redis_is_one_line_and_status_1() {
    let url = format!("redis://:canary@127.0.0.1:{}", free_port());
    let listen = format!("127.0.0.1:{}", free_port());
    let vars = [("SESSION_SECRET", SECRET), ("REDIS_URL", &*url), ("LISTEN_ADDR", &listen)];
    let (status, _, err) = run(&["serve"], &vars);
    assert_eq!(status, 1, "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
    assert!(err.contains("REDIS_URL") && !err.contains("canary"), "{err}");
}

#[test]
fn serve_with_an_unreachable_database_is_one_line_and_status_1() {
    let url = format!("postgres://user:canary@127.0.0.1:{}/db", free_port());
    let listen = format!("127.0.0.1:{}", free_port());
    let vars = [("SESSION_SECRET", SECRET), ("DATABASE_URL", &*url), ("LISTEN_ADDR", &listen)];
    let (status, _, err) = run(&["serve"], &vars);
    assert_eq!(status, 1, "{err}");
    assert!(err.contains("DATABASE_URL") && !err.contains("canary"), "{err}");
}

#[tokio::test]
async fn serve_on_a_postgres_that_lets_nobody_in_says_in_one_line_what_to_do() {
    let postgres = Postgres::start().await;
    let url = postgres.url();
    let (server, _) = url.rsplit_once('/').unwrap();
    for (url, told) in [
        (
            format!("{server}/trasera"),
            "database \"trasera\" does not exist; create it, or correct its name in the URL",
        ),
        (
            url.replace("postgres@", "nobody@"),
            "cannot reach the database: role \"nobody\" does not exist; check that it runs there, \
             and host, user, password and name",
        ),
    ] {
        let (status, _, err) =
            run(&["serve"], &[("SESSION_SECRET", SECRET), ("DATABASE_URL", &*url)]);
        assert_eq!((status, &*err), (1, &*format!("tracera: DATABASE_URL: {told}\n")));
    }
}

#[tokio::test]
async fn serve_on_a_postgres_that_knows_the_tables_says_only_what_stopped_it() {
    let postgres = Postgres::start().await;
    let url = postgres.url();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let vars = [("SESSION_SECRET", SECRET), ("DATABASE_URL", &*url), ("LISTEN_ADDR", &listen)];
    assert_eq!(run(&["migrate"], &vars).0, 0);
    let (status, _, err) = run(&["serve"], &vars);
    assert_eq!(status, 1, "{err}");
    assert!(err.starts_with("tracera: LISTEN_ADDR: cannot listen on"), "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
}

#[test]
fn serve_without_a_place_to_write_names_the_variable_of_that_place() {
    for (variable, value) in
        [("DATA_DIR", "/proc/nothing"), ("DATABASE_URL", "sqlite:///proc/nothing/file")]
    {
        let (status, _, err) = run(&["serve"], &[("SESSION_SECRET", SECRET), (variable, value)]);
        assert_eq!(status, 1, "{err}");
        assert_eq!(err.lines().count(), 1, "{err}");
        assert!(
            err.starts_with(&format!("tracera: {variable}: cannot create /proc/nothing")),
            "{err}"
        );
    }
}

#[test]
fn serve_with_something_else_in_place_of_redis_is_one_line_and_status_1() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let other = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        std::io::Write::write_all(&mut stream, b"220 mail.example ESMTP\r\n").unwrap();
        // Reads until the program gives up.
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let (status, _, err) = run(&["serve"], &[("SESSION_SECRET", SECRET), ("REDIS_URL", &url)]);
    assert_eq!(status, 1, "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
    assert!(err.contains("REDIS_URL"), "{err}");
    drop(other);
}

#[test]
fn dev_refuses_to_listen_beyond_this_machine() {
    let (status, _, err) = run(&["dev"], &[("LISTEN_ADDR", "0.0.0.0:8080")]);
    assert_eq!(status, 2, "{err}");
    assert!(err.contains("LISTEN_ADDR"), "{err}");
}

#[test]
fn a_printed_secret_is_good_for_serve_and_never_the_same() {
    let (status, first, _) = run(&["secret"], &[]);
    let (_, second, _) = run(&["secret"], &[]);
    assert_eq!(status, 0);
    assert_ne!(first, second);
    let (status, out, err) = run(&["check-config"], &[("SESSION_SECRET", first.trim())]);
    assert_eq!(status, 0, "{err}");
    assert!(!out.contains(first.trim()));
}

#[test]
fn help_and_version_answer_without_any_configuration() {
    let (status, out, _) = run(&["--help"], &[]);
    assert_eq!(status, 0);
    assert!(out.contains("SESSION_SECRET") && out.contains("check-config"));
    let (status, out, _) = run(&["--version"], &[]);
    assert_eq!((status, &*out), (0, "tracera 0.1.0\n"));
}

#[test]
fn the_help_of_a_command_that_is_configured_tells_of_the_variables() {
    let (status, out, _) = run(&["serve", "--help"], &[]);
    assert_eq!(status, 0);
    assert!(out.contains("SESSION_LIFETIME_HOURS") && out.contains("Default: 72."), "{out}");
    let commands: [&[&str]; 5] =
        [&["dev"], &["check-config"], &["migrate"], &["sessions", "list"], &["send-test-mail"]];
    for command in commands {
        let (status, out, _) = run(&[command, &["--help"]].concat(), &[]);
        assert_eq!(status, 0);
        assert!(out.contains("`tracera --help` lists"), "{command:?}: {out}");
    }
}

/// The running program, with its log.
pub(crate) struct Running {
    child: Child,
    pub(crate) base: std::net::SocketAddr,
    log: std::sync::Arc<std::sync::Mutex<String>>,
}

impl Running {
    /// The peak of its resident memory, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id().unwrap()));
        let status = status.unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1_024
    }

    /// The path of the mailbox page in `dev`, with the printed key.
    pub(crate) fn mailbox_path(&self) -> Option<String> {
        let log = self.log();
        let at = log.split_whitespace().find(|word| word.contains("/dev/mailbox?key="))?;
        Some(at[at.find("/dev/")?..].to_owned())
    }

    pub(crate) async fn start(command: &str, directory: &Path, vars: &[(&str, &str)]) -> Self {
        let base = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
        Self::start_at(base, command, directory, vars).await
    }

    /// Starts it at an address that was in use before.
    pub(crate) async fn start_at(
        base: std::net::SocketAddr,
        command: &str,
        directory: &Path,
        vars: &[(&str, &str)],
    ) -> Self {
        let mut child = AsyncCommand::new(PROGRAM)
            .arg(command)
            .env_clear()
            .envs(vars.iter().copied())
            .env("LISTEN_ADDR", base.to_string())
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let log = std::sync::Arc::<std::sync::Mutex<String>>::default();
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let collect = |mut lines: tokio::io::Lines<_>,
                       log: std::sync::Arc<std::sync::Mutex<String>>| async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let mut log = log.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        };
        tokio::spawn(collect(
            BufReader::new(Box::new(stderr) as Box<dyn tokio::io::AsyncRead + Send + Unpin>)
                .lines(),
            log.clone(),
        ));
        tokio::spawn(collect(
            BufReader::new(Box::new(stdout) as Box<dyn tokio::io::AsyncRead + Send + Unpin>)
                .lines(),
            log.clone(),
        ));
        let running = Self { child, base, log };
        let browser = running.browser();
        eventually(|| async {
            browser.try_send(reqwest::Method::GET, "/healthz", &[], None).await.ok()
        })
        .await;
        running
    }

    pub(crate) fn browser(&self) -> Browser {
        Browser::new(self.base)
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Asks it to stop, waits for its exit, and returns the status.
    pub(crate) async fn stop(self) -> Option<i32> {
        self.signal("-TERM").await;
        self.ended().await
    }

    pub(crate) async fn signal(&self, signal: &str) {
        let pid = self.child.id().unwrap().to_string();
        AsyncCommand::new("kill").args([signal, &pid]).status().await.unwrap();
    }

    /// Waits for its exit, and returns the status.
    pub(crate) async fn ended(mut self) -> Option<i32> {
        let ended = tokio::time::timeout(Duration::from_secs(15), self.child.wait()).await;
        ended.expect("it stops within its drain time").unwrap().code()
    }
}

#[tokio::test]
async fn healthcheck_asks_the_server_that_runs_with_the_same_environment() {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret");
    std::fs::write(&secret, format!("{SECRET}\n")).unwrap();
    let served = Running::start(
        "serve",
        directory.path(),
        &[("SESSION_SECRET_FILE", secret.to_str().unwrap())],
    )
    .await;
    let listen = served.base.to_string();
    let ask = || {
        let listen = listen.clone();
        tokio::task::spawn_blocking(move || run(&["healthcheck"], &[("LISTEN_ADDR", &listen)]))
    };
    let (status, out, err) = ask().await.unwrap();
    assert_eq!((status, out.lines().count(), &*err), (0, 1, ""));
    assert!(out.starts_with(r#"{"status":"ok","#), "{out}");
    assert!(!served.log().contains(SECRET));
    assert_eq!(served.stop().await, Some(0));
    let (status, out, err) = ask().await.unwrap();
    assert_eq!((status, &*out, err.lines().count()), (1, "", 1));
    assert!(err.starts_with(&format!("tracera: no answer from {listen}: ")), "{err}");
}

#[tokio::test]
async fn dev_needs_nothing_and_its_sessions_survive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let dev = Running::start("dev", directory.path(), &[]).await;
    let browser = dev.browser();
    browser.request_link("a@example.com").await.expect(200);
    let link = eventually(|| async {
        let log = dev.log();
        log.split_whitespace().find(|word| word.contains("verify?token=")).map(str::to_owned)
    })
    .await;
    assert!(link.starts_with(&format!("http://localhost:{}/", dev.base.port())), "{link}");
    let mailbox = eventually(|| async { dev.mailbox_path() }).await;
    let visitor = dev.browser();
    for closed in ["/dev/mailbox", "/dev/mailbox?key=", "/dev/mailbox?key=0"] {
        visitor.get(closed).await.expect_error(403, "mailbox_key_required");
    }
    let opened = visitor.get(&mailbox).await.expect(200);
    assert!(opened.body.contains("a@example.com"));
    visitor.get("/dev/mailbox").await.expect(200);
    browser.redeem(&token_of(&link)).await.expect(200);
    let user = browser.me().await;
    assert!(user.is_some());
    assert!(dev.log().contains("Tracera is ready: http://localhost:"));
    assert_eq!(dev.stop().await, Some(0));

    let again = Running::start("dev", directory.path(), &[]).await;
    assert_eq!(browser.at(again.base).me().await, user);
    assert_eq!(again.stop().await, Some(0));
}

#[tokio::test]
async fn a_redis_dump_and_the_log_at_trace_hold_nothing_to_sign_in_with() {
    let directory = tempfile::tempdir().unwrap();
    let (redis, smtp) = tokio::join!(RedisServer::start(), SmtpServer::start(SmtpMode::Plain));
    let smtp_url = format!("smtp://127.0.0.1:{}", smtp.port());
    let redis_url = redis.url();
    let vars = [
        ("SESSION_SECRET", SECRET),
        ("REDIS_URL", &*redis_url),
        ("SMTP_URL", &*smtp_url),
        ("MAIL_FROM", "Tracera <noreply@tracera.example>"),
        ("RUST_LOG", "trace"),
        ("LOG_FORMAT", "json"),
    ];
    let server = Running::start("serve", directory.path(), &vars).await;
    let browser = server.browser();
    let mut secrets = vec![("secret", SECRET.to_owned())];
    let csrf = browser.csrf().await;
    secrets.push(("CSRF token", csrf));
    browser.request_link("canary.person@example.com").await.expect(200);
    let mail = smtp.wait_for_message(|mail| mail.rcpt_tos == ["canary.person@example.com"]).await;
    let link = mail.text.split_whitespace().find(|word| word.contains("verify?token=")).unwrap();
    let token = token_of(link);
    secrets.push(("address", "canary.person".to_owned()));
    secrets.push(("visitor cookie", browser.cookie("visitor").unwrap()));
    browser.get(&format!("/api/v1/auth/magic/verify?token={token}")).await.expect(200);
    browser.redeem("a wrong token").await.expect(400);
    browser.redeem(&token).await.expect(200);
    server.browser().redeem(&token).await.expect(400);
    secrets.push(("link token", token));
    let code = mail.subject.split_whitespace().last().unwrap().to_owned();
    browser.post("/api/v1/auth/magic/verify", &json!({ "code": code })).await.expect(400);
    let cookie = browser.cookie("session").unwrap();
    secrets.push(("session CSRF token", browser.csrf().await));
    secrets.push(("whole session cookie", cookie.clone()));
    // The cookie's leading tag may be in the store; the secret after it may not.
    secrets.push(("session cookie's secret", cookie[28..66].to_owned()));

    let dump = redis.dump_all().await;
    let log = server.log();
    assert!(log.contains(r#""level":"DEBUG""#), "the log says all it can");
    for (what, secret) in &secrets {
        for form in [secret.clone(), percent(secret), hex(secret)] {
            assert!(!log.contains(&form), "the {what} is in the log");
            assert!(!contains(&dump, form.as_bytes()), "the {what} is in Redis");
        }
    }
    assert!(!log.contains(&format!("\"{code}\"")), "the code is in the log");
    for line in log.lines().filter(|line| line.starts_with('{')) {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
    assert_eq!(server.stop().await, Some(0));
}

#[tokio::test]
async fn a_redis_that_drops_sessions_when_memory_is_short_is_named_at_start() {
    let directory = tempfile::tempdir().unwrap();
    for (policy, named) in [("allkeys-lru", true), ("noeviction", false)] {
        let redis = RedisServer::start_with(&["--maxmemory-policy", policy]).await;
        let url = redis.url();
        let server = Running::start("dev", directory.path(), &[("REDIS_URL", &*url)]).await;
        eventually(|| async { server.log().contains("listening").then_some(()) }).await;
        let log = server.log();
        assert_eq!(log.contains("set maxmemory-policy to noeviction"), named, "{policy}: {log}");
        assert_eq!(server.stop().await, Some(0));
    }
}

#[tokio::test]
async fn redis_may_have_a_certificate_of_the_named_authority_and_a_file_that_names_none_is_refused()
{
    let certificate = Arc::new(Certificate::create().await);
    let redis = RedisServer::start_with_tls(&certificate).await;
    let (url, authority) = (redis.url(), certificate.authority().to_str().unwrap());
    let vars = |file| [("SESSION_SECRET", SECRET), ("REDIS_URL", &*url), ("REDIS_CA_FILE", file)];
    let directory = tempfile::tempdir().unwrap();
    let server = Running::start("dev", directory.path(), &vars(authority)).await;
    eventually(|| async { server.log().contains("listening").then_some(()) }).await;
    assert_eq!(server.browser().get("/api/v1/health").await.expect(200).json()["redis"], "up");
    assert_eq!(server.stop().await, Some(0));

    for (file, named) in
        [("", "REDIS_URL"), ("gone.pem", "REDIS_CA_FILE"), ("/dev/null", "REDIS_CA_FILE")]
    {
        let (status, _, err) = run(&["serve"], &vars(file));
        assert_eq!((status, err.lines().count()), (1, 1), "{err}");
        assert!(err.contains(named), "{err}");
    }
}

#[tokio::test]
async fn why_redis_cannot_be_connected_to_is_said_with_its_variable_and_remedy() {
    let certificate = Arc::new(Certificate::create_of_authority().await);
    let redis = RedisServer::start_with_tls(&certificate).await;
    let (url, authority) = (redis.url(), certificate.authority().to_str().unwrap());
    let port = free_port().to_string();
    let nobody = format!("127.0.0.1:{port}");
    let (sentinel, named) = (
        format!("redis+sentinel://{nobody}?sentinel_password=p"),
        format!("redis+sentinel://{nobody}/name"),
    );
    for (vars, variable, remedy) in [
        (
            vec![("REDIS_URL", &*url), ("REDIS_CA_FILE", authority)],
            "REDIS_URL: ",
            "basicConstraints=CA:FALSE\n",
        ),
        (vec![("REDIS_URL", &sentinel)], "REDIS_URL: ", "redis+sentinel://host:26379/NAME\n"),
        (vec![("REDIS_URL", &named)], "REDIS_URL: ", "user and password are right\n"),
        (
            vec![("REDIS_HOST", "127.0.0.1"), ("REDIS_PORT", &port)],
            "REDIS_HOST: ",
            "user and password are right\n",
        ),
    ] {
        let (status, _, err) =
            run(&["serve"], &[&vars[..], &[("SESSION_SECRET", SECRET)]].concat());
        assert_eq!((status, err.lines().count()), (1, 1), "{err}");
        assert!(err.starts_with(&format!("tracera: {variable}")) && err.ends_with(remedy), "{err}");
    }
}

#[tokio::test]
async fn a_file_of_certificates_that_cannot_be_used_is_found_before_anything_is_connected_to() {
    let certificate = Certificate::create().await;
    let good = certificate.authority().to_str().unwrap();
    let redis = |file| vec![("REDIS_URL", "rediss://localhost"), ("REDIS_CA_FILE", file)];
    let smtp = |file| {
        vec![
            ("SMTP_URL", "smtps://localhost"),
            ("MAIL_FROM", "a@b.example"),
            ("SMTP_CA_FILE", file),
        ]
    };
    for (vars, named) in [
        (redis(good), None),
        (smtp(good), None),
        (redis("gone.pem"), Some("REDIS_CA_FILE")),
        (redis("/dev/null"), Some("REDIS_CA_FILE")),
        (smtp("gone.pem"), Some("SMTP_CA_FILE")),
        (smtp("/dev/null"), Some("SMTP_CA_FILE")),
    ] {
        let (status, _, err) =
            run(&["check-config"], &[&vars[..], &[("SESSION_SECRET", SECRET)]].concat());
        assert_eq!(status, if named.is_some() { 2 } else { 0 }, "{vars:?}: {err}");
        assert!(named.is_none_or(|named| err.contains(named)), "{vars:?}: {err}");
    }
}

#[tokio::test]
async fn what_a_request_does_is_logged_under_the_id_in_its_answer() {
    let directory = tempfile::tempdir().unwrap();
    let dev = Running::start("dev", directory.path(), &[("LOG_FORMAT", "json")]).await;
    let browser = dev.browser();
    browser.request_link("a@example.com").await.expect(200);
    let link = eventually(|| async {
        let log = dev.log();
        log.split_whitespace().find(|word| word.contains("verify?token=")).map(str::to_owned)
    })
    .await;
    let signed_in = browser.redeem(&token_of(&link)).await.expect(200);
    let refused = browser.get("/api/v1/auth/steam/login/callback?state=unknown").await.expect(303);
    for (answer, event) in [(signed_in, "signed_in"), (refused, "callback_refused")] {
        let id = answer.header("x-request-id");
        let is_of_it = |line: &str| {
            let entry: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
            entry["event"] == event && entry["span"]["id"] == id
        };
        eventually(|| async { dev.log().lines().any(is_of_it).then_some(()) }).await;
    }
    assert_eq!(dev.stop().await, Some(0));
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

fn percent(text: &str) -> String {
    text.bytes().fold(String::new(), |all, byte| all + &format!("%{byte:02X}"))
}

fn hex(text: &str) -> String {
    text.bytes().fold(String::new(), |all, byte| all + &format!("{byte:02x}"))
}

#[tokio::test]
async fn the_operator_lists_and_ends_sessions() {
    let directory = tempfile::tempdir().unwrap();
    let (redis, smtp) = tokio::join!(RedisServer::start(), SmtpServer::start(SmtpMode::Plain));
    let smtp_url = format!("smtp://127.0.0.1:{}", smtp.port());
    let redis_url = redis.url();
    let data = directory.path().to_str().unwrap().to_owned();
    let vars = [
        ("SESSION_SECRET", SECRET),
        ("REDIS_URL", &*redis_url),
        ("SMTP_URL", &*smtp_url),
        ("MAIL_FROM", "noreply@tracera.example"),
        ("DATA_DIR", &*data),
    ];
    let server = Running::start("serve", directory.path(), &vars).await;
    let browser = server.browser();
    browser.request_link("a@example.com").await.expect(200);
    let mail = smtp.wait_for_message(|_| true).await;
    let link = mail.text.split_whitespace().find(|word| word.contains("verify?token=")).unwrap();
    browser.redeem(&token_of(link)).await.expect(200);

    let (status, out, err) = run(&["sessions", "list", "--user", "a@example.com"], &vars);
    assert_eq!(status, 0, "{err}");
    assert!(out.contains("Firefox on Linux") && out.contains("email"), "{out}");
    let (status, _, err) = run(&["sessions", "revoke", "--user", "nobody@example.com"], &vars);
    assert_eq!((status, err.contains("no such user")), (1, true), "{err}");
    let (status, out, _) = run(&["sessions", "revoke", "--user", "A@Example.com"], &vars);
    assert_eq!((status, out.contains("ended 1 session,")), (0, true), "{out}");
    assert_eq!(browser.me().await, None);
    let (status, out, _) = run(&["sessions", "list", "--user", "a@example.com"], &vars);
    assert_eq!((status, &*out), (0, "the user has no live session\n"));
    browser.request_link("a@example.com").await.expect(200);
    let first = mail.text;
    let mail = smtp.wait_for_message(|mail| mail.text != first).await;
    let link = mail.text.split_whitespace().find(|word| word.contains("verify?token=")).unwrap();
    browser.redeem(&token_of(link)).await.expect(200);
    let told = browser.get("/api/v1/auth/events").await.expect(200).json();
    let events = told["events"].as_array().unwrap();
    let event =
        events.iter().find(|event| event["event"] == "revoked_by_operator").expect("it is told");
    assert_eq!(
        (&event["ip"], &event["device"]),
        (&json!(null), &json!("the operator's command line"))
    );
    let (status, _, err) = run(&["migrate"], &vars);
    assert_eq!(status, 0, "{err}");

    // A missing confirmation by Redis is reported, and links and tokens become void nevertheless.
    let (other, second) = (server.browser(), mail.text);
    other.request_link("a@example.com").await.expect(200);
    let mail = smtp.wait_for_message(|mail| mail.text != first && mail.text != second).await;
    let link = mail.text.split_whitespace().find(|word| word.contains("verify?token=")).unwrap();
    let waiting = [&vars[..], &[("SESSION_REPLICA_ACK", "1")]].concat();
    let (status, _, err) = run(&["sessions", "revoke", "--user", "a@example.com"], &waiting);
    let expected = "tracera: ended 1 session, any sign-in under way and any unused link, but only \
                    0 of 1 replicas confirmed in time: a failover may undo it\n";
    assert_eq!((status, &*err), (1, expected));
    assert_eq!(browser.me().await, None);
    other.redeem(&token_of(link)).await.expect_error(400, "link_invalid");
    let user = "a@example.com";
    let (status, out, err) = run(&["users", "reset-ways-in", "--user", user], &vars);
    assert_eq!((status, out.contains("removed passkeys")), (0, true), "{err}");
    smtp.wait_for_message(|mail| mail.text.contains("operator of this server removed")).await;
    assert_eq!(server.stop().await, Some(0));
}

#[test]
fn the_operator_is_not_told_that_all_is_well_in_a_store_made_just_now() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let vars = [("SESSION_SECRET", SECRET), ("DATA_DIR", data.to_str().unwrap())];
    let list = ["sessions", "list", "--user", "a@example.com"];
    let (status, _, err) = run(&list, &vars);
    assert_eq!(
        (status, err.contains("there is no") && err.contains("tracera.db")),
        (1, true),
        "{err}"
    );
    assert!(!data.exists(), "nothing was made");
    assert_eq!(run(&["migrate"], &vars).0, 0);
    let (status, _, err) = run(&list, &vars);
    assert_eq!(
        (status, err.contains("sessions.redb") && err.contains("REDIS_URL")),
        (1, true),
        "{err}"
    );
    assert!(!data.join("sessions.redb").exists());
}

#[test]
fn migrate_asks_only_for_what_it_uses() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let elsewhere = [
        ("DATA_DIR", data.to_str().unwrap()),
        ("SESSION_SECRET_FILE", "/nonexistent"),
        ("REDIS_URL", "nonsense"),
        ("SMTP_URL", "nonsense"),
    ];
    let (status, out, err) = run(&["migrate"], &elsewhere);
    assert_eq!((status, &*out, &*err), (0, "the database is up to date\n", ""));
    assert!(data.join("tracera.db").exists());
    for (name, value, complaint) in [
        ("DATABASE_URL", "mysql://u:canary@h/d", "DATABASE_URL is for no database we know"),
        ("DATABASE_URL_FILE", "/nonexistent", "DATABASE_URL_FILE names a file that cannot be read"),
        (
            "DATABASE_URI",
            "postgres://u:canary@h/d",
            "DATABASE_URI is not a variable of this server; did you",
        ),
        ("DATA_DIR", "file://data", "DATA_DIR is \"file://data\""),
    ] {
        let (status, _, err) = run(&["migrate"], &[(name, value)]);
        assert_eq!((status, err.lines().count()), (2, 1), "{err}");
        assert!(
            err.starts_with(&format!("tracera: {complaint}")) && !err.contains("canary"),
            "{err}"
        );
    }
}

#[tokio::test]
async fn metrics_are_served_on_their_own_socket_only() {
    let directory = tempfile::tempdir().unwrap();
    let metrics = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
    let addr = metrics.to_string();
    let vars = [
        ("SESSION_SECRET", SECRET),
        ("METRICS_ADDR", &*addr),
        ("PRICE_FEED_URL", "file:///nothing"),
        ("RESEND_API_KEY", "key"),
        ("RESEND_FROM_EMAIL", "a@example.com"),
    ];
    let server = Running::start("serve", directory.path(), &vars).await;
    server.browser().get("/api/v1/auth/me").await.expect(200);
    server.browser().get("/metrics").await.expect(404);
    let shown =
        reqwest::get(format!("http://{metrics}/metrics")).await.unwrap().text().await.unwrap();
    let counted = r#"tracera_http_requests_total{route="/api/v1/auth/me",status="200"} 1"#;
    assert!(shown.lines().any(|line| line == counted), "{shown}");
    assert!(shown.contains("tracera_session_cache_total"), "{shown}");
    for expected in [
        "tracera_session_cache_staleness_seconds 0",
        "tracera_session_cache_entries 0",
        "tracera_mails_waiting 0",
        r#"tracera_mails_total{outcome="given_up"} 0"#,
    ] {
        assert!(shown.lines().any(|line| line == expected), "{shown}");
    }
    assert_eq!(server.stop().await, Some(0));
}

#[tokio::test]
async fn check_config_with_connect_tries_what_serve_needs_and_writes_nothing() {
    let smtp = SmtpServer::start(SmtpMode::Plain).await;
    let (redis, postgres) = tokio::join!(RedisServer::start(), Postgres::start());
    let (redis_url, database) = (redis.url(), postgres.url());
    let smtp_url = format!("smtp://127.0.0.1:{}", smtp.port());
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let vars = [
        ("SESSION_SECRET", SECRET),
        ("REDIS_URL", &*redis_url),
        ("DATABASE_URL", &*database),
        ("SMTP_URL", &*smtp_url),
        ("MAIL_FROM", "a@tracera.example"),
        ("PRICE_FEED_URL", &*nobody),
        ("GOOGLE_ISSUER_URL", &*nobody),
        ("GOOGLE_CLIENT_ID", "id"),
        ("GOOGLE_CLIENT_SECRET", "canary"),
    ];
    let check = |vars: Vec<(&'static str, String)>| {
        tokio::task::spawn_blocking(move || {
            let vars: Vec<_> = vars.iter().map(|(name, value)| (*name, &**value)).collect();
            run(&["check-config", "--connect"], &vars)
        })
    };
    let owned = |vars: &[(&'static str, &str)]| {
        vars.iter().map(|(name, value)| (*name, (*value).to_owned())).collect::<Vec<_>>()
    };
    let (status, out, err) = check(owned(&vars)).await.unwrap();
    assert_eq!((status, &*err), (0, ""), "feeds and discovery are warnings: {out}");
    let lines: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    for what in ["Redis", "database", "mail"] {
        let found =
            lines.iter().any(|line| matches!(&line[..], [name, _, "ms", "ok"] if *name == what));
        assert!(found, "{what}: {out}");
    }
    assert!(out.contains("warning: error sending request"), "{out}");
    assert!(out.contains("has no usable discovery document"), "{out}");
    assert!(!out.contains("canary"), "{out}");
    assert_eq!(redis.cli(&["DBSIZE"]).await, "0");
    assert_eq!(smtp.messages(), []);
    let (status, _, err) = run(&["sessions", "list", "--user", "a@b.example"], &vars);
    assert_eq!((status, err.contains("no such user")), (1, true), "{err}");

    for (name, broken) in [
        ("REDIS_URL", format!("redis://127.0.0.1:{}", free_port())),
        ("DATABASE_URL", format!("postgres://127.0.0.1:{}/db", free_port())),
        ("SMTP_URL", format!("smtp://127.0.0.1:{}", free_port())),
    ] {
        let broken: Vec<_> = owned(&vars)
            .into_iter()
            .filter(|(it, _)| *it != name)
            .chain([(name, broken)])
            .collect();
        let (status, out, _) = check(broken).await.unwrap();
        assert_eq!((status, out.matches("FAILED: ").count()), (1, 1), "{name}: {out}");
    }
}

#[tokio::test]
async fn a_test_mail_prints_what_the_mail_server_says() {
    let smtp = SmtpServer::start(SmtpMode::Plain).await;
    let smtp_url = format!("smtp://127.0.0.1:{}", smtp.port());
    let send = move || {
        let vars = [
            ("SESSION_SECRET", SECRET),
            ("SMTP_URL", &*smtp_url),
            ("MAIL_FROM", "sign-in@tracera.example"),
        ];
        run(&["send-test-mail", "alice@example.com"], &vars)
    };
    let outcome = tokio::task::spawn_blocking(send.clone()).await.unwrap();
    assert_eq!(
        outcome,
        (0, "the mail server answered: 250 2.0.0 kept\n".to_owned(), String::new())
    );
    assert_eq!(smtp.messages()[0].rcpt_tos, ["alice@example.com"]);
    smtp.refuse_next(1, "550 5.7.1 alice@example.com: not from you");
    let (status, _, err) = tokio::task::spawn_blocking(send).await.unwrap();
    let told = "tracera: the mail server answered: 550 5.7.1 alice@example.com: not from you\n";
    assert_eq!((status, &*err), (1, told));
    let (status, _, err) = run(&["send-test-mail", "a@b.example"], &[("SESSION_SECRET", SECRET)]);
    assert_eq!((status, err.contains("set SMTP_URL")), (1, true), "{err}");
}

#[tokio::test]
async fn a_server_that_is_about_to_end_says_so_and_answers_meanwhile() {
    for signal in ["-TERM", "-HUP"] {
        let directory = tempfile::tempdir().unwrap();
        let vars = [
            ("SESSION_SECRET", SECRET),
            ("PRICE_FEED_URL", "file:///nothing"),
            ("DRAIN_SECONDS", "2"),
        ];
        let server = Running::start("serve", directory.path(), &vars).await;
        let browser = server.browser();
        browser.get("/api/v1/health").await.expect(200);
        server.signal(signal).await;
        let health = eventually(|| async {
            let health = browser.get("/api/v1/health").await;
            (health.status == 503).then_some(health)
        })
        .await;
        assert_eq!(health.json()["status"], "stopping");
        assert_eq!(health.header("connection"), "close");
        let live = browser.get("/healthz").await;
        assert_eq!((live.status.as_u16(), live.header("connection")), (200, "close"));
        browser.get("/login").await.expect(200);
        let base = server.base;
        assert_eq!(server.ended().await, Some(0), "{signal}");
        assert!(tokio::net::TcpStream::connect(base).await.is_err());
    }
}

#[tokio::test]
async fn a_socket_handed_over_by_systemd_is_listened_on() {
    // Like `systemd-socket-activate`.
    let hand_over = "import os, socket, sys; s = socket.create_server(('127.0.0.1', 0)); \
                     print(s.getsockname()[1], flush=True); os.dup2(s.fileno(), 3); \
                     os.set_inheritable(3, True); os.environ.update(LISTEN_FDS='1', \
                     LISTEN_PID=str(os.getpid())); os.execv(sys.argv[1], sys.argv[1:])";
    let directory = tempfile::tempdir().unwrap();
    let mut child = AsyncCommand::new("python3")
        .args(["-c", hand_over, PROGRAM, "serve"])
        .env("SESSION_SECRET", SECRET)
        .env("PRICE_FEED_URL", "file:///nothing")
        .env("LISTEN_ADDR", "192.0.2.1:1")
        .current_dir(directory.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let port: u16 = lines.next_line().await.unwrap().unwrap().parse().unwrap();
    let browser = Browser::new(([127, 0, 0, 1], port).into());
    // The connection waits in the socket until the server accepts it.
    browser.get("/healthz").await.expect(200);
}

/// Starts the server with embedded stores and mail to `smtp`, and signs in this address.
async fn signed_in_on_embedded_stores<'a>(
    directory: &Path,
    vars: &[(&'a str, &'a str)],
    smtp: &SmtpServer,
    address: &str,
) -> (Running, Browser) {
    let server = Running::start("serve", directory, vars).await;
    let browser = server.browser();
    browser.request_link(address).await.expect(200);
    let mail = smtp.wait_for_message(|mail| mail.rcpt_tos == [address]).await;
    let link = mail.text.split_whitespace().find(|word| word.contains("verify?token=")).unwrap();
    browser.redeem(&token_of(link)).await.expect(200);
    (server, browser)
}

#[tokio::test]
async fn the_operator_lists_disables_and_deletes_users() {
    let directory = tempfile::tempdir().unwrap();
    let (redis, smtp) = tokio::join!(RedisServer::start(), SmtpServer::start(SmtpMode::Plain));
    let (smtp_url, redis_url) = (format!("smtp://127.0.0.1:{}", smtp.port()), redis.url());
    let vars = [
        ("SESSION_SECRET", SECRET),
        ("REDIS_URL", &*redis_url),
        ("SMTP_URL", &*smtp_url),
        ("MAIL_FROM", "noreply@tracera.example"),
        ("DATA_DIR", directory.path().to_str().unwrap()),
        ("PRICE_FEED_URL", "file:///nothing"),
    ];
    let address = "a@example.com";
    let (server, browser) =
        signed_in_on_embedded_stores(directory.path(), &vars, &smtp, address).await;

    let (status, out, err) = run(&["users", "list"], &vars);
    assert_eq!((status, out.lines().count()), (0, 2), "{err}");
    assert!(out.contains(address) && out.contains("enabled"), "{out}");
    let id = out.lines().nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let (status, out, _) = run(&["users", "show", "--user", &id], &vars);
    assert!(status == 0 && out.contains(address), "{out}");

    let (status, _, err) = run(&["users", "disable", "--user", address], &vars);
    assert_eq!(status, 0, "{err}");
    assert_eq!(browser.me().await, None);
    let again = server.browser();
    again.request_link(address).await.expect(200);
    let first = smtp.messages()[0].text.clone();
    let mail = smtp.wait_for_message(|mail| mail.text != first).await;
    let link = mail.text.split_whitespace().find(|word| word.contains("verify?token=")).unwrap();
    again.redeem(&token_of(link)).await.expect_error(409, "sign_in_superseded");
    assert!(run(&["users", "show", "--user", address], &vars).1.contains("disabled"));

    assert_eq!(run(&["users", "enable", "--user", address], &vars).0, 0);
    again.request_link(address).await.expect(200);
    let second = mail.text;
    let mail = smtp.wait_for_message(|mail| mail.text != first && mail.text != second).await;
    let link = mail.text.split_whitespace().find(|word| word.contains("verify?token=")).unwrap();
    again.redeem(&token_of(link)).await.expect(200);
    let (status, out, err) = run(&["sessions", "revoke", "--everybody"], &vars);
    assert_eq!((status, &*out), (0, "ended all sessions and unused links of 1 user\n"), "{err}");
    assert_eq!(again.me().await, None);

    assert_eq!(run(&["users", "delete", "--user", &id], &vars).0, 0);
    let (status, _, err) = run(&["users", "show", "--user", address], &vars);
    assert_eq!((status, err.contains("no such user")), (1, true), "{err}");
    assert_eq!(server.stop().await, Some(0));
}

#[tokio::test]
async fn a_backup_made_while_running_serves_as_the_data_directory() {
    let (directory, smtp) =
        (tempfile::tempdir().unwrap(), SmtpServer::start(SmtpMode::Plain).await);
    let smtp_url = format!("smtp://127.0.0.1:{}", smtp.port());
    let (data, copy) = (directory.path().join("data"), directory.path().join("copy"));
    let (data, copy) = (data.to_str().unwrap(), copy.to_str().unwrap());
    let vars = |data| {
        [
            ("SESSION_SECRET", SECRET),
            ("SMTP_URL", &*smtp_url),
            ("MAIL_FROM", "noreply@tracera.example"),
            ("DATA_DIR", data),
            ("PRICE_FEED_URL", "file:///nothing"),
        ]
    };
    let (server, browser) =
        signed_in_on_embedded_stores(directory.path(), &vars(data), &smtp, "a@example.com").await;
    let user = browser.me().await;
    assert!(user.is_some());
    let (status, out, err) = run(&["backup", copy], &vars(data));
    assert_eq!((status, &*out), (0, &*format!("copied users and sessions to {copy}\n")), "{err}");
    let (status, _, err) = run(&["backup", copy], &vars(data));
    assert_eq!((status, err.contains("is not empty")), (1, true), "{err}");
    assert_eq!(server.stop().await, Some(0));

    let restored = Running::start("serve", directory.path(), &vars(copy)).await;
    assert_eq!(browser.at(restored.base).me().await, user, "the same session");
    assert_eq!(restored.stop().await, Some(0));
}

#[test]
fn version_completions_and_manual_come_from_the_command_line() {
    let (status, out, _) = run(&["version"], &[]);
    assert_eq!((status, &*out), (0, "tracera 0.1.0\n"));
    let (status, out, _) = run(&["version", "--verbose"], &[]);
    assert!(status == 0 && out.contains("migration  ") && out.contains("platform   "), "{out}");
    for shell in ["bash", "zsh", "fish"] {
        let (status, out, _) = run(&["completions", shell], &[]);
        assert!(status == 0 && out.contains("check-config"), "{shell}: {out}");
    }
    let (status, out, _) = run(&["manpage"], &[]);
    assert!(status == 0 && out.contains(".TH tracera") && out.contains("SESSION_SECRET"), "{out}");
}

#[tokio::test]
async fn health_tells_of_a_database_that_cannot_be_written() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let vars = [
        ("SESSION_SECRET", SECRET),
        ("DATA_DIR", data.to_str().unwrap()),
        ("PRICE_FEED_URL", "file:///nothing"),
    ];
    let server = Running::start("serve", directory.path(), &vars).await;
    server.browser().get("/api/v1/health").await.expect(200);
    std::fs::remove_file(data.join("tracera.db")).unwrap();
    let health = server.browser().get("/api/v1/health").await.expect(503).json();
    assert_eq!((&health["status"], &health["database"]), (&json!("degraded"), &json!("down")));
    assert_eq!(server.stop().await, Some(0));
}
