use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use http::StatusCode;
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::net::TcpListener;
use tokio::sync::Barrier;

use super::{CODE, LONG, Log, Parts, TOKEN, quick, resend_at, take_in};
use crate::config::MailSettings;
use crate::mail::delivery::Limits;
use crate::mail::queue::Places;
use crate::mail::{MailError, Mailer};

async fn mailer_to(app: Router, limits: Limits) -> Mailer {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    Mailer::with(resend_at(&url), limits, None)
}

/// Limits with room for two mails.
fn two_places() -> Limits {
    let usual = quick();
    Limits { places: Places { sign_ins: 2, ..usual.places }, ..usual }
}

#[tokio::test]
async fn a_full_queue_says_so_and_has_room_again() {
    let gate = Arc::new(Barrier::new(3));
    let waiting = Arc::clone(&gate);
    let app = Router::new().route(
        "/emails",
        post(move || async move {
            waiting.wait().await;
        }),
    );
    let mailer = mailer_to(app, two_places()).await;
    let parts = Parts::of("alice@example.com");
    assert_eq!(take_in(&mailer, &parts.mail()), Ok(()));
    assert_eq!(take_in(&mailer, &parts.mail()), Ok(()));
    assert_eq!(take_in(&mailer, &parts.mail()), Err(MailError::QueueFull));

    gate.wait().await;
    let room = async {
        while take_in(&mailer, &parts.mail()).is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, room).await.unwrap();
}

#[tokio::test]
async fn what_becomes_of_mails_is_counted() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let counted = recorder.handle();
    let _collecting = metrics::set_default_local_recorder(&recorder);
    let answers = Arc::new(Mutex::new(vec![200, 503, 422]));
    let answer = move || async move {
        StatusCode::from_u16(answers.lock().unwrap().pop().unwrap()).unwrap()
    };
    let app = Router::new().route("/emails", post(answer));
    let mailer = mailer_to(app, Limits { attempts_at_once: 1, ..two_places() }).await;
    let parts = Parts::of("alice@example.com");
    take_in(&mailer, &parts.mail()).unwrap();
    take_in(&mailer, &parts.mail()).unwrap();
    assert_eq!(take_in(&mailer, &parts.mail()), Err(MailError::QueueFull));
    assert_eq!(mailer.waiting(), 2);
    assert_eq!(mailer.shutdown(LONG).await, 0);
    assert_eq!(mailer.waiting(), 0);
    let shown = counted.render();
    for outcome in ["sent", "retried", "given_up", "refused"] {
        let line = format!(r#"tracera_mails_total{{outcome="{outcome}"}} 1"#);
        assert!(shown.lines().any(|shown| shown == line), "{shown}");
    }
}

#[tokio::test]
async fn four_mails_are_sent_at_a_time() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let four = Arc::new(Barrier::new(4));
    let app = {
        let (now, most) = (Arc::clone(&now), Arc::clone(&most));
        Router::new().route(
            "/emails",
            post(move || async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                four.wait().await;
                now.fetch_sub(1, Ordering::SeqCst);
            }),
        )
    };
    let mailer = mailer_to(app, quick()).await;
    for _ in 0..16 {
        take_in(&mailer, &Parts::of("alice@example.com").mail()).unwrap();
    }
    assert_eq!(mailer.shutdown(LONG).await, 0, "with fewer than four at a time this would not end");
    assert_eq!(most.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn a_shutdown_waits_no_longer_than_it_is_told_and_takes_nothing_in() {
    let app = Router::new().route("/emails", post(std::future::pending::<()>));
    let mailer = mailer_to(app, quick()).await;
    let log = Log::capture();
    let parts = Parts::of("alice@example.com");
    take_in(&mailer, &parts.mail()).unwrap();
    take_in(&mailer, &parts.mail()).unwrap();
    assert_eq!(mailer.shutdown(Duration::from_millis(50)).await, 2);
    assert_eq!(take_in(&mailer, &parts.mail()), Err(MailError::ShutDown));
    assert_eq!(mailer.shutdown(LONG).await, 0, "those given up do not go on");
    assert!(log.text().contains("left=2"), "{}", log.text());
}

#[tokio::test]
async fn on_the_terminal_the_last_fifty_mails_can_be_read() {
    let mailer = Mailer::new(&MailSettings::Terminal).unwrap().unwrap();
    let mailbox = mailer.mailbox().unwrap().clone();
    for number in 0..55 {
        take_in(&mailer, &Parts::of(&format!("user{number}@example.com")).mail()).unwrap();
    }
    assert_eq!(mailer.shutdown(LONG).await, 0);
    let mails = mailbox.messages();
    assert_eq!(mails.len(), 50);
    assert_eq!(mails[0].to.as_str(), "user54@example.com");
    assert_eq!(mails[49].to.as_str(), "user5@example.com");
    assert!(mails[0].link.contains(TOKEN) && mails[0].text.contains(CODE));
    let debug = format!("{mailbox:?} {mailer:?} {:?}", Parts::of("alice@example.com").mail());
    assert!(
        !debug.contains(TOKEN) && !debug.contains(CODE) && !debug.contains("alice@"),
        "{debug}"
    );
}

#[test]
fn without_a_way_to_send_there_is_no_mailer() {
    assert!(Mailer::new(&MailSettings::None).unwrap().is_none());
}
