//! Clients that people use, each set up as its users set it up.

mod projects;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
};

use tempfile::TempDir;

use self::projects::{cargo, mvn};
use crate::{Authority, installed, packages::programs};

/// Longest that a client may take, in seconds.
const PATIENCE: &str = "60";

/// What a client came to.
#[derive(Clone, Debug)]
pub struct Printed {
    /// Whether it says by its exit that it went well.
    pub success: bool,
    /// All that it printed.
    pub text: String,
}

/// Programs with an authority that they trust, each by its own means.
pub struct RealClients {
    folder: TempDir,
    runs: AtomicUsize,
}

impl RealClients {
    /// Those that read a URL of a proxy with a password in it.
    pub const ALL: [&str; 13] = [
        "curl", "wget", "git", "pip", "npm", "cargo", "go", "go-mod", "java", "node", "requests",
        "httpx", "urllib",
    ];

    /// Sets them up.
    ///
    /// # Panics
    /// When the folder for them cannot be made.
    pub fn new(authority: &Authority) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("ca.crt"), authority.pem()).expect("writable");
        Self {
            folder,
            runs: AtomicUsize::new(0),
        }
    }

    /// Has a client fetch what [`crate::Packages`] publish at a host, through a proxy: over HTTPS, or,
    /// by those that get a page alone, as `http://HOST` says. `None`, which is printed, where it is
    /// not installed.
    pub fn run(&self, client: &str, proxy: &str, host: &str) -> Option<Printed> {
        let work = self.work();
        let mut command = self.command(client, proxy, host, &work)?;
        for name in ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"] {
            command.env(name, proxy);
        }
        Some(printed(command, &work))
    }

    /// The same by a shell that reads some lines first, which say all that there is of a proxy.
    pub fn run_in_shell(&self, client: &str, lines: &str, host: &str) -> Option<Printed> {
        let work = self.work();
        let inner = self.command(client, "", host, &work)?;
        fs::write(work.join("lines.sh"), lines).expect("writable");
        let mut shell = Command::new("sh");
        shell
            .args(["-c", ". ./lines.sh && exec \"$@\"", "sh"])
            .arg(inner.get_program())
            .args(inner.get_args())
            .env_clear();
        for (name, value) in inner.get_envs() {
            shell.envs(value.map(|value| (name, value)));
        }
        Some(printed(shell, &work))
    }

    /// A folder for one run.
    fn work(&self) -> PathBuf {
        let run = self.runs.fetch_add(1, Ordering::Relaxed);
        let work = self.folder.path().join(run.to_string());
        fs::create_dir(&work).expect("writable");
        work
    }

    fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    fn command(&self, client: &str, proxy: &str, host: &str, work: &Path) -> Option<Command> {
        let hello = match host.contains("://") {
            true => format!("{host}/hello"),
            false => format!("https://{host}/hello"),
        };
        let ca = self.ca();
        let command = match client {
            "curl" => {
                let mut curl = bounded(tool("curl")?);
                curl.args(["-sSi", "--cacert"]).arg(&ca).arg(hello);
                curl
            }
            "wget" => {
                let mut wget = bounded(tool("wget")?);
                wget.args(["-nv", "--tries=1", "-O", "-", "--ca-certificate"])
                    .arg(&ca)
                    .arg(hello);
                wget
            }
            "git" => {
                let mut git = bounded(tool("git")?);
                git.args(["clone", &format!("https://{host}/repo.git"), "cloned"])
                    .env("GIT_SSL_CAINFO", &ca)
                    .env("GIT_TERMINAL_PROMPT", "0");
                git
            }
            "pip" => {
                let mut pip = bounded(cached("venv/bin/python")?);
                // Of its retries it tells, and of the last failure only with `-v`.
                pip.args([
                    "-m",
                    "pip",
                    "download",
                    "--no-deps",
                    "--no-cache-dir",
                    "--retries",
                    "1",
                ])
                .args(["--disable-pip-version-check", "--index-url"])
                .arg(format!("https://{host}/simple/"))
                .arg("probe")
                .env("PIP_CERT", &ca);
                pip
            }
            "npm" => {
                let mut npm = bounded(tool("npm")?);
                npm.args([
                    "install",
                    "probe",
                    "--no-audit",
                    "--no-fund",
                    "--fetch-retries=0",
                ])
                .arg(format!("--registry=https://{host}/npm/"))
                .arg("--no-update-notifier")
                .env("NODE_EXTRA_CA_CERTS", &ca)
                // That of the machine may name authorities of its own.
                .env("npm_config_globalconfig", work.join("none"));
                npm
            }
            "cargo" => cargo(host, &ca, work)?,
            "go" => {
                let mut go = bounded(self.go()?);
                go.arg(hello).env("SSL_CERT_FILE", &ca);
                go
            }
            "go-mod" => {
                let mut go = bounded(tool("go")?);
                go.args(["mod", "download", "-json", "probe.test/mod@v1.0.0"])
                    .env("GOPROXY", format!("https://{host}/go"))
                    .envs([
                        ("GOSUMDB", "off"),
                        ("GOFLAGS", "-modcacherw"),
                        ("GOTOOLCHAIN", "local"),
                    ])
                    .env("SSL_CERT_FILE", &ca);
                go
            }
            "java" => {
                let mut java = bounded(tool("java")?);
                self.compile_java()?;
                let trust = format!(
                    "-Djavax.net.ssl.trustStore={}",
                    self.trust_store()?.display()
                );
                // Basic for tunnels is switched off in the JDK, and its user switches it on.
                java.args(["-Djdk.http.auth.tunneling.disabledSchemes=", &trust])
                    .arg("-Djavax.net.ssl.trustStorePassword=changeit")
                    .arg("-cp")
                    .arg(self.folder.path())
                    .arg("Fetch")
                    .arg(hello);
                java
            }
            "node" => {
                let mut node = bounded(tool("node")?);
                let undici = cached("node_modules/undici/index.js")?;
                node.arg(programs().join("fetch.mjs"))
                    .arg(hello)
                    .env("UNDICI", undici)
                    .env("NODE_EXTRA_CA_CERTS", &ca);
                node
            }
            "requests" | "httpx" | "httplib2" | "urllib" => {
                let mut python = bounded(cached("venv/bin/python")?);
                python
                    .arg(programs().join(format!("fetch_{client}.py")))
                    .arg(hello)
                    .env("REQUESTS_CA_BUNDLE", &ca)
                    .env("SSL_CERT_FILE", &ca);
                python
            }
            "mvn" => mvn(host, &self.trust_store()?, work)?,
            "chromium" => {
                let mut chromium = bounded(tool("chromium")?);
                let data = work.join("data");
                chromium
                    .args([
                        "--headless",
                        "--no-sandbox",
                        "--disable-gpu",
                        "--no-first-run",
                    ])
                    .args([
                        "--disable-background-networking",
                        "--disable-component-update",
                    ])
                    .arg(format!("--user-data-dir={}", data.display()))
                    .arg(format!("--proxy-server={proxy}"))
                    // It has a store of its own, which needs a tool to write to.
                    .arg("--ignore-certificate-errors")
                    .args(["--timeout=20000", "--dump-dom", &hello]);
                chromium
            }
            other => panic!("no client is named {other}"),
        };
        Some(command)
    }

    /// The client in Go, compiled once.
    fn go(&self) -> Option<PathBuf> {
        let program = self.folder.path().join("fetch");
        if !program.exists() {
            let built = Command::new(tool("go")?)
                .arg("build")
                .arg("-o")
                .arg(&program)
                .arg(programs().join("fetch.go"))
                .output()
                .expect("an installed program starts");
            assert!(built.status.success(), "{built:?}");
        }
        Some(program)
    }

    /// The client in Java, compiled once.
    fn compile_java(&self) -> Option<()> {
        if !self.folder.path().join("Fetch.class").exists() {
            let built = Command::new(tool("javac")?)
                .arg("-d")
                .arg(self.folder.path())
                .arg(programs().join("Fetch.java"))
                .output()
                .expect("an installed program starts");
            assert!(built.status.success(), "{built:?}");
        }
        Some(())
    }

    /// The authority as Java wants it.
    fn trust_store(&self) -> Option<PathBuf> {
        let store = self.folder.path().join("trust.p12");
        if !store.exists() {
            let made = Command::new(tool("keytool")?)
                .args([
                    "-importcert",
                    "-noprompt",
                    "-alias",
                    "test",
                    "-storepass",
                    "changeit",
                ])
                .arg("-file")
                .arg(self.ca())
                .arg("-keystore")
                .arg(&store)
                .output()
                .expect("an installed program starts");
            assert!(made.status.success(), "{made:?}");
        }
        Some(store)
    }
}

/// Runs a client to its end.
fn printed(mut command: Command, work: &Path) -> Printed {
    let output = command
        .current_dir(work)
        .env("HOME", work)
        .stdin(Stdio::null())
        .output()
        .expect("timeout is installed");
    let text = [output.stdout, output.stderr].concat();
    Printed {
        success: output.status.success(),
        text: String::from_utf8_lossy(&text).into_owned(),
    }
}

/// Runs a program for a time, in an environment that has nothing of whoever runs the tests: their
/// authorities above all.
fn bounded(program: PathBuf) -> Command {
    let mut command = Command::new("timeout");
    command
        .arg(PATIENCE)
        .arg(program)
        .env_clear()
        .env("LANG", "C.UTF-8");
    for name in ["PATH", "PYENV_ROOT", "TMPDIR"] {
        command.envs(env::var_os(name).map(|value| (name, value)));
    }
    command
}

fn tool(name: &str) -> Option<PathBuf> {
    let found = installed(name);
    if found.is_none() {
        println!("skipped: {name} is not installed");
    }
    found
}

/// What `.ci/run` installs for the tests alone; `PORTCULLIS_CLIENTS` says where.
fn cached(path: &str) -> Option<PathBuf> {
    let found = env::var_os("PORTCULLIS_CLIENTS").map(|folder| PathBuf::from(folder).join(path));
    let found = found.filter(|path| path.exists());
    if found.is_none() {
        println!("skipped: PORTCULLIS_CLIENTS has no {path}");
    }
    found
}
