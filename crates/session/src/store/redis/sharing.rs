//! Which commands may be sent over a shared connection.

use redis::{Arg, Cmd, ErrorKind, RedisError};

/// Commands that would assign later replies to the wrong requests, or change the connection for all
/// who share it.
const NOT_FOR_SHARING: [&str; 20] = [
    "AUTH",
    "DISCARD",
    "EXEC",
    "HELLO",
    "MONITOR",
    "MULTI",
    "PSUBSCRIBE",
    "PSYNC",
    "PUNSUBSCRIBE",
    "QUIT",
    "READONLY",
    "READWRITE",
    "RESET",
    "SELECT",
    "SSUBSCRIBE",
    "SUBSCRIBE",
    "SUNSUBSCRIBE",
    "SYNC",
    "UNSUBSCRIBE",
    "WATCH",
];

/// Subcommands of `CLIENT` that must not be shared, for the same reasons.
const CLIENT_NOT_FOR_SHARING: [&str; 3] = ["CACHING", "REPLY", "TRACKING"];

/// Whether the command has exactly one reply and leaves the connection as it is.
pub(super) fn is_for_sharing(command: &Cmd) -> bool {
    let word = |at| match command.args_iter().nth(at) {
        Some(Arg::Simple(word)) => word,
        _ => b"",
    };
    let is_among = |word: &[u8], names: &[&str]| {
        names.iter().any(|name| word.eq_ignore_ascii_case(name.as_bytes()))
    };
    let name = word(0);
    let is_clients =
        name.eq_ignore_ascii_case(b"CLIENT") && is_among(word(1), &CLIENT_NOT_FOR_SHARING);
    !(name.is_empty() || is_among(name, &NOT_FOR_SHARING) || is_clients)
}

pub(super) fn not_for_sharing() -> RedisError {
    (ErrorKind::Client, "a command that needs a connection of its own").into()
}
