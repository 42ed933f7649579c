//! Mail through Postfix.

use tracera_testkit::Postfix;

use crate::harness::{SECRET, token_of};
use crate::process::Running;

#[tokio::test]
async fn postfix_takes_sign_in_mails_over_one_connection() {
    let postfix = Postfix::start().await;
    let directory = tempfile::tempdir().unwrap();
    let smtp_url = format!("smtp://127.0.0.1:{}?tls=required", postfix.port());
    let vars = [
        ("SESSION_SECRET", SECRET),
        ("BASE_URL", "https://tracera.example"),
        ("SMTP_URL", &*smtp_url),
        ("SMTP_CA_FILE", postfix.ca_file().to_str().unwrap()),
        ("MAIL_FROM", "Tracera <sign-in@bücher.example>"),
        ("PRICE_FEED_URL", "file:///nothing"),
        ("SESSION_COOKIE_SECURE", "false"),
    ];
    let server = Running::start("serve", directory.path(), &vars).await;
    for number in 0..3 {
        let to = format!("person{number}@example.com");
        server.browser().request_link(&to).await.expect(200);
        let arrived = |mails: &str| mails.contains(&format!("To: {to}"));
        let mails = postfix.wait_for_mails(arrived).await;
        assert!(mails.contains("sign-in@xn--bcher-kva.example"), "{mails}");
        let text = mails.replace("=\n", "").replace("=3D", "=");
        let link = text.split_whitespace().rfind(|word| word.contains("verify?token="));
        assert!(!token_of(link.unwrap()).is_empty());
    }
    assert_eq!(server.stop().await, Some(0), "{}", postfix.log());
    let log = postfix.log();
    // Postfix logs these counts when a connection ends.
    assert!(log.contains(" starttls=1 mail=3 rcpt=3 data=3 noop=2 quit=1 "), "{log}");
}
