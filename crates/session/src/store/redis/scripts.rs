//! The write operations: one atomic script each, on one key.

use std::sync::LazyLock;

use redis::{Cmd, ErrorKind, RedisResult, ServerErrorKind, ToRedisArgs, Value};

use super::connection::RedisConnection;

/// The source of a script, with its hash.
pub(super) struct Script {
    source: String,
    sha1: String,
}

macro_rules! scripts {
    ($($name:ident = $file:literal;)*) => {
        $(pub(super) static $name: LazyLock<Script> =
            LazyLock::new(|| {
                Script::new(concat!(include_str!("prelude.lua"), include_str!($file)))
            });)*
    };
}

scripts! {
    CREATE = "create.lua";
    COMMIT = "commit.lua";
    ROTATE = "rotate.lua";
    DESTROY = "destroy.lua";
    REVOKE_ALL = "revoke_all.lua";
}

/// Whether this server lets this user do what the others do.
pub(super) static PROBE: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("probe.lua")));

impl Script {
    fn new(source: &str) -> Self {
        Self { source: source.to_owned(), sha1: sha1_smol::Sha1::from(source).digest().to_string() }
    }

    /// A call by hash, to which arguments are added.
    pub(super) fn call(&'static self, key: &[u8]) -> Call {
        let mut command = redis::cmd("EVALSHA");
        command.arg(&self.sha1).arg(1).arg(key);
        Call { script: self, command }
    }
}

pub(super) struct Call {
    script: &'static Script,
    command: Cmd,
}

impl Call {
    pub(super) fn arg(mut self, arg: impl ToRedisArgs) -> Self {
        self.command.arg(arg);
        self
    }

    /// Runs the call. A server that does not know the script refuses without running it, and is
    /// then sent the source.
    pub(super) async fn run(&self, connection: &RedisConnection) -> RedisResult<Value> {
        match connection.ask(self.command.clone()).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                let mut command = redis::cmd("EVAL");
                command.arg(&self.script.source);
                for arg in self.command.args_iter().skip(2) {
                    if let redis::Arg::Simple(arg) = arg {
                        command.arg(arg);
                    }
                }
                connection.ask(command).await
            }
            answer => answer,
        }
    }
}
