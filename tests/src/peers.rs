//! Real servers as backends: nginx, Node and Python, each with a parser of its own.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

/// Longest wait for a server to come up.
const PATIENCE: Duration = Duration::from_secs(15);

/// How often nginx gets another port, where another process was faster.
const ATTEMPTS: usize = 5;

/// The outer server takes a body whole before it asks the inner one, as it would
/// in front of an application; what the inner one counted comes back as a field.
const NGINX: &str = r#"
daemon off;
master_process off;
worker_processes 1;
pid FOLDER/nginx.pid;
error_log FOLDER/error.log info;
events { worker_connections 512; }
http {
    client_max_body_size 8m;
    client_body_temp_path FOLDER/body;
    proxy_temp_path FOLDER/proxy;
    fastcgi_temp_path FOLDER/fastcgi;
    uwsgi_temp_path FOLDER/uwsgi;
    scgi_temp_path FOLDER/scgi;
    log_format seen escape=json '{"method":"$request_method","url":"$request_uri","line":"$request",'
        '"id":"$http_x_id","bodyLength":"$upstream_http_x_body_length","status":"$status"}';
    server {
        listen ADDRESS;
        access_log FOLDER/seen seen;
        location / { proxy_pass http://unix:FOLDER/inner; }
    }
    server {
        listen unix:FOLDER/inner;
        access_log off;
        add_header X-Body-Length $content_length;
        location / { return 200 "$request_uri $http_x_id\n"; }
    }
}
"#;

/// A request counts as whole at the end of its body; one that breaks off, or that
/// the parser refuses, is written down too.
const NODE: &str = r#"
const fs = require('fs'), http = require('http');
const record = (line) => fs.appendFileSync('seen', JSON.stringify(line) + '\n');
const server = http.createServer((request, response) => {
  let bodyLength = 0, told = false;
  const tell = (whole) => {
    if (told) return;
    told = true;
    const { method, url, rawHeaders } = request;
    record({ method, url, bodyLength, rawHeaders, id: request.headers['x-id'] || '', whole });
  };
  request.on('data', (chunk) => { bodyLength += chunk.length; });
  request.on('error', () => tell(false));
  request.on('close', () => tell(false));
  request.on('end', () => {
    tell(true);
    const text = `${request.url} ${request.headers['x-id'] || ''}\n`;
    response.writeHead(200, { 'Content-Length': Buffer.byteLength(text) });
    response.end(text);
  });
});
server.on('clientError', (error, socket) => {
  if (error.rawPacket) record({ malformed: error.rawPacket.toString('latin1') });
  if (socket.writable) {
    socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
  }
});
// A connection that a gateway keeps must not close under it while a test runs.
server.keepAliveTimeout = 60000;
server.listen(0, '127.0.0.1', () => {
  fs.writeFileSync('port.part', String(server.address().port));
  fs.renameSync('port.part', 'port');
});
"#;

/// `http.server` leaves bodies to its user: this one reads both framings.
const PYTHON: &str = r#"
import http.server, json, os, threading

lock = threading.Lock()

def record(line):
    with lock, open('seen', 'a') as file:
        file.write(json.dumps(line) + '\n')

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def log_message(self, *_):
        pass

    def __getattr__(self, name):
        if name.startswith('do_'):
            return self.answer
        raise AttributeError(name)

    def send_error(self, code, *rest):
        record({'malformed': str(self.raw_requestline, 'latin-1')})
        super().send_error(code, *rest)

    def take(self, length):
        data = self.rfile.read(length)
        if len(data) < length:
            raise EOFError
        self.length += length

    def body(self):
        if 'chunked' in self.headers.get('Transfer-Encoding', '').lower():
            while True:
                size = int(self.rfile.readline().split(b';')[0], 16)
                if size == 0:
                    break
                self.take(size)
                if self.rfile.readline() != b'\r\n':
                    raise ValueError
            while self.rfile.readline() not in (b'\r\n', b''):
                pass
        else:
            self.take(int(self.headers.get('Content-Length', '0')))

    def answer(self):
        self.length, whole = 0, True
        try:
            self.body()
        except (EOFError, ValueError, OSError):
            whole, self.close_connection = False, True
        headers = [text for pair in self.headers.items() for text in pair]
        name = self.headers.get('X-Id', '')
        url = self.path.encode('latin-1').decode('utf-8', 'replace')
        record({'method': self.command, 'url': url, 'bodyLength': self.length,
                'rawHeaders': headers, 'id': name, 'whole': whole})
        if not whole:
            return
        text = f'{self.path} {name}\n'.encode('latin-1')
        self.send_response(200)
        self.send_header('Content-Length', str(len(text)))
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(text)

server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
with open('port.part', 'w') as file:
    file.write(str(server.server_address[1]))
os.rename('port.part', 'port')
server.serve_forever()
"#;

/// What a [`Peer`] saw of a request.
#[derive(Clone, Debug, Default)]
pub struct PeerSeen {
    /// Method; empty where the head could not be read.
    pub method: String,
    /// Target as it arrived; for a head that could not be read, what was read of it.
    pub target: String,
    /// Value of the field `X-Id`.
    pub id: String,
    /// Bytes of body.
    pub body_length: usize,
    /// Whether the request came to its end.
    pub whole: bool,
    /// The fields, their names in lower case, where the server tells them.
    pub fields: Option<Vec<(String, String)>>,
}

/// A real server as a backend. It answers each request with its target, and is
/// killed when dropped.
pub struct Peer {
    /// What it is.
    pub name: &'static str,
    /// Where it listens.
    pub address: SocketAddr,
    folder: TempDir,
    child: Child,
}

impl Peer {
    /// Starts those that are installed, and prints which are not.
    pub fn start_all() -> Vec<Self> {
        [
            ("nginx", Self::nginx as fn(&Path) -> Self),
            ("node", |program| {
                Self::script("node", program, "server.js", NODE)
            }),
            ("python3", |program| {
                Self::script("python3", program, "server.py", PYTHON)
            }),
        ]
        .into_iter()
        .filter_map(|(name, start)| {
            let program = installed(name);
            if program.is_none() {
                println!("skipped: {name} is not installed");
            }
            program.map(|program| start(&program))
        })
        .collect()
    }

    /// What it saw so far.
    pub fn seen(&self) -> Vec<PeerSeen> {
        let bytes = fs::read(self.folder.path().join("seen")).unwrap_or_default();
        String::from_utf8_lossy(&bytes)
            .lines()
            .map(|line| match serde_json::from_str(line) {
                Ok(line) => read_line(&line),
                // Nothing that a server saw may go unnoticed.
                Err(_) => PeerSeen {
                    target: line.to_owned(),
                    ..PeerSeen::default()
                },
            })
            .collect()
    }

    /// nginx cannot say which port it was given, so that one is chosen for it.
    fn nginx(program: &Path) -> Self {
        let mut problem = String::new();
        for _ in 0..ATTEMPTS {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let address = TcpListener::bind("127.0.0.1:0")
                .and_then(|listener| listener.local_addr())
                .expect("a free port");
            let path = folder.path().to_str().expect("a plain path");
            let config = NGINX
                .replace("FOLDER", path)
                .replace("ADDRESS", &address.to_string());
            fs::write(folder.path().join("nginx.conf"), config).expect("the folder is writable");
            let mut command = Command::new(program);
            command.args(["-p", path, "-c", "nginx.conf"]);
            let mut peer = Self::spawn("nginx", command, folder);
            peer.address = address;
            if peer.comes_up(|_| TcpStream::connect(address).is_ok()) {
                return peer;
            }
            problem = peer.log();
        }
        panic!("nginx did not start:\n{problem}");
    }

    fn script(name: &'static str, program: &Path, file: &str, text: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join(file), text).expect("the folder is writable");
        let mut command = Command::new(program);
        command.arg(file);
        let mut peer = Self::spawn(name, command, folder);
        let port = |folder: &Path| fs::read_to_string(folder.join("port")).ok();
        assert!(
            peer.comes_up(|folder| port(folder).is_some()),
            "{name} did not start:\n{}",
            peer.log()
        );
        let port = port(peer.folder.path()).and_then(|port| port.parse().ok());
        peer.address.set_port(port.expect("a port"));
        peer
    }

    fn spawn(name: &'static str, mut command: Command, folder: TempDir) -> Self {
        let log = fs::File::create(folder.path().join("log")).expect("the folder is writable");
        let child = command
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("an installed program starts");
        Self {
            name,
            address: ([127, 0, 0, 1], 0).into(),
            folder,
            child,
        }
    }

    /// Waits until it serves; `false` where it ends, or takes too long.
    fn comes_up(&mut self, serves: impl Fn(&Path) -> bool) -> bool {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ended = self.child.try_wait().expect("a child can be asked");
            if ended.is_some() || Instant::now() > deadline {
                return false;
            }
            if serves(self.folder.path()) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What it wrote of its own troubles.
    fn log(&self) -> String {
        ["log", "error.log"]
            .map(|file| fs::read_to_string(self.folder.path().join(file)).unwrap_or_default())
            .concat()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_line(line: &Value) -> PeerSeen {
    let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
    if line["malformed"].is_string() {
        return PeerSeen {
            target: text("malformed"),
            ..PeerSeen::default()
        };
    }
    let fields = line["rawHeaders"].as_array().map(|fields| {
        fields
            .chunks(2)
            .filter_map(|field| match field {
                [name, value] => Some((
                    name.as_str()?.to_ascii_lowercase(),
                    value.as_str()?.to_owned(),
                )),
                _ => None,
            })
            .collect()
    });
    // nginx has no target where it could not read the head.
    let target = match text("url") {
        target if target.is_empty() => text("line"),
        target => target,
    };
    let number = line["bodyLength"].as_u64();
    let number = number.or_else(|| text("bodyLength").parse().ok());
    PeerSeen {
        method: text("method"),
        target,
        id: text("id"),
        body_length: number
            .and_then(|length| usize::try_from(length).ok())
            .unwrap_or(0),
        whole: line["whole"] == true || line["status"] == "200",
        fields,
    }
}

/// Finds a program; servers often are where only root looks.
pub fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}
