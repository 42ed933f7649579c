//! One client's connection through the proxy.

use std::collections::VecDeque;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

use super::resp::{bulk, complete_requests, next_request};
use super::{Action, Fault, Shared};

/// Injected replies in their order, each with the echo that the server will send in its place.
type Injected = Mutex<VecDeque<(Vec<u8>, Vec<u8>)>>;

pub(super) async fn serve(mut client: TcpStream, upstream: u16, shared: Arc<Shared>) {
    let mut fault = shared.fault.subscribe();
    let ended = tokio::select! {
        biased;
        _ = fault.wait_for(|fault| matches!(fault, Fault::Refuse | Fault::BlackHole)) => None,
        result = exchange(&mut client, upstream, &shared) => Some(result),
    };
    if let Some(Ok(())) = ended {
        return;
    }
    if ended.is_none() {
        let mut nowhere = tokio::io::sink();
        tokio::select! {
            _ = fault.wait_for(|fault| *fault != Fault::BlackHole) => {}
            // The client has closed the connection.
            _ = tokio::io::copy(&mut client, &mut nowhere) => {}
        }
    }
    // With a zero linger, the close resets the connection.
    let _ = client.set_zero_linger();
}

/// Copies bytes both ways until both sides have closed, one has failed, or a reply was cut.
async fn exchange(client: &mut TcpStream, upstream: u16, shared: &Shared) -> io::Result<()> {
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, upstream)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let injected = Injected::default();
    tokio::try_join!(
        requests(from_client, to_server, shared, &injected),
        replies(from_server, to_client, shared, &injected)
    )?;
    Ok(())
}

async fn requests(
    mut client: ReadHalf<'_>,
    mut server: WriteHalf<'_>,
    shared: &Shared,
    injected: &Injected,
) -> io::Result<()> {
    let mut buffer = Vec::new();
    let mut injections = 0;
    let mut is_redis = None;
    while client.read_buf(&mut buffer).await? > 0 {
        // Only Redis requests begin like this. Other protocols pass unchanged, and so do Redis
        // requests that are typed as plain words.
        if !*is_redis.get_or_insert(buffer[0] == b'*') || buffer[0] != b'*' {
            server.write_all(&buffer).await?;
            buffer.clear();
        }
        while let Some(request) = next_request(&buffer) {
            let bytes: Vec<u8> = buffer.drain(..request.length).collect();
            match shared.action_for(&request.command) {
                None => server.write_all(&bytes).await?,
                Some(Action::Hold { arrived, mut release }) => {
                    loop {
                        arrived.send_replace(1 + complete_requests(&buffer));
                        tokio::select! {
                            // A hold ends when its handle is dropped.
                            _ = &mut release => break,
                            read = client.read_buf(&mut buffer) => if read? == 0 { break },
                        }
                    }
                    server.write_all(&bytes).await?;
                }
                Some(Action::Answer { reply, .. }) => {
                    // The server echoes a mark, which comes back in the place where the reply
                    // belongs.
                    injections += 1;
                    let mark = bulk(&format!("tracera-fault-proxy-{injections}"));
                    queue(injected).push_back((mark.clone().into(), reply));
                    server.write_all(format!("*2\r\n{}{mark}", bulk("ECHO")).as_bytes()).await?;
                }
            }
        }
    }
    server.shutdown().await
}

async fn replies(
    mut server: ReadHalf<'_>,
    mut client: WriteHalf<'_>,
    shared: &Shared,
    injected: &Injected,
) -> io::Result<()> {
    let mut buffer = Vec::new();
    while server.read_buf(&mut buffer).await? > 0 {
        let ready = substitute(&mut buffer, &mut queue(injected));
        if ready.is_empty() {
            continue;
        }
        let fault = *shared.fault.borrow();
        if let Fault::Delay(delay) = fault {
            tokio::time::sleep(delay).await;
        }
        if let Fault::CutReply(bytes) = fault {
            client.write_all(&ready[..bytes.min(ready.len())]).await?;
            shared.fault.send_replace(Fault::None);
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        client.write_all(&ready).await?;
    }
    client.shutdown().await
}

/// Takes from the buffer the bytes that may go to the client, with injected replies in place of
/// their echoes. While an echo is expected all bytes are kept back, because the echo may arrive in
/// pieces.
fn substitute(buffer: &mut Vec<u8>, injected: &mut VecDeque<(Vec<u8>, Vec<u8>)>) -> Vec<u8> {
    let mut ready = Vec::new();
    while let Some((mark, reply)) = injected.front() {
        let Some(at) = buffer.windows(mark.len()).position(|window| window == mark) else {
            return ready;
        };
        ready.extend(buffer.drain(..at));
        buffer.drain(..mark.len());
        ready.extend(reply);
        injected.pop_front();
    }
    ready.append(buffer);
    ready
}

fn queue(injected: &Injected) -> std::sync::MutexGuard<'_, VecDeque<(Vec<u8>, Vec<u8>)>> {
    injected.lock().expect("nothing panics while it holds the lock")
}
