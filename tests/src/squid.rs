//! Squid, as a proxy before the destinations of others.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::installed;

/// How often it gets another port, where another process was faster.
const ATTEMPTS: usize = 5;
const PATIENCE: Duration = Duration::from_secs(30);

const CONFIG: &str = "
http_port ADDRESS
pid_filename none
cache deny all
cache_mem 8 MB
access_log stdio:FOLDER/access.log
cache_log FOLDER/cache.log
coredump_dir none
hosts_file FOLDER/hosts
netdb_filename none
shutdown_lifetime 0 seconds
auth_param basic program /usr/lib/squid/basic_ncsa_auth FOLDER/users
auth_param basic children 1
acl known proxy_auth REQUIRED
acl forbidden dstdomain forbidden.example
http_access deny forbidden
http_access allow known
http_access deny all
";

/// A Squid that knows one user, and the names of `example` as this machine.
pub struct Squid {
    /// Where it listens.
    pub address: SocketAddr,
    folder: TempDir,
    child: Child,
}

impl Squid {
    /// Starts it for a user and a password; `None`, which is printed, where it is not installed.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start(user: &str, password: &str) -> Option<Self> {
        let Some(program) = installed("squid") else {
            eprintln!("Squid is not installed: what it is needed for is not tested");
            return None;
        };
        let mut problem = String::new();
        for _ in 0..ATTEMPTS {
            let folder = tempfile::tempdir().expect("a temporary folder");
            // It gives up being root, and writes here as its own user.
            let open = fs::Permissions::from_mode(0o777);
            fs::set_permissions(folder.path(), open).expect("it is ours");
            let address = TcpListener::bind("127.0.0.1:0")
                .and_then(|listener| listener.local_addr())
                .expect("a free port");
            let hashed = Command::new("openssl")
                .args(["passwd", "-apr1", password])
                .output()
                .expect("openssl runs");
            let hash = String::from_utf8_lossy(&hashed.stdout).into_owned();
            let path = folder.path().to_str().expect("a plain path");
            let config = CONFIG
                .replace("FOLDER", path)
                .replace("ADDRESS", &address.to_string());
            for (name, text) in [
                ("squid.conf", config),
                ("users", format!("{user}:{hash}")),
                (
                    "hosts",
                    "127.0.0.1 api.example raw.example forbidden.example\n".into(),
                ),
            ] {
                fs::write(folder.path().join(name), text).expect("the folder is writable");
            }
            let child = Command::new(&program)
                .args(["-N", "-f", "squid.conf"])
                .current_dir(folder.path())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("an installed program starts");
            let mut squid = Self {
                address,
                folder,
                child,
            };
            if squid.comes_up() {
                return Some(squid);
            }
            problem = squid.read("cache.log");
        }
        panic!("Squid did not start:\n{problem}");
    }

    fn comes_up(&mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if TcpStream::connect(self.address).is_ok() {
                return true;
            }
            if self.child.try_wait().is_ok_and(|ended| ended.is_some()) {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }

    /// What it was asked for, a line for each request.
    pub fn access_log(&self) -> Vec<String> {
        let log = self.read("access.log");
        // A connection without a request is one of those that looked whether it is up.
        let asked = log.lines().filter(|line| !line.contains("error:"));
        asked.map(str::to_owned).collect()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }
}

impl Drop for Squid {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
