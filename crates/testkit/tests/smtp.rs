//! Tests the mail server with Python's SMTP client.

use std::process::Output;

use tokio::process::Command;
use tracera_testkit::{SmtpMode, SmtpServer};

/// Sends one mail. `before` holds statements on the connection `smtp`.
async fn send(server: &SmtpServer, mode: SmtpMode, before: &str) -> Output {
    let class = if mode == SmtpMode::ImplicitTls { "SMTP_SSL" } else { "SMTP" };
    let context = if mode == SmtpMode::ImplicitTls { ", context=tls" } else { "" };
    let program = format!(
        "import smtplib, ssl\nfrom email.message import EmailMessage\ntls = \
         ssl.create_default_context(cafile='{}')\nmail = EmailMessage()\nmail['Subject'] = \
         'Grüße'\nmail.set_content('Text äöü')\nmail.add_alternative('<p>HTML</p>', \
         subtype='html')\nwith smtplib.{class}('localhost', {}{context}) as smtp:\n\x20   \
         {before}\n\x20   smtp.send_message(mail, 'from@tracera.example', \
         ['to@tracera.example'])\n",
        server.ca_file().display(),
        server.port()
    );
    Command::new("python3").args(["-c", &program]).output().await.expect("Python runs")
}

fn assert_refused(output: &Output, error: &str) {
    let printed = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && printed.contains(error), "{printed}");
}

#[tokio::test]
async fn a_mail_is_kept_with_its_envelope_and_decoded() {
    let server = SmtpServer::start(SmtpMode::Plain).await;
    assert!(send(&server, SmtpMode::Plain, "pass").await.status.success());
    let mail = server.wait_for_message(|mail| mail.rcpt_tos == ["to@tracera.example"]).await;
    assert_eq!(mail.mail_from, "from@tracera.example");
    assert_eq!(
        (mail.subject.as_str(), mail.text.trim(), mail.html.trim()),
        ("Grüße", "Text äöü", "<p>HTML</p>")
    );
    assert!(
        !mail.tls && mail.login.is_none() && mail.raw.contains("multipart/alternative"),
        "{mail:?}"
    );
    let stripped = send(&server, SmtpMode::Plain, "smtp.starttls(context=tls)").await;
    assert_refused(&stripped, "STARTTLS extension not supported");
}

#[tokio::test]
async fn starttls_is_required() {
    let server = SmtpServer::start(SmtpMode::StartTlsRequired).await;
    assert_refused(&send(&server, SmtpMode::StartTlsRequired, "pass").await, "530");
    let sent = send(&server, SmtpMode::StartTlsRequired, "smtp.starttls(context=tls)").await;
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    assert!(server.messages()[0].tls);
}

#[tokio::test]
async fn implicit_tls_and_a_login() {
    let server = SmtpServer::start_with_login(SmtpMode::ImplicitTls, "user", "password").await;
    assert_refused(&send(&server, SmtpMode::ImplicitTls, "pass").await, "530");
    let wrong = send(&server, SmtpMode::ImplicitTls, "smtp.login('user', 'wrong')").await;
    assert_refused(&wrong, "535");
    let sent = send(&server, SmtpMode::ImplicitTls, "smtp.login('user', 'password')").await;
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    let mails = server.messages();
    assert_eq!(mails.len(), 1);
    assert!(mails[0].tls && mails[0].login.as_deref() == Some("user"), "{mails:?}");
}

#[tokio::test]
async fn refusals_come_in_the_order_given_and_end_with_a_restart() {
    let server = SmtpServer::start(SmtpMode::Plain).await;
    server.refuse_next(1, "451 4.3.0 later");
    server.refuse_next(2, "550 5.1.1 never");
    assert_refused(&send(&server, SmtpMode::Plain, "pass").await, "451");
    assert_refused(&send(&server, SmtpMode::Plain, "pass").await, "550");
    server.kill();
    assert_refused(&send(&server, SmtpMode::Plain, "pass").await, "Connection refused");
    server.restart().await;
    assert!(send(&server, SmtpMode::Plain, "pass").await.status.success());
    assert_eq!(server.messages().len(), 1);
}
