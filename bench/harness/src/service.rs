//! Starts the whole service, as `tracera dev` or `tracera serve`, with Redis and an embedded
//! database.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::contender::{Contender, Running, WORKERS, bench_dir};
use crate::process::Process;
use crate::redis::free_port;
use crate::scratch;

const SECRET: &str = "a secret for measuring, not for use";

/// Starts the service as an argument of `wrapper` and waits until it accepts connections. All runs
/// on one Redis database share a directory, so that they find its users again. The log is written
/// and discarded. Prices come from a file.
pub(crate) fn start(
    contender: Contender,
    wrapper: &[&str],
    redis: &str,
    sliding: bool,
) -> anyhow::Result<Running> {
    let program = program()?;
    let name: String = redis.chars().filter(char::is_ascii_digit).collect();
    let data = scratch::directory().join(format!("service-{name}"));
    std::fs::create_dir_all(&data)?;
    let prices = data.join("prices.json");
    std::fs::write(
        &prices,
        r#"[{"market_hash_name":"AK-47 | Redline (Field-Tested)","min_price":12.5}]"#,
    )?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
    let (listen, origin) = (address.to_string(), format!("http://{address}"));
    let feed = format!("file://{}", text(&prices)?);
    let env = [
        ("SESSION_SECRET", SECRET),
        ("REDIS_URL", redis),
        ("DATA_DIR", text(&data)?),
        ("LISTEN_ADDR", &listen),
        ("BASE_URL", &origin),
        ("PRICE_FEED_URL", &feed),
        // Every user who signs in has another client address.
        ("TRUSTED_PROXIES", "127.0.0.0/8"),
        ("SESSION_IDLE_MINUTES", if sliding { "720" } else { "0" }),
        ("TOKIO_WORKER_THREADS", WORKERS),
    ];
    let mut command = wrapper.to_vec();
    command.extend([text(&program)?, contender.variant()]);
    let printed = File::create(output_of(address))?;
    let mut process =
        Process::spawn(command[0], &command[1..], &env, printed.into(), Stdio::null())?;
    process.wait_until_connectable(address)?;
    if contender.variant() == "dev" {
        // The service accepts connections a moment before it prints the key.
        while mailbox(address).is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(Running { contender, process, address })
}

/// The path of the mailbox of the service at this address, with the key that it printed; `None`
/// without a mailbox.
pub(crate) fn mailbox(address: SocketAddr) -> Option<String> {
    let printed = std::fs::read_to_string(output_of(address)).ok()?;
    let at = printed.split_whitespace().find(|word| word.contains("/dev/mailbox?key="))?;
    Some(at[at.find("/dev/")?..].to_owned())
}

fn output_of(address: SocketAddr) -> PathBuf {
    scratch::directory().join(format!("service-at-{}.out", address.port()))
}

/// The installed build of the service.
fn program() -> anyhow::Result<PathBuf> {
    let path = bench_dir().join("../target/dist/tracera");
    ensure!(path.exists(), "{} is missing, ./script/bench builds it", path.display());
    Ok(path)
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("a path that is no text")
}
