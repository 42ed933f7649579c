//! Child processes and their resource usage.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;

/// The time limit for a process to start listening.
const START: Duration = Duration::from_secs(30);

/// A child that ends with this process at the latest.
pub(crate) struct Process {
    child: Child,
    name: String,
}

impl Process {
    /// Starts `program`, found on the PATH.
    pub(crate) fn spawn(
        program: &str,
        args: &[&str],
        env: &[(&str, &str)],
        stdout: Stdio,
        stderr: Stdio,
    ) -> anyhow::Result<Self> {
        // setpriv replaces itself by the program, so the process id is the program's.
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
            // Fails if the wait has timed out.
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

    /// Waits until `address`, on which the process should listen, accepts connections.
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

    /// User and system time of all its threads so far.
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
        // The process may have ended already.
        let _ = kill(self.pid(), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}
