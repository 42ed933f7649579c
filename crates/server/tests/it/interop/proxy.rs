//! Runs a proxy with its sample from `deploy/`, on free ports, in front of two instances.

use std::fs::{self, File};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use reqwest::Client;
use tempfile::TempDir;
use tracera_testkit::{Certificate, free_port};

use super::{found, sample};
use crate::harness::eventually;

/// A running proxy; killed when dropped, or when the test process dies.
pub(super) struct Proxy {
    /// The port for TLS.
    pub(super) https: u16,
    /// The port for plain HTTP.
    pub(super) http: u16,
    authority: reqwest::Certificate,
    child: Child,
    directory: TempDir,
}

impl Proxy {
    pub(super) async fn nginx(instances: [SocketAddr; 2]) -> Self {
        Self::nginx_with(instances, &[]).await
    }

    /// Like `nginx`, with replacements in the sample.
    pub(super) async fn nginx_with(instances: [SocketAddr; 2], changes: &[(&str, &str)]) -> Self {
        let set_up = SetUp::new().await;
        let site: Vec<_> = set_up
            .ported("nginx.conf", instances, changes)
            .lines()
            .filter(|line| !line.contains("listen [::]"))
            .map(str::to_owned)
            .collect();
        let site = site
            .join("\n")
            .replace("listen 443", &format!("listen 127.0.0.1:{}", set_up.https))
            .replace("listen 80", &format!("listen 127.0.0.1:{}", set_up.http))
            .replace("/var/log/nginx", &set_up.path(""));
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {};\n", set_up.path(name)))
            .concat();
        let main = format!(
            "daemon off; master_process off; pid {}; error_log stderr;\nevents {{}}\nhttp \
             {{\naccess_log off;\n{temporary}{site}}}\n",
            set_up.path("pid")
        );
        let config = set_up.write("nginx.conf", &main);
        let root = set_up.path("");
        set_up.start("nginx", &["-p", &root, "-c", &config], &[]).await
    }

    pub(super) async fn haproxy(instances: [SocketAddr; 2]) -> Self {
        Self::haproxy_with(instances, &[]).await
    }

    /// Like `haproxy`, with replacements in the sample.
    pub(super) async fn haproxy_with(instances: [SocketAddr; 2], changes: &[(&str, &str)]) -> Self {
        let set_up = SetUp::new().await;
        let both = [&set_up.chain, &set_up.key].map(|file| fs::read_to_string(file).unwrap());
        let pem = set_up.write("tracera.pem", &both.concat());
        let config = set_up
            .ported("haproxy.cfg", instances, changes)
            .replace("bind :443", &format!("bind 127.0.0.1:{}", set_up.https))
            .replace("bind :80\n", &format!("bind 127.0.0.1:{}\n", set_up.http))
            .replace("/etc/haproxy/tracera.pem", &pem);
        let config = set_up.write("haproxy.cfg", &config);
        set_up.start("haproxy", &["-db", "-f", &config], &[]).await
    }

    pub(super) async fn caddy(instances: [SocketAddr; 2]) -> Self {
        Self::caddy_with(instances, &[]).await
    }

    /// Like `caddy`, with replacements in the sample.
    pub(super) async fn caddy_with(instances: [SocketAddr; 2], changes: &[(&str, &str)]) -> Self {
        let set_up = SetUp::new().await;
        let site = format!(
            "https://localhost:{} {{\n\ttls {} {}\n",
            set_up.https,
            set_up.chain.display(),
            set_up.key.display()
        );
        let options = format!(
            "{{\n\tadmin off\n\thttp_port {}\n\thttps_port {}\n",
            set_up.http, set_up.https
        );
        let config = set_up
            .ported("Caddyfile", instances, changes)
            .replacen("{\n", &options, 1)
            .replace("tracera.example {\n", &site);
        let config = set_up.write("Caddyfile", &config);
        let home = set_up.path("");
        let arguments = ["run", "--adapter", "caddyfile", "--config", &config];
        set_up.start("caddy", &arguments, &[("HOME", &home), ("XDG_DATA_HOME", &home)]).await
    }

    pub(super) async fn apache(instances: [SocketAddr; 2]) -> Self {
        Self::apache_with(instances, &[]).await
    }

    /// Like `apache`, with replacements in the sample.
    pub(super) async fn apache_with(instances: [SocketAddr; 2], changes: &[(&str, &str)]) -> Self {
        let set_up = SetUp::new().await;
        let modules = [
            "mpm_event",
            "authz_core",
            "alias",
            "ssl",
            "http2",
            "headers",
            "slotmem_shm",
            "proxy",
            "proxy_http",
            "proxy_balancer",
            "lbmethod_byrequests",
        ];
        let modules = modules
            .map(|name| {
                format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n")
            })
            .concat();
        let site = set_up
            .ported("apache.conf", instances, changes)
            .replace("*:443", &format!("*:{}", set_up.https))
            .replace("*:80", &format!("*:{}", set_up.http))
            .replace("${APACHE_LOG_DIR}", &set_up.path(""));
        // `-X` starts one process. With Debian's 25 threads it is out of them at a hundred clients,
        // and ends connections that clients keep.
        let main = format!(
            "ServerRoot {root}\nThreadLimit 256\nThreadsPerChild 256\nMaxRequestWorkers \
             256\nServerName localhost\nPidFile {root}/pid\nErrorLog \
             {root}/error.log\nDefaultRuntimeDir {root}\nMutex file:{root} default\nUser \
             www-data\nGroup www-data\n{modules}Listen 127.0.0.1:{}\nListen 127.0.0.1:{}\n{site}",
            set_up.https,
            set_up.http,
            root = set_up.path(""),
        );
        let config = set_up.write("apache.conf", &main);
        set_up.start("apache2", &["-X", "-f", &config], &[]).await
    }

    /// A client at this address of the loopback network.
    pub(super) fn client(&self, address: [u8; 4]) -> Client {
        tracera::tls::install_provider();
        Client::builder()
            .local_address(IpAddr::from(address))
            .tls_certs_only([self.authority.clone()])
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap()
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.https)
    }

    /// Everything the proxy has logged.
    pub(super) fn logs(&self) -> String {
        let files = fs::read_dir(self.directory.path()).unwrap().map(|entry| entry.unwrap().path());
        files
            .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
            .map(|path| fs::read_to_string(path).unwrap())
            .collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Both calls fail only if the child has already exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The requirements of every proxy: ports, a certificate, a directory.
struct SetUp {
    https: u16,
    http: u16,
    chain: PathBuf,
    key: PathBuf,
    authority: reqwest::Certificate,
    directory: TempDir,
    // Keeps the certificate's files until the proxy stops.
    _certificate: Certificate,
}

impl SetUp {
    async fn new() -> Self {
        let certificate = Certificate::create().await;
        let authority = fs::read(certificate.authority()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        // Apache's child processes run as another user.
        open_to_everybody(directory.path());
        let [chain, key] = [("chain.pem", certificate.chain()), ("key.pem", certificate.key())]
            .map(|(name, from)| {
                let to = directory.path().join(name);
                fs::copy(from, &to).unwrap();
                to
            });
        Self {
            https: free_port(),
            http: free_port(),
            chain,
            key,
            authority: reqwest::Certificate::from_pem(&authority).unwrap(),
            directory,
            _certificate: certificate,
        }
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).to_str().unwrap().trim_end_matches('/').to_owned()
    }

    fn write(&self, name: &str, content: &str) -> String {
        fs::write(self.directory.path().join(name), content).unwrap();
        self.path(name)
    }

    /// The sample with the instances' ports and the certificate's paths.
    fn ported(&self, name: &str, instances: [SocketAddr; 2], changes: &[(&str, &str)]) -> String {
        let letsencrypt = "/etc/letsencrypt/live/tracera.example";
        let edited = changes.iter().fold(sample(name), |sample, (from, to)| {
            assert!(sample.contains(from), "{name} has no {from:?}");
            sample.replace(from, to)
        });
        let with_ports = edited
            .replace("127.0.0.1:8080", &instances[0].to_string())
            .replace("127.0.0.1:8081", &instances[1].to_string())
            .replace(&format!("{letsencrypt}/fullchain.pem"), self.chain.to_str().unwrap())
            .replace(&format!("{letsencrypt}/privkey.pem"), self.key.to_str().unwrap());
        assert!(with_ports.contains(&instances[1].to_string()), "{name} names no second instance");
        with_ports
    }

    async fn start(self, program: &str, arguments: &[&str], vars: &[(&str, &str)]) -> Proxy {
        let log = self.directory.path().join("output.log");
        let out = File::create(&log).unwrap();
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(found(program))
            .args(arguments)
            .envs(vars.iter().copied())
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out);
        let child = command.spawn().unwrap();
        let mut proxy = Proxy {
            https: self.https,
            http: self.http,
            authority: self.authority,
            child,
            directory: self.directory,
        };
        let client = proxy.client([127, 0, 0, 1]);
        let url = proxy.url("/healthz");
        eventually(|| {
            if let Some(status) = proxy.child.try_wait().unwrap() {
                panic!("{program} ended with {status}:\n{}", proxy.logs());
            }
            let asked = client.get(&url).send();
            async { asked.await.ok().filter(|answer| answer.status().is_success()).map(|_| ()) }
        })
        .await;
        proxy
    }
}

fn open_to_everybody(directory: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o777)).unwrap();
}
