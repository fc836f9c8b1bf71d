//! Real servers that end and start again on a port that stays theirs.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Writes down the id of each POST before it answers, and lets requests take a while, so
/// that there are some inside whenever it is killed.
const NODE: &str = r"
const fs = require('fs'), http = require('http');
http.createServer((request, response) => {
  request.on('data', () => {});
  request.on('end', () => setTimeout(() => {
    if (request.method === 'POST') fs.appendFileSync('posts', request.headers['x-id'] + '\n');
    response.end('ok');
  }, 10));
}).listen(PORT, '127.0.0.1').keepAliveTimeout = 60000;
";

/// A server on a port of its own.
pub(crate) struct Server {
    program: PathBuf,
    arguments: Vec<String>,
    folder: tempfile::TempDir,
    pub(crate) address: SocketAddr,
    child: Option<Child>,
}

impl Server {
    /// nginx, which answers everything at once.
    pub(crate) fn nginx(program: &Path) -> Self {
        Self::start(program, |place, address| {
            let config = format!(
                "daemon off; master_process off; pid {place}/pid; error_log {place}/error.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {place}/a; proxy_temp_path {place}/b; fastcgi_temp_path {place}/c;
  uwsgi_temp_path {place}/d; scgi_temp_path {place}/e;
  server {{ listen {address} reuseport; location / {{ return 200 ok; }} }}
}}"
            );
            let arguments = ["-p", place, "-c", "nginx.conf"];
            ("nginx.conf", config, arguments.map(str::to_owned).to_vec())
        })
    }

    /// Node, which takes 10 ms and writes the ids of POSTs down.
    pub(crate) fn node(program: &Path) -> Self {
        Self::start(program, |_, address| {
            let script = NODE.replace("PORT", &address.port().to_string());
            ("server.js", script, vec!["server.js".to_owned()])
        })
    }

    fn start(
        program: &Path,
        set_up: impl FnOnce(&str, SocketAddr) -> (&'static str, String, Vec<String>),
    ) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("an address");
        drop(free);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let place = folder.path().to_str().expect("a plain path");
        let (name, text, arguments) = set_up(place, address);
        std::fs::write(folder.path().join(name), text).expect("writable");
        let mut server = Self {
            program: program.to_owned(),
            arguments,
            folder,
            address,
            child: None,
        };
        server.run();
        server
    }

    pub(crate) fn run(&mut self) {
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .spawn()
            .expect("an installed program starts");
        self.child = Some(child);
        let deadline = Instant::now() + Duration::from_secs(10);
        while std::net::TcpStream::connect(self.address).is_err() {
            assert!(Instant::now() < deadline, "the server does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it with this signal, and waits until it is gone.
    pub(crate) fn end(&mut self, signal: &str) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        let sent = Command::new("kill")
            .arg(format!("-{signal}"))
            .arg(child.id().to_string())
            .status();
        assert!(sent.is_ok_and(|status| status.success()));
        let _ = child.wait();
    }

    /// Ids of the POSTs that it had, in all its lives.
    pub(crate) fn posts(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder.path().join("posts"));
        text.unwrap_or_default()
            .lines()
            .map(str::to_owned)
            .collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end("KILL");
    }
}
