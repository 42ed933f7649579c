use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use lettre::transport::smtp::extension::ClientId;
use secrecy::SecretString;
use tokio::net::TcpListener;
use tracera_testkit::{ReceivedMail, SmtpMode, SmtpServer};

use super::{CODE, LONG, Log, Parts, quick, send_one, send_one_within, sender, take_in};
use crate::config::{SmtpCredentials, SmtpSecurity, SmtpSettings};
use crate::mail::delivery::Limits;
use crate::mail::smtp::SmtpTransport;
use crate::mail::{Mailer, SetupError, SignInMail, Transport};

fn settings(port: u16, security: SmtpSecurity, ca_file: Option<&Path>) -> SmtpSettings {
    SmtpSettings {
        host: "127.0.0.1".to_owned(),
        port,
        security,
        credentials: None,
        ca_file: ca_file.map(Path::to_owned),
        hello: ClientId::Domain("tracera.example".to_owned()),
        from: sender(),
    }
}

/// The lifetime of a link whose mail cannot be sent.
const SOON: Duration = Duration::from_millis(400);

fn transport(settings: &SmtpSettings) -> Transport {
    Transport::Smtp(SmtpTransport::new(settings).unwrap())
}

fn to_server(server: &SmtpServer, security: SmtpSecurity) -> Transport {
    let ca_file = (security != SmtpSecurity::Plain).then(|| server.ca_file());
    transport(&settings(server.port(), security, ca_file))
}

async fn only_mail(server: &SmtpServer) -> ReceivedMail {
    server.wait_for_message(|_| true).await;
    let mut mails = server.messages();
    assert_eq!(mails.len(), 1);
    mails.remove(0)
}

fn header<'a>(mail: &'a ReceivedMail, name: &str) -> Vec<&'a str> {
    let head = mail.raw.split("\r\n\r\n").next().unwrap();
    head.split("\r\n").filter_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).collect()
}

#[tokio::test]
async fn a_mail_arrives_whole_at_its_one_recipient() {
    let server = SmtpServer::start(SmtpMode::Plain).await;
    let log = Log::capture();
    send_one(to_server(&server, SmtpSecurity::Plain), quick()).await;
    let mail = only_mail(&server).await;

    assert_eq!(mail.rcpt_tos, ["alice@example.com"]);
    assert_eq!(mail.mail_from, "sign-in@tracera.example");
    assert_eq!(mail.hello, "tracera.example");
    assert_eq!(mail.subject, "Sign in to Tracera");
    assert_eq!(header(&mail, "From"), ["Tracera <sign-in@tracera.example>"]);
    assert_eq!(header(&mail, "To"), ["alice@example.com"]);
    assert_eq!(header(&mail, "Date"), ["Fri, 01 May 2026 12:34:56 +0000"]);
    assert_eq!(header(&mail, "Auto-Submitted"), ["auto-generated"]);
    assert_eq!(header(&mail, "X-Auto-Response-Suppress"), ["All"]);
    let id = header(&mail, "Message-ID");
    assert!(
        id.len() == 1 && id[0].starts_with('<') && id[0].ends_with("@tracera.example>"),
        "{id:?}"
    );

    let link = "https://tracera.example/api/v1/auth/magic/verify?token=canary-token&x=1";
    assert!(header(&mail, "Content-Type")[0].starts_with("multipart/alternative"));
    assert!(mail.raw.find("text/plain").unwrap() < mail.raw.find("text/html").unwrap());
    let lines: Vec<&str> = mail.text.lines().collect();
    for line in [
        link,
        CODE,
        "with Firefox on Linux",
        "from 192.0.2.7",
        "Asked for on 1 May 2026, 12:34 UTC",
    ] {
        assert!(lines.contains(&line), "no line {line:?} in {}", mail.text);
    }
    assert!(mail.text.contains("work once, within 10 minutes"));

    let escaped = link.replace('&', "&#38;");
    assert_eq!(mail.html.matches(&format!("href=\"{escaped}\"")).count(), 2, "{}", mail.html);
    assert!(mail.html.contains(&format!(">{escaped}</a>")));
    assert!(mail.html.contains(&format!(">{CODE}</p>")));
    for remote in ["<img", "src=", "url(", "@import", "<script"] {
        assert!(!mail.html.contains(remote), "{remote}");
    }
    assert!(log.text().contains("mail sent"));
}

#[tokio::test]
async fn what_the_client_says_of_itself_adds_no_header_markup_or_link() {
    let server = SmtpServer::start(SmtpMode::Plain).await;
    let mailer = Mailer::with(to_server(&server, SmtpSecurity::Plain), quick(), None);
    let parts = Parts::of("alice@example.com");
    let device = "x\r\nBcc: eve@a.example\r\n\r\n<img src=//b.example> {{7*7}}";
    let ip = "2001:db8::1".parse::<IpAddr>().unwrap();
    take_in(&mailer, &SignInMail { device, ip, ..parts.mail() }).unwrap();
    let mail = only_mail(&server).await;

    assert_eq!(mail.rcpt_tos, ["alice@example.com"]);
    assert!(header(&mail, "Bcc").is_empty());
    for part in [&mail.text, &mail.html] {
        assert!(part.contains("with x Bcc eve a example img src b example 7 7"), "{part}");
        assert!(!part.contains("<img") && !part.contains("b.example") && !part.contains("eve@"));
        assert!(part.contains("from 2001:db8::1"));
    }
}

#[tokio::test]
async fn tls_from_the_first_byte_carries_mail_and_password() {
    let server = SmtpServer::start_with_login(SmtpMode::ImplicitTls, "user", "canary").await;
    let log = Log::capture();
    let credentials =
        SmtpCredentials { user: "user".into(), password: SecretString::from("canary") };
    let settings = SmtpSettings {
        credentials: Some(credentials),
        ..settings(server.port(), SmtpSecurity::Tls, Some(server.ca_file()))
    };
    send_one(transport(&settings), quick()).await;
    let mail = only_mail(&server).await;
    assert!(mail.tls);
    assert_eq!(mail.login.as_deref(), Some("user"));
    assert!(log.text().contains("mail sent"));
}

#[tokio::test]
async fn a_refused_password_is_given_up_and_not_logged() {
    let server = SmtpServer::start_with_login(SmtpMode::ImplicitTls, "user", "other").await;
    let log = Log::capture();
    let credentials =
        SmtpCredentials { user: "user".into(), password: SecretString::from("canary") };
    let settings = SmtpSettings {
        credentials: Some(credentials),
        ..settings(server.port(), SmtpSecurity::Tls, Some(server.ca_file()))
    };
    send_one(transport(&settings), quick()).await;
    assert_eq!(server.messages(), []);
    assert!(log.text().contains("mail given up") && log.text().contains("535"), "{}", log.text());
}

#[tokio::test]
async fn starttls_carries_mail() {
    let server = SmtpServer::start(SmtpMode::StartTlsRequired).await;
    send_one(to_server(&server, SmtpSecurity::StartTls), quick()).await;
    assert!(only_mail(&server).await.tls);
}

#[tokio::test]
async fn without_starttls_on_offer_nothing_is_said_in_the_clear() {
    let server = SmtpServer::start(SmtpMode::Plain).await;
    let log = Log::capture();
    send_one(to_server(&server, SmtpSecurity::StartTls), quick()).await;
    assert_eq!(server.messages(), []);
    assert!(
        log.text().contains("mail given up") && log.text().contains("STARTTLS"),
        "{}",
        log.text()
    );
}

#[tokio::test]
async fn a_server_with_a_certificate_of_nobody_we_know_gets_no_mail() {
    for (mode, security) in [
        (SmtpMode::ImplicitTls, SmtpSecurity::Tls),
        (SmtpMode::StartTlsRequired, SmtpSecurity::StartTls),
    ] {
        let server = SmtpServer::start(mode).await;
        let log = Log::capture();
        let transport = transport(&settings(server.port(), security, None));
        send_one_within(transport, quick(), SOON).await;
        assert_eq!(server.messages(), []);
        let remedy = "UnknownIssuer; set SMTP_CA_FILE to a PEM file with the certificate of the \
                      authority that issued the server's";
        assert!(log.text().contains(remedy), "{}", log.text());
    }
}

#[tokio::test]
async fn a_server_that_presents_its_authority_is_told_to_have_a_certificate_of_its_own() {
    let server = SmtpServer::start_as_authority(SmtpMode::ImplicitTls).await;
    let log = Log::capture();
    send_one_within(to_server(&server, SmtpSecurity::Tls), quick(), SOON).await;
    assert!(
        log.text().contains("issue it one of its own, with basicConstraints=CA:FALSE"),
        "{}",
        log.text()
    );
}

#[tokio::test]
async fn a_mail_that_is_put_off_is_sent_later() {
    let server = SmtpServer::start(SmtpMode::Plain).await;
    server.refuse_next(2, "451 4.3.0 alice@example.com: try again later");
    let log = Log::capture();
    send_one(to_server(&server, SmtpSecurity::Plain), quick()).await;
    only_mail(&server).await;
    let log = log.text();
    assert_eq!(log.matches("mail not sent yet").count(), 2, "{log}");
    assert!(
        log.contains("a***@example.com") && log.contains("the mail server answered 451"),
        "{log}"
    );
}

#[tokio::test]
async fn a_mail_that_is_refused_is_not_tried_again() {
    let server = SmtpServer::start(SmtpMode::Plain).await;
    server.refuse_next(1, "550 5.1.1 alice@example.com: no such mailbox");
    let log = Log::capture();
    send_one(to_server(&server, SmtpSecurity::Plain), quick()).await;
    assert_eq!(server.messages(), []);
    assert!(log.text().contains("mail given up") && log.text().contains("550"), "{}", log.text());
}

#[test]
fn a_mail_passes_a_server_that_wants_it_again_after_five_minutes() {
    let waits = Limits::default().waits;
    let attempts = (1..).scan(Duration::ZERO, |at, attempt| {
        *at += waits.after(attempt);
        Some(*at)
    });
    let after = attempts.into_iter().find(|at| *at >= Duration::from_mins(5)).unwrap();
    assert!(after < Duration::from_secs(5 * 60 + 75), "well within ten minutes: {after:?}");
}

#[tokio::test]
async fn a_mail_is_tried_until_its_link_ends() {
    let server = SmtpServer::start(SmtpMode::Plain).await;
    server.refuse_next(12, "451 4.7.1 greylisted, try again later");
    let log = Log::capture();
    send_one(to_server(&server, SmtpSecurity::Plain), quick()).await;
    only_mail(&server).await;
    assert!(log.text().contains("attempt=13"), "{}", log.text());

    server.refuse_next(1_000, "451 4.7.1 greylisted, try again later");
    send_one_within(to_server(&server, SmtpSecurity::Plain), quick(), SOON).await;
    assert!(log.text().contains("its link ended first"), "{}", log.text());
}

#[tokio::test]
async fn a_server_that_reads_long_before_it_accepts_gets_one_copy() {
    let server = SmtpServer::start(SmtpMode::Plain).await;
    server.accept_slowly(Duration::from_millis(600));
    let limits = Limits { step: Duration::from_millis(200), ..quick() };
    send_one(to_server(&server, SmtpSecurity::Plain), limits).await;
    only_mail(&server).await;
}

#[tokio::test]
async fn mails_share_a_connection_while_it_answers() {
    let server = SmtpServer::start(SmtpMode::StartTlsRequired).await;
    let log = Log::capture();
    let mailer = Mailer::with(to_server(&server, SmtpSecurity::StartTls), quick(), None);
    for number in 0..4 {
        if number == 3 {
            server.restart().await;
        }
        let parts = Parts::of(&format!("user{number}@example.com"));
        take_in(&mailer, &parts.mail()).unwrap();
        server.wait_for_message(|mail| mail.rcpt_tos == [parts.to.as_str()]).await;
        // The server stores the mail slightly before its reply arrives here.
        while mailer.waiting() > 0 {
            tokio::task::yield_now().await;
        }
    }
    let ports: Vec<_> = server.messages().iter().map(|mail| mail.client_port).collect();
    assert!(ports[0] == ports[1] && ports[1] == ports[2], "{ports:?}");
    assert!(ports[2] != ports[3], "the connection was gone: {ports:?}");
    assert_eq!(log.text().matches("attempt=1").count(), 4, "{}", log.text());
    assert_eq!(mailer.shutdown(LONG).await, 0);
}

#[tokio::test]
async fn a_mail_waits_for_a_server_that_comes_back() {
    let server = SmtpServer::start(SmtpMode::Plain).await;
    server.kill();
    let log = Log::capture();
    let mailer = Mailer::with(to_server(&server, SmtpSecurity::Plain), quick(), None);
    take_in(&mailer, &Parts::of("alice@example.com").mail()).unwrap();
    server.restart().await;
    only_mail(&server).await;
    assert_eq!(mailer.shutdown(LONG).await, 0);
    assert!(log.text().contains("mail sent"));
}

#[tokio::test]
async fn a_server_that_says_nothing_is_left_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let log = Log::capture();
    let port = silent.local_addr().unwrap().port();
    let limits = Limits { step: Duration::from_millis(50), ..quick() };
    let life = Duration::from_secs(2);
    send_one_within(transport(&settings(port, SmtpSecurity::Plain, None)), limits, life).await;
    let log = log.text();
    assert!(log.matches("no answer in time").count() > 1, "{log}");
}

#[tokio::test]
async fn something_that_is_not_smtp_is_not_quoted() {
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = other.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = other.accept().await.unwrap();
            let (_, mut writer) = stream.split();
            tokio::io::AsyncWriteExt::write_all(&mut writer, b"canary alice@example.com\r\n")
                .await
                .unwrap();
        }
    });
    let log = Log::capture();
    send_one_within(transport(&settings(port, SmtpSecurity::Plain, None)), quick(), SOON).await;
    assert!(log.text().contains("mail given up"), "{}", log.text());
}

#[tokio::test]
async fn a_port_that_does_not_speak_tls_first_is_told() {
    let server = SmtpServer::start(SmtpMode::StartTlsRequired).await;
    let log = Log::capture();
    send_one_within(to_server(&server, SmtpSecurity::Tls), quick(), SOON).await;
    let told = "what answers there does not speak TLS: check scheme and port";
    assert!(log.text().contains(told), "{}", log.text());
}

#[test]
fn a_certificate_file_that_is_none_is_refused_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty.pem");
    std::fs::write(&empty, "no certificate\n").unwrap();
    for file in [empty, dir.path().join("missing.pem")] {
        let made = SmtpTransport::new(&settings(465, SmtpSecurity::Tls, Some(&file)));
        assert!(matches!(made, Err(SetupError::CaFile { path, .. }) if path == file));
    }
}
