//! `portcullis egress relay` beside a client, with the token that a kubelet would give it.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
};

use tempfile::TempDir;

use crate::{Raw, portcullis, swap_config_map, wait_for};

/// A projected volume with a token.
pub struct Volume {
    /// Where it is.
    pub folder: TempDir,
    version: u32,
}

impl Default for Volume {
    fn default() -> Self {
        Self::new()
    }
}

impl Volume {
    /// Makes one without a token.
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            version: 0,
        }
    }

    /// Puts a token there as a kubelet does.
    pub fn put(&mut self, token: &str) -> &mut Self {
        self.version += 1;
        swap_config_map(self.folder.path(), self.version, &[("token", token)]);
        self
    }

    /// The file that has the token.
    pub fn token_file(&self) -> PathBuf {
        self.folder.path().join("token")
    }
}

/// A relay; it is killed when dropped.
pub struct Relay {
    child: Child,
    folder: TempDir,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Relay {
    /// Starts one on a free port.
    pub fn start(proxy: &str, volume: &Volume, more: &[&str]) -> Self {
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

    /// Its log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", "TERM", &pid]).status();
        assert!(status.expect("kill runs").success());
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        let ended = self.child.try_wait().expect("a child can be asked");
        ended.is_some()
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let mut ended = None;
        wait_for("the end of the relay", || {
            ended = self.child.try_wait().expect("a child can be asked");
            ended.is_some()
        });
        ended.expect("it has ended")
    }

    /// Asks whether it serves, as an exec probe does.
    pub fn probe(&self) -> (bool, String) {
        let output = command(&["--probe", "--listen", &self.address.to_string()]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), said)
    }

    /// Asks for a tunnel.
    pub fn connect(&self, target: &str) -> (Raw, String) {
        let mut connection = Raw::connect(self.address);
        let answer = ask(&mut connection, target, "");
        (connection, answer)
    }

    /// Runs curl through it: what it prints, and what it complains of.
    pub fn curl(&self, scheme: &str, ca: &Path, more: &[&str], url: &str) -> String {
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
pub fn ask(connection: &mut Raw, target: &str, lines: &str) -> String {
    let head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{lines}\r\n");
    connection.send(head.as_bytes()).response()
}

/// Runs `portcullis egress relay` to its end.
pub fn command(arguments: &[&str]) -> Output {
    Command::new(portcullis())
        .args(["egress", "relay"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs")
}
