//! What Redis answers to the load of a session: bytes as they are, pushes of RESP3 among them, or
//! after `record:` a record in a reply of the right form. Whatever it is, the request is answered
//! in time.
#![no_main]

use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::Duration;

use http::HeaderMap;
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use tracera_session::testing::signed_in;
use tracera_session::{
    EmbeddedStore, KeyRing, RedisConnection, RedisLimits, RedisStore, SessionConfig, Sessions,
    SignIn, UserId,
};

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_all().build().expect("a runtime"));
/// The headers of a browser that has signed in.
static BROWSER: LazyLock<HeaderMap> = LazyLock::new(|| {
    let sessions = sessions(EmbeddedStore::in_memory().expect("memory"));
    let sign_in = SignIn::new(UserId::from(7_i64), "test");
    RUNTIME.block_on(signed_in(&sessions, sign_in)).expect("memory answers")
});

fn sessions(store: impl tracera_session::SessionStore) -> Sessions {
    let keys = KeyRing::new(&[7; 32]).expect("a secret of 32 bytes");
    Sessions::new(store, keys, SessionConfig::default().secure(false))
}

fuzz_target!(|data: &[u8]| {
    let browser = &*BROWSER;
    let reply = match data.strip_prefix(b"record:") {
        Some(record) => {
            let len = record.len().to_string();
            [b"*3\r\n_\r\n$1\r\n7\r\n$", len.as_bytes(), b"\r\n", record, b"\r\n"].concat()
        }
        None => data.to_vec(),
    };
    RUNTIME.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr: SocketAddr = listener.local_addr().expect("it is bound");
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, reply.clone()));
            }
        });
        let limits = RedisLimits {
            response: Duration::from_millis(40),
            total: Duration::from_millis(80),
            ..RedisLimits::default()
        };
        let connection = RedisConnection::open_with(&format!("redis://{addr}"), limits).await;
        let store = RedisStore::new(connection.expect("the handshake is right"));
        // Known or not, or not known whether: it is answered in time.
        let opening = sessions(store);
        let session = timeout(Duration::from_secs(1), opening.open(browser)).await;
        let user = session.expect("within the limit").user();
        assert!(user.is_err() || user.is_ok_and(|user| !user.as_bytes().is_empty()));
        server.abort();
    });
});

/// Answers everything as Redis would, but the load.
async fn answer(stream: TcpStream, reply: Vec<u8>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut command = Vec::new();
        for _ in 0..number(&mut stream).await? {
            let mut word = vec![0; number(&mut stream).await? + 2];
            stream.read_exact(&mut word).await?;
            word.truncate(word.len() - 2);
            command.push(word);
        }
        let answer: &[u8] = match command.first().map_or(&b""[..], |word| word) {
            b"HELLO" => b"%1\r\n$5\r\nproto\r\n:3\r\n",
            b"ROLE" => b"*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n",
            b"HMGET" => &reply,
            _ => b"+OK\r\n",
        };
        stream.write_all(answer).await?;
    }
}

/// The number of a line such as `*3` or `$5`.
async fn number(stream: &mut BufReader<TcpStream>) -> std::io::Result<usize> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end()[1..].parse().expect("the client library writes numbers"))
}
