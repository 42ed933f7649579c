//! Every request gets its own answer or an error, and is sent at most once.

use std::collections::HashSet;
use std::time::Duration;

use redis::Value;
use shuttle::future::{block_on, spawn, yield_now};

use super::{Seen, first_connection, in_many_orders};
use crate::store::redis::memory_server::Server;
use crate::sync::timeout;

#[test]
fn every_request_gets_its_own_answer_once_or_an_error() {
    let (answered, failed, dropped) = (Seen::default(), Seen::default(), Seen::default());
    let seen = (answered.clone(), failed.clone(), dropped.clone());
    in_many_orders(move || block_on(ask_while_connections_break(seen.clone())));
    for (what, seen) in [("answered", answered), ("failed", failed), ("dropped", dropped)] {
        assert!(seen.is_some(), "no request was {what}");
    }
}

async fn ask_while_connections_break((answered, failed, dropped): (Seen, Seen, Seen)) {
    let server = Server::start(b"", Vec::new());
    let connection = first_connection(&server).await;
    let mut asking = Vec::new();
    for number in 0..6 {
        let connection = connection.clone();
        asking.push(spawn(async move {
            let mut echo = redis::cmd("ECHO");
            echo.arg(number);
            let answer = connection.ask(echo);
            // Some requests are dropped at any point.
            let answer = match number % 3 {
                0 => timeout(Duration::ZERO, answer).await.ok(),
                _ => Some(answer.await),
            };
            if let Some(Ok(answer)) = &answer {
                assert_eq!(*answer, Value::BulkString(number.to_string().into()));
            }
            answer
        }));
    }
    for _ in 0..3 {
        yield_now().await;
    }
    server.go_down();
    server.come_up();
    for asking in asking {
        match asking.await.unwrap() {
            Some(Ok(_)) => answered.count(1),
            Some(Err(_)) => failed.count(1),
            None => dropped.count(1),
        }
    }
    let echoed = server.echoed();
    let different: HashSet<_> = echoed.iter().collect();
    assert_eq!(different.len(), echoed.len(), "nothing is sent twice");
}
