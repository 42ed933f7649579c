//! Postfix with checks of the client's name, as strict as those of public mail servers.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;

use tempfile::TempDir;

use crate::certificate::{Certificate, text};
use crate::free_port;
use crate::process::{Process, START_LIMIT, poll, run};

/// Postfix on a port of 127.0.0.1, which accepts mail for `example.com`, ended when dropped. It
/// needs root.
#[derive(Debug)]
pub struct Postfix {
    port: u16,
    certificate: Certificate,
    process: Process,
    directory: TempDir,
}

impl Postfix {
    /// Starts Postfix with optional STARTTLS. A client name that is not fully qualified is refused.
    pub async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let certificate = Certificate::create().await;
        let port = free_port();
        let path = text(directory.path());
        for name in ["conf", "spool", "lib", "mail"] {
            std::fs::create_dir(directory.path().join(name)).expect("a directory can be made");
        }
        run("chmod", &["755", &path]).await;
        run("chown", &["postfix", &format!("{path}/lib")]).await;
        run("chown", &["nobody", &format!("{path}/mail")]).await;
        let write = |name: &str, content: String| {
            let file = directory.path().join("conf").join(name);
            std::fs::write(file, content).expect("a temporary file can be written");
        };
        write("main.cf", main_cf(&path, &certificate));
        write("master.cf", master_cf(port));
        let args = ["-c", &format!("{path}/conf"), "start-fg"].map(ToOwned::to_owned);
        let process = Process::spawn("postfix", &args, &directory.path().join("log"));
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listens = poll(START_LIMIT, || TcpStream::connect(addr).ok()).await;
        let postfix = Self { port, certificate, process, directory };
        assert!(listens.is_some(), "postfix does not listen:\n{}", postfix.log());
        postfix
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The certificate authority that a client has to trust, as a PEM file.
    pub fn ca_file(&self) -> &Path {
        self.certificate.authority()
    }

    /// The log so far.
    pub fn log(&self) -> String {
        let own = std::fs::read_to_string(self.directory.path().join("maillog"));
        own.unwrap_or_default() + &self.process.log()
    }

    /// Waits until the delivered mails satisfy `wanted`, and returns them as one text.
    pub async fn wait_for_mails(&self, wanted: impl Fn(&str) -> bool) -> String {
        let mails = || {
            let mails = std::fs::read_to_string(self.directory.path().join("mail/all"));
            mails.ok().filter(|mails| wanted(mails))
        };
        let found = poll(START_LIMIT, mails).await;
        found.unwrap_or_else(|| panic!("the mails did not come:\n{}", self.log()))
    }
}

fn main_cf(path: &str, certificate: &Certificate) -> String {
    format!(
        "compatibility_level = 3.6
queue_directory = {path}/spool
data_directory = {path}/lib
maillog_file = {path}/maillog
maillog_file_prefixes = {path}
mail_owner = postfix
setgid_group = postdrop
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mx.example.com
mydestination =
alias_maps =
virtual_mailbox_domains = example.com
virtual_mailbox_base = {path}/mail
virtual_mailbox_maps = static:all
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
virtual_minimum_uid = 1
smtpd_helo_required = yes
smtpd_helo_restrictions = reject_invalid_helo_hostname, reject_non_fqdn_helo_hostname
smtpd_recipient_restrictions = reject_non_fqdn_recipient, reject_unauth_destination
smtpd_tls_security_level = encrypt
smtpd_tls_cert_file = {}
smtpd_tls_key_file = {}
",
        text(&certificate.chain),
        text(&certificate.key)
    )
}

fn master_cf(port: u16) -> String {
    format!(
        "127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
proxymap unix - - n - - proxymap
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
tlsmgr unix - - n 1000? 1 tlsmgr
virtual unix - n n - - virtual
postlog unix-dgram n - n - 1 postlogd
"
    )
}
