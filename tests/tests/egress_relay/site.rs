//! A proxy that wants tokens, and relays beside its clients.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
};

use portcullis_tests::{
    Authority, Gateway, Raw, TokenIssuer, portcullis, replace, swap_config_map, wait_for,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A public address; the test map leads it to this machine after it was judged.
pub(super) const PUBLIC: &str = "93.184.215.14";

/// Audience of its tokens.
const AUDIENCE: &str = "portcullis";

/// A proxy.
pub(super) struct Site {
    pub(super) gateway: Gateway,
    /// Certificates that it has with `tls`.
    pub(super) authority: Authority,
    tls: bool,
}

impl Site {
    /// Starts a proxy that takes the tokens of an issuer. Names of `example` lead to targets, by port.
    pub(super) fn start(
        listener: &str,
        issuer: &TokenIssuer,
        targets: &[(u16, SocketAddr)],
    ) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let authority = Authority::new();
        authority.write(folder.path(), "proxy", &["localhost"]);
        replace(&folder.path().join("ca.crt"), authority.pem());
        replace(
            &folder.path().join("jwks.json"),
            TokenIssuer::jwks(&[issuer]),
        );
        let tokens = json!({
            "jwks": "jwks.json",
            "issuer": TokenIssuer::ISSUER,
            "audience": AUDIENCE,
            "clockSkew": "0s",
        });
        let address = match listener.contains("address") {
            true => "",
            false => "address: '127.0.0.1:0', ",
        };
        let yaml = format!(
            "certificates: [{{name: proxy, certificate: proxy.crt, key: proxy.key}}]\n\
             egress:\n  listeners: [{{name: proxy, {address}{listener}}}]\n  \
             identity: {{serviceAccountTokens: {tokens}}}\n  policies:\n  - name: ci\n    \
             subjects: [{{namespace: ci}}]\n    \
             allow: [api.example, {{host: raw.example, ports: [22], raw: true}}]\n"
        );
        let mut arguments = Vec::new();
        for name in ["api.example", "raw.example"] {
            arguments.extend(["--test-dns".to_owned(), format!("{name}={PUBLIC}")]);
        }
        for (port, to) in targets {
            arguments.extend(["--test-address-map".into(), format!("{PUBLIC}:{port}={to}")]);
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Self {
            gateway: Gateway::start_in(folder, &yaml, &arguments),
            authority,
            tls: listener.contains("tls"),
        }
    }

    /// The URL of the proxy.
    pub(super) fn url(&self) -> String {
        let port = self.gateway.at("egress/proxy").port();
        match self.tls {
            true => format!("https://localhost:{port}"),
            false => format!("http://127.0.0.1:{port}"),
        }
    }

    /// Has it take the tokens of these issuers.
    pub(super) fn trust(&self, issuers: &[&TokenIssuer]) {
        let path = self.gateway.folder().join("jwks.json");
        let before = self.gateway.metric("portcullis_config_snapshot");
        replace(&path, TokenIssuer::jwks(issuers));
        wait_for("the keys", || {
            self.gateway.metric("portcullis_config_snapshot") > before
        });
    }

    /// Audit lines of a host, once there are so many.
    pub(super) fn audit(&self, host: &str, count: usize) -> Vec<Value> {
        let mut found = Vec::new();
        wait_for("the audit lines", || {
            let lines = self.gateway.audit_lines().into_iter();
            found = lines.filter(|line| line["host"] == host).collect();
            found.len() >= count
        });
        found
    }
}

/// A token of a ServiceAccount in the namespace `ci`.
pub(super) fn token(issuer: &TokenIssuer, account: &str) -> String {
    issuer.sign(&TokenIssuer::claims(AUDIENCE, ("ci", account), 600))
}

/// A projected volume with a token.
pub(super) struct Volume {
    pub(super) folder: TempDir,
    version: u32,
}

impl Volume {
    pub(super) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            version: 0,
        }
    }

    /// Puts a token there as a kubelet does.
    pub(super) fn put(&mut self, token: &str) -> &mut Self {
        self.version += 1;
        swap_config_map(self.folder.path(), self.version, &[("token", token)]);
        self
    }

    pub(super) fn token_file(&self) -> PathBuf {
        self.folder.path().join("token")
    }
}

/// A relay; it is killed when dropped.
pub(super) struct Relay {
    child: Child,
    folder: TempDir,
    pub(super) address: SocketAddr,
}

impl Relay {
    /// Starts one on a free port.
    pub(super) fn start(proxy: &str, volume: &Volume, more: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let ready = folder.path().join("ready");
        let log = fs::File::create(folder.path().join("log")).expect("the folder is writable");
        let child = Command::new(portcullis())
            .args(["egress", "relay", "--listen", "127.0.0.1:0", "--proxy"])
            .arg(proxy)
            .arg("--token-file")
            .arg(volume.token_file())
            .arg("--ready-file")
            .arg(&ready)
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        let mut relay = Self {
            child,
            folder,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        wait_for("the relay", || {
            let ended = relay.child.try_wait().expect("a child can be asked");
            assert!(ended.is_none(), "it did not start: {}", relay.log());
            ready.exists()
        });
        let address = fs::read_to_string(&ready).expect("it is whole");
        relay.address = address.parse().expect("an address");
        relay
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub(super) fn terminate(&self) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", "TERM", &pid]).status();
        assert!(status.expect("kill runs").success());
    }

    pub(super) fn has_ended(&mut self) -> bool {
        let ended = self.child.try_wait().expect("a child can be asked");
        ended.is_some()
    }

    /// Waits for its end.
    pub(super) fn wait(&mut self) -> ExitStatus {
        let mut ended = None;
        wait_for("the end of the relay", || {
            ended = self.child.try_wait().expect("a child can be asked");
            ended.is_some()
        });
        ended.expect("it has ended")
    }

    /// Asks whether it serves, as an exec probe does.
    pub(super) fn probe(&self) -> (bool, String) {
        let output = command(&["--probe", "--listen", &self.address.to_string()]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), said)
    }

    /// Asks for a tunnel.
    pub(super) fn connect(&self, target: &str) -> (Raw, String) {
        let mut connection = Raw::connect(self.address);
        let answer = ask(&mut connection, target, "");
        (connection, answer)
    }

    /// Runs curl through it: what it prints, and what it complains of.
    pub(super) fn curl(&self, scheme: &str, ca: &Path, more: &[&str], url: &str) -> String {
        let output = Command::new("curl")
            .args(["-sS", "--max-time", "10", "--proxy"])
            .arg(format!("{scheme}://{}", self.address))
            .arg("--cacert")
            .arg(ca)
            .args(more)
            .arg(url)
            .output()
            .expect("curl runs");
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&text).into_owned()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("log of the relay:\n{}", self.log());
        }
    }
}

/// Asks for a tunnel with header lines of the test's own.
pub(super) fn ask(connection: &mut Raw, target: &str, lines: &str) -> String {
    let head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{lines}\r\n");
    connection.send(head.as_bytes()).response()
}

/// Runs `portcullis egress relay` to its end.
pub(super) fn command(arguments: &[&str]) -> Output {
    Command::new(portcullis())
        .args(["egress", "relay"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs")
}

pub(super) fn reason(answer: &str) -> &str {
    answer
        .lines()
        .find_map(|line| line.strip_prefix("x-portcullis-reason: egress/"))
        .unwrap_or_default()
}
