//! One child process: started, watched until it is ready, signalled, killed.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{LazyLock, mpsc};
use std::time::Duration;

/// The pause between two checks of a process.
const POLL: Duration = Duration::from_millis(5);

/// The number of checks before a child that does not quit is killed: about five seconds.
const QUIT_POLLS: u32 = 1_000;

/// The time limit for a server to become ready, and for a helper command to finish.
pub(crate) const START_LIMIT: Duration = Duration::from_secs(30);

/// The signal that ends a child when it is dropped, or when this process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// SIGKILL.
    Kill,
    /// SIGQUIT, for `PostgreSQL`, which then ends at once but releases its shared memory.
    Quit,
}

/// A running child whose output goes to a file; ended when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
    ending: Ending,
}

impl Process {
    /// Starts `program`, a name on the PATH or an absolute path, with its output in `log`.
    pub(crate) fn spawn(program: &str, args: &[String], log: &Path) -> Self {
        Self::spawn_as(&[], Ending::Kill, program, args, log)
    }

    /// Starts `program` with other privileges, given as options of `setpriv`.
    pub(crate) fn spawn_as(
        rights: &[&str],
        ending: Ending,
        program: &str,
        args: &[String],
        log: &Path,
    ) -> Self {
        let out = File::create(log).expect("the log's directory exists");
        let err = out.try_clone().expect("a file handle can be duplicated");
        let mut command = Command::new(find("setpriv"));
        command
            .args(["--pdeathsig", ending.signal()])
            .args(rights)
            .arg("--")
            .arg(find(program))
            .args(args);
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        Self { child: spawn(command), log: log.to_owned(), ending }
    }

    /// Waits until the process has printed `sign`.
    ///
    /// # Errors
    /// The process's output, when it ended or took longer than [`START_LIMIT`].
    pub(crate) async fn ready(&mut self, sign: &str) -> Result<(), String> {
        let ended = poll(START_LIMIT, || {
            if self.log().contains(sign) {
                return Some(false);
            }
            self.child.try_wait().expect("our own child can be waited for").map(|_| true)
        })
        .await;
        match ended {
            Some(false) => Ok(()),
            Some(true) => Err(format!("ended at its start:\n{}", self.log())),
            None => Err(format!("never said {sign:?}:\n{}", self.log())),
        }
    }

    /// The output of the process so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Suspends the process. Its sockets stay open and silent.
    pub(crate) async fn freeze(&self) {
        signal("STOP", self.id());
        let stat = format!("/proc/{}/stat", self.id());
        let stopped = poll(START_LIMIT, || {
            let stat =
                std::fs::read_to_string(&stat).expect("a stopped process keeps its /proc entry");
            stat.contains(") T ").then_some(())
        });
        stopped.await.expect("SIGSTOP cannot be ignored");
    }

    /// Resumes a frozen process.
    pub(crate) fn thaw(&self) {
        signal("CONT", self.id());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ending == Ending::Quit && matches!(self.child.try_wait(), Ok(None)) {
            signal("QUIT", self.id());
            for _ in 0..QUIT_POLLS {
                if !matches!(self.child.try_wait(), Ok(None)) {
                    break;
                }
                std::thread::sleep(POLL);
            }
        }
        // Both fail only for a child that has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ending {
    fn signal(self) -> &'static str {
        match self {
            Self::Kill => "KILL",
            Self::Quit => "QUIT",
        }
    }
}

/// Runs a helper to its end and returns its output. Panics when it fails.
pub(crate) async fn run(program: &str, args: &[&str]) -> Vec<u8> {
    let output = output(program, args).await;
    assert!(
        output.status.success(),
        "{program} {args:?} failed:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// Runs a helper to its end, successful or not.
pub(crate) async fn output(program: &str, args: &[&str]) -> Output {
    let mut command = tokio::process::Command::new(find(program));
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    tokio::time::timeout(START_LIMIT, command.output())
        .await
        .unwrap_or_else(|_| panic!("{program} {args:?} did not finish within {START_LIMIT:?}"))
        .unwrap_or_else(|error| panic!("{program} could not be run: {error}"))
}

/// Repeats `check` until it is true. Panics after [`START_LIMIT`].
pub(crate) async fn wait_until<F: Future<Output = bool>>(what: &str, mut check: impl FnMut() -> F) {
    let waiting = async {
        while !check().await {
            tokio::time::sleep(POLL).await;
        }
    };
    let waited = tokio::time::timeout(START_LIMIT, waiting).await;
    assert!(waited.is_ok(), "waited {START_LIMIT:?} in vain: {what}");
}

/// Repeats `check` until it returns a value; `None` after `limit`.
pub(crate) async fn poll<T>(limit: Duration, mut check: impl FnMut() -> Option<T>) -> Option<T> {
    tokio::time::timeout(limit, async {
        loop {
            if let Some(answer) = check() {
                return answer;
            }
            tokio::time::sleep(POLL).await;
        }
    })
    .await
    .ok()
}

/// The file of a program on the PATH, or an absolute path.
pub(crate) fn find(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
        .unwrap_or_else(|| {
            panic!("{program} is not installed; ./script/test installs what the tests need")
        })
}

/// A program in the workspace's `.tools`, where `script/bootstrap` installs it; `TRACERA_TOOLS`
/// names another directory.
pub(crate) fn tool(path: &str) -> String {
    let workspace_tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools");
    let tools = std::env::var_os("TRACERA_TOOLS").map_or(workspace_tools, PathBuf::from);
    find(tools.join(path).to_str().expect("the workspace's path is UTF-8"))
        .to_str()
        .expect("seen above")
        .to_owned()
}

fn signal(name: &str, process: u32) {
    let status = Command::new("sh").args(["-c", &format!("kill -{name} {process}")]).status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "SIG{name} could not be sent to {process}"
    );
}

/// Starts a child from a thread that never ends. The kernel counts the end of the *thread* that
/// started a child as its parent's death. A test's thread may end before others that share the
/// child.
fn spawn(command: Command) -> Child {
    type Order = (Command, mpsc::Sender<std::io::Result<Child>>);
    static SPAWNER: LazyLock<mpsc::Sender<Order>> = LazyLock::new(|| {
        let (orders, receiver) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, reply) in receiver {
                // The caller waits for the reply below.
                let _ = reply.send(command.spawn());
            }
        });
        orders
    });
    let program = command.get_program().to_owned();
    let (reply, child) = mpsc::channel();
    SPAWNER.send((command, reply)).expect("the spawner runs as long as the process");
    child
        .recv()
        .expect("the spawner answers every order")
        .unwrap_or_else(|error| panic!("{} could not be started: {error}", program.display()))
}
