//! Child processes, and what the operating system says they used.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;

/// The most time a process may take until it listens.
const START: Duration = Duration::from_secs(30);

/// A child that ends with this process at the latest, however this process ends.
pub(crate) struct Process {
    child: Child,
    name: String,
}

impl Process {
    /// Starts `program`, found on the path.
    pub(crate) fn spawn(
        program: &str,
        args: &[&str],
        env: &[(&str, &str)],
        stdout: Stdio,
        stderr: Stdio,
    ) -> anyhow::Result<Self> {
        // setpriv becomes the program, so the process id is the program's own.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", program])
            .args(args)
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        Ok(Self { child, name: program.to_owned() })
    }

    /// Reads `listening on ADDRESS` from the output.
    pub(crate) fn wait_until_listening(&mut self) -> anyhow::Result<SocketAddr> {
        let output = self.child.stdout.take().context("the output is not piped")?;
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let read = BufReader::new(output).read_line(&mut line);
            // Nobody listens any more when it took too long.
            let _ = sender.send(read.map(|_| line));
        });
        let line = receiver
            .recv_timeout(START)
            .with_context(|| format!("{} does not start", self.name))??;
        match line.trim().strip_prefix("listening on ") {
            Some(address) => Ok(address.parse()?),
            None => bail!("{} said {line:?} in place of where it listens", self.name),
        }
    }

    /// Waits until somebody answers at `address`, which the process was told to listen on.
    pub(crate) fn wait_until_connectable(&mut self, address: SocketAddr) -> anyhow::Result<()> {
        let deadline = Instant::now() + START;
        while TcpStream::connect(address).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status}", self.name);
            }
            ensure!(Instant::now() < deadline, "{} does not start", self.name);
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a process id fits"))
    }

    /// User and system time of all its threads until now.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        let now = clock_getcpuclockid(self.pid()).and_then(nix::time::ClockId::now);
        Ok(now.with_context(|| format!("{} is gone", self.name))?.into())
    }

    /// Resident memory in bytes.
    pub(crate) fn memory(&self) -> anyhow::Result<u64> {
        let path = format!("/proc/{}/status", self.pid());
        let status = std::fs::read_to_string(&path).with_context(|| path.clone())?;
        let line =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib * 1024)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already ended is as good.
        let _ = kill(self.pid(), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}
