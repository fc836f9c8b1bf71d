//! A Kubernetes cluster of real parts, in network namespaces of its own: see `tests/cluster`.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, OnceLock},
    time::{Duration, Instant},
};

use nix::sched::{CloneFlags, setns};
use serde_json::{Value, json};

use crate::binary::portcullis;

/// Time for everything that a cluster does by itself.
const PATIENCE: Duration = Duration::from_secs(90);

/// A cluster. It ends with the process of the tests, which holds its standard input.
#[derive(Debug)]
pub struct Cluster {
    ready: Value,
    control: Mutex<UnixStream>,
    pub(crate) logs: PathBuf,
    _child: Child,
}

/// The cluster that the tests of one program share, each in namespaces of its own; `None` where
/// there can be none, and the reason is printed.
pub fn cluster() -> Option<&'static Cluster> {
    static CLUSTER: OnceLock<Option<Cluster>> = OnceLock::new();
    CLUSTER
        .get_or_init(|| match missing() {
            Some(reason) => {
                println!("skipped: no cluster for tests, {reason}");
                None
            }
            None => Some(Cluster::start()),
        })
        .as_ref()
}

/// What a cluster needs, and is not here.
fn missing() -> Option<String> {
    if std::env::var_os("PORTCULLIS_CLUSTER").is_none() {
        let reason =
            "since PORTCULLIS_CLUSTER is not set: its parts are built for ten minutes once";
        return Some(reason.to_owned());
    }
    if !nix::unistd::geteuid().is_root() {
        return Some("which needs root".to_owned());
    }
    let programs = ["go", "ip", "nft", "flock"];
    let found = |program: &str| {
        let path = std::env::var("PATH").unwrap_or_default();
        let more = "/usr/sbin:/sbin:/usr/local/go/bin";
        [path.as_str(), more]
            .join(":")
            .split(':')
            .any(|folder| Path::new(folder).join(program).exists())
    };
    let program = programs.into_iter().find(|program| !found(program))?;
    Some(format!("{program} is not installed"))
}

impl Cluster {
    fn start() -> Self {
        let logs = std::env::temp_dir().join(format!("portcullis-cluster-{}", std::process::id()));
        let images = logs.join("images.yaml");
        fs::create_dir_all(&logs).expect("writable");
        let table = json!({
            "portcullis": { "command": [portcullis()] },
            "shell": { "command": ["/bin/sh", "-c"] },
        });
        fs::write(&images, table.to_string()).expect("writable");
        let mut child = Command::new(source().join("cluster"))
            .args(["run", "--images"])
            .arg(&images)
            .arg("--logs")
            .arg(&logs)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the cluster starts");
        let mut line = String::new();
        let output = child.stdout.take().expect("a pipe");
        BufReader::new(output)
            .read_line(&mut line)
            .expect("the cluster says something");
        let ready: Value = serde_json::from_str(&line)
            .unwrap_or_else(|_| panic!("the cluster did not start; logs in {}", logs.display()));
        println!("cluster ready in {} ms", ready["ready_ms"]);
        let control = ready["control"].as_str().expect("a socket");
        let control = UnixStream::connect(control).expect("the socket is there");
        Self {
            ready,
            control: Mutex::new(control),
            logs,
            _child: child,
        }
    }

    /// The path of a network namespace: `node-a`, `node-b`, `core`, `outside`.
    ///
    /// # Panics
    /// When there is none of that name.
    pub fn namespace(&self, name: &str) -> &str {
        self.ready["namespaces"][name]
            .as_str()
            .expect("a namespace")
    }

    /// The kubeconfig of the administrator for processes in these namespaces.
    pub fn kubeconfig_inside(&self) -> &str {
        self.ready["kubeconfig_inside"].as_str().expect("a file")
    }

    /// Asks the cluster for something, such as `{"do": "restart", "name": "apiserver"}`.
    ///
    /// # Panics
    /// When it cannot do that.
    pub fn ask(&self, request: &Value) {
        let control = self.control.lock().expect("no test panicked with it");
        let mut writer = &*control;
        writeln!(writer, "{request}").expect("the cluster listens");
        let mut line = String::new();
        BufReader::new(&*control)
            .read_line(&mut line)
            .expect("the cluster answers");
        let answer: Value = serde_json::from_str(&line).expect("an answer");
        assert_eq!(answer["ok"], true, "{request}: {answer}");
    }

    /// A kubectl that is yet to be told what to do, for processes in the cluster's namespaces.
    pub fn kubectl_inside(&self) -> Command {
        let mut command = Command::new(self.kubectl_path());
        command
            .env("KUBECONFIG", self.kubeconfig_inside())
            // Another cluster at the same address has kinds of its own.
            .env("KUBECACHEDIR", self.logs.join("kubectl"));
        command
    }

    fn kubectl_path(&self) -> PathBuf {
        let binaries = self.ready["binaries"].as_str().expect("a folder");
        Path::new(binaries).join("kubectl")
    }

    /// Runs kubectl, and returns what it says; `None` where it fails.
    pub fn try_kubectl(&self, arguments: &[&str], input: &str) -> Result<String, String> {
        let mut child = Command::new(self.kubectl_path())
            .args(arguments)
            .env(
                "KUBECONFIG",
                self.ready["kubeconfig"].as_str().expect("a file"),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        // One that reads nothing ends sooner.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let output = child.wait_with_output().expect("kubectl ends");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        match output.status.success() {
            true => Ok(text(output.stdout)),
            false => Err(text(output.stderr)),
        }
    }

    /// Runs kubectl, and returns what it says.
    ///
    /// # Panics
    /// When it fails.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        self.try_kubectl(arguments, "")
            .unwrap_or_else(|error| panic!("kubectl {arguments:?}: {error}"))
    }

    /// Creates or changes objects.
    ///
    /// # Panics
    /// When the API server refuses one.
    pub fn apply(&self, manifests: &str) {
        self.try_kubectl(
            &["apply", "--server-side", "--force-conflicts", "-f", "-"],
            manifests,
        )
        .unwrap_or_else(|error| panic!("{error}\n{manifests}"));
    }

    /// One field of an object, as a jsonpath; empty where it is not there.
    pub fn field(&self, object: &[&str], path: &str) -> String {
        let path = format!("-o=jsonpath={path}");
        let arguments: Vec<&str> = [&["get"], object, &[path.as_str()]].concat();
        self.try_kubectl(&arguments, "").unwrap_or_default()
    }

    /// Waits for a Deployment to be as it should.
    ///
    /// # Panics
    /// When it is not in time; the logs of its namespace are printed.
    pub fn rolled_out(&self, namespace: &str, deployment: &str) {
        let deployment = format!("deployment/{deployment}");
        let arguments = [
            "rollout",
            "status",
            "-n",
            namespace,
            &deployment,
            "--timeout=120s",
        ];
        if let Err(error) = self.try_kubectl(&arguments, "") {
            let pods = self.kubectl(&["get", "pods", "-n", namespace, "-o", "wide"]);
            panic!("{error}\n{pods}\n{}", self.logs_of(namespace));
        }
    }

    /// Waits for something that happens by itself.
    ///
    /// # Panics
    /// When it does not happen in time.
    pub fn wait(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds() {
            assert!(Instant::now() < deadline, "{what}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The path of the network namespace of a pod, by its UID.
    fn namespace_of_pod(&self, uid: &str) -> PathBuf {
        let folder = self.ready["named_namespaces"].as_str().expect("a folder");
        let end = format!(".{}", uid.get(..8).expect("a UID"));
        let names = fs::read_dir(folder).expect("it is there");
        let mut paths = names.map(|entry| entry.expect("readable").path());
        let found = paths.find(|path| path.to_string_lossy().ends_with(&end));
        found.unwrap_or_else(|| panic!("no pod has the UID {uid}"))
    }

    /// Does something in a network namespace of the cluster: `node-a`, `node-b`, `core`,
    /// `outside`, which is a client that is neither node nor pod, or that of a pod by its UID.
    ///
    /// # Panics
    /// When there is no such namespace, or what is done panics.
    pub fn within<T, F, W>(&self, namespace: &str, work: W) -> T
    where
        T: Send + 'static,
        F: Future<Output = T>,
        W: FnOnce() -> F + Send + 'static,
    {
        let of_node = self.ready["namespaces"][namespace].as_str();
        let path = match of_node {
            Some(path) => PathBuf::from(path),
            None => self.namespace_of_pod(namespace),
        };
        let file = fs::File::open(path).expect("it is there");
        // A thread has its namespace for itself, and this one ends with the work.
        let thread = std::thread::spawn(move || {
            setns(file, CloneFlags::CLONE_NEWNET).expect("root may");
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(work())
        });
        match thread.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster")
}
