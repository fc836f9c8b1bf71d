//! The gateway under test: the real binary in a folder of its own.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{binary::portcullis, raw};

/// Longest wait for a condition.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long a start may take: a large rule set is compiled before anything is bound.
const START: Duration = Duration::from_secs(60);

/// A running gateway; it is killed when dropped.
pub struct Gateway {
    folder: TempDir,
    child: Child,
    config: PathBuf,
}

impl Gateway {
    /// Starts a gateway from a configuration whose listeners have port 0. Logs
    /// go to files, and management and admin to free ports.
    pub fn start(yaml: &str) -> Self {
        Self::start_in(tempfile::tempdir().expect("a temporary folder"), yaml, &[])
    }

    /// Starts a gateway in a folder that holds files already, with more arguments.
    ///
    /// # Panics
    /// When it does not come up; its log is printed.
    pub fn start_in(folder: TempDir, yaml: &str, arguments: &[&str]) -> Self {
        let config = folder.path().join("portcullis.yaml");
        fs::write(&config, complete(yaml)).expect("the folder is writable");
        Self::run(folder, config, arguments)
    }

    /// Starts a gateway from a file or folder inside `folder`.
    ///
    /// # Panics
    /// When it does not come up; its log is printed.
    pub fn run(folder: TempDir, config: PathBuf, arguments: &[&str]) -> Self {
        let log = fs::File::create(folder.path().join("log")).expect("the folder is writable");
        let child = Command::new(portcullis())
            .args(["run", "--threads", "2", "--config"])
            .arg(&config)
            .arg("--bound-file")
            .arg(folder.path().join("bound.json"))
            .args(arguments)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        let mut gateway = Self {
            folder,
            child,
            config,
        };
        let deadline = Instant::now() + START;
        while !gateway.folder.path().join("bound.json").exists() {
            let ended = gateway.child.try_wait().expect("a child can be asked");
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "the gateway did not start:\n{}",
                gateway.log()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        gateway
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Bytes of its memory that are resident.
    ///
    /// # Panics
    /// When it does not run.
    pub fn resident(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()));
        let status = status.expect("the gateway runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kilobytes = line.and_then(|line| line.split_ascii_whitespace().nth(1)?.parse().ok());
        kilobytes.map_or(0, |kilobytes: usize| kilobytes << 10)
    }

    /// Where something is bound: `listeners/http`, `egress/egress`, `management`, `admin`.
    ///
    /// # Panics
    /// When it is not.
    pub fn at(&self, what: &str) -> SocketAddr {
        self.try_at(what)
            .unwrap_or_else(|| panic!("{what} is not bound:\n{}", self.log()))
    }

    /// Where something is bound, if it is.
    pub fn try_at(&self, what: &str) -> Option<SocketAddr> {
        let bound: Value =
            serde_json::from_str(&fs::read_to_string(self.folder.path().join("bound.json")).ok()?)
                .ok()?;
        bound.pointer(&format!("/{what}"))?.as_str()?.parse().ok()
    }

    /// Address of the listener `http`.
    pub fn http(&self) -> SocketAddr {
        self.at("listeners/http")
    }

    /// Address of the listener `https`.
    pub fn https(&self) -> SocketAddr {
        self.at("listeners/https")
    }

    /// Its log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Gets a path of the management listener: status and body.
    pub fn management(&self, path: &str) -> (u16, String) {
        get(self.at("management"), path)
    }

    /// Gets a path of the admin listener: status and body.
    pub fn admin(&self, path: &str) -> (u16, String) {
        get(self.at("admin"), path)
    }

    /// The value of a metric, by its name with labels; `None` where it is not there.
    pub fn metric(&self, series: &str) -> Option<f64> {
        let (_, text) = self.management("/metrics");
        text.lines()
            .find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
    }

    /// Writes another configuration, without waiting for it.
    pub fn write_config(&self, yaml: &str) {
        let name = self.config.file_name().and_then(|name| name.to_str());
        self.write_beside(name.expect("a name"), &complete(yaml));
    }

    /// Puts a file in the place of one beside the configuration, whole at any time.
    pub fn write_beside(&self, name: &str, text: &str) {
        let part = self.folder.path().join(".part");
        fs::write(&part, text).expect("the folder is writable");
        fs::rename(&part, self.folder.path().join(name)).expect("the folder is writable");
    }

    /// Writes another configuration and waits until it serves.
    pub fn reload(&self, yaml: &str) {
        let before = self.metric("portcullis_config_snapshot").unwrap_or(0.0);
        self.write_config(yaml);
        wait_for("the reload", || {
            self.metric("portcullis_config_snapshot")
                .is_some_and(|now| now > before)
        });
    }

    /// Lines of the access log.
    pub fn access_lines(&self) -> Vec<Value> {
        lines(&self.folder.path().join("access.log"))
    }

    /// Lines of the audit log.
    pub fn audit_lines(&self) -> Vec<Value> {
        lines(&self.folder.path().join("audit.log"))
    }

    /// Waits for the access log line of a request.
    pub fn access_line(&self, request_id: &str) -> Value {
        let mut found = Value::Null;
        wait_for("the access log line", || {
            let line = self
                .access_lines()
                .into_iter()
                .find(|line| line["requestId"] == request_id);
            found = line.unwrap_or_default();
            !found.is_null()
        });
        found
    }

    /// Sends a signal.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args(["-s", name, &self.child.id().to_string()])
            .status();
        assert!(status.expect("kill runs").success());
    }

    /// Waits for the end of the process.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be asked") {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "the gateway does not end:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("log of the gateway:\n{}", self.log());
            let access = fs::read_to_string(self.folder.path().join("access.log"));
            let access = access.unwrap_or_default();
            let last = access.lines().count().saturating_sub(5);
            eprintln!("end of its access log:");
            access
                .lines()
                .skip(last)
                .for_each(|line| eprintln!("{line}"));
        }
    }
}

/// Adds what every test wants, where the configuration does not say otherwise.
fn complete(yaml: &str) -> String {
    let mut yaml = yaml.trim_end().to_owned() + "\n";
    for (section, text) in [
        ("management:", "management: {address: '127.0.0.1:0'}\n"),
        ("admin:", "admin: {address: '127.0.0.1:0'}\n"),
        ("logs:", "logs: {access: access.log, audit: audit.log}\n"),
    ] {
        if !yaml.lines().any(|line| line.starts_with(section)) {
            yaml.push_str(text);
        }
    }
    yaml
}

fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let response = raw(
        address,
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes(),
    );
    let body = response.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (crate::status_of(&response), body.to_owned())
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// Waits until a condition holds.
///
/// # Panics
/// When it does not in time.
pub fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Publishes files in a folder as a kubelet does: a new folder of data, and a
/// swap of the `..data` link.
pub fn swap_config_map(folder: &Path, version: u32, files: &[(&str, &str)]) {
    let data = format!("..{version}");
    fs::create_dir_all(folder.join(&data)).expect("the folder is writable");
    for (name, text) in files {
        fs::write(folder.join(&data).join(name), text).expect("the folder is writable");
    }
    let (part, link) = (folder.join("..data_tmp"), folder.join("..data"));
    std::os::unix::fs::symlink(&data, &part).expect("the folder is writable");
    fs::rename(&part, &link).expect("the folder is writable");
    for (name, _) in files {
        // The links of the files stay from the first time on.
        let _ = std::os::unix::fs::symlink(format!("..data/{name}"), folder.join(name));
    }
}
