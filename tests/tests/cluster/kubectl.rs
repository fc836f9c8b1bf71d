//! Long sessions of kubectl with a real API server and through the egress proxy, and what a reload
//! does to them.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    edge::edge,
    egress_bed::{Bed, pod},
};

/// The namespace of the proxy and of its clients.
const SYSTEM: &str = "egress-kubectl";

/// Where the API server is, as processes in the cluster know it.
const API_SERVER: &str = "10.90.0.1";

/// The port in the pod of the client that is forwarded.
const FORWARDED: u16 = 18080;

/// What `builder` may reach, and everybody the destination where `more` says so.
fn settings(api_server: bool, destination: &str, more: bool) -> Value {
    let kube = json!({"cidr": format!("{API_SERVER}/32"), "ports": [6443], "private": true});
    let unrelated = json!({"host": "unrelated.test"});
    let everybody = json!({"cidr": destination, "ports": [8080], "private": true, "raw": true});
    let allow = |entries: &[(bool, &Value)]| -> Vec<Value> {
        let kept = entries.iter().filter(|(is_there, _)| *is_there);
        kept.map(|(_, entry)| (*entry).clone()).collect()
    };
    json!({
        "identity": {"level": "address", "pods": {}},
        "policies": [
            {
                "name": "kubectl", "subjects": [{"namespace": SYSTEM, "serviceAccount": "builder"}],
                "allow": allow(&[(api_server, &kube), (more, &unrelated)]),
            },
            {
                "name": "witness", "subjects": [{"namespace": SYSTEM, "serviceAccount": "default"}],
                "allow": allow(&[(more, &everybody)]),
            },
        ],
    })
}

/// kubectl in the network namespace of a pod, with the proxy in its environment.
struct Kubectl {
    what: &'static str,
    child: Child,
    input: ChildStdin,
    said: Arc<Mutex<Vec<String>>>,
}

impl Kubectl {
    fn start(bed: &Bed, from: &str, what: &'static str, arguments: &[&str]) -> Self {
        let mut command = bed.cluster.kubectl_inside();
        command.args(["-n", SYSTEM]).args(arguments);
        Self::run(bed, from, what, command)
    }

    /// The same at a terminal, which `script` makes for it.
    fn at_terminal(bed: &Bed, from: &str, what: &'static str, arguments: &[&str]) -> Self {
        let kubectl = bed.cluster.kubectl_inside();
        let program = kubectl.get_program().to_string_lossy();
        let line = [&[&*program, "-n", SYSTEM], arguments].concat().join(" ");
        let mut command = Command::new("script");
        command
            .args(["--quiet", "--return", "--command", &line, "/dev/null"])
            .envs(
                kubectl
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            );
        Self::run(bed, from, what, command)
    }

    fn run(bed: &Bed, from: &str, what: &'static str, mut command: Command) -> Self {
        command
            .env("HTTPS_PROXY", format!("http://{}:3128", bed.proxy))
            .env_remove("NO_PROXY")
            .env_remove("no_proxy")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // A process is where the thread is that starts it.
        let started = bed
            .cluster
            .within(from, move || async move { command.spawn() });
        let mut child = started.expect("kubectl starts");
        let said = Arc::default();
        hear(child.stdout.take().expect("it is piped"), &said);
        hear(child.stderr.take().expect("it is piped"), &said);
        let input = child.stdin.take().expect("it is piped");
        Self {
            what,
            child,
            input,
            said,
        }
    }

    fn tell(&mut self, line: &str) {
        let told = writeln!(self.input, "{line}");
        told.unwrap_or_else(|error| panic!("{}: {error}: {:?}", self.what, self.said()));
    }

    /// What it has said so far, as lines.
    fn said(&self) -> Vec<String> {
        let said = self.said.lock();
        said.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn has_ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|ended| ended.is_some())
    }
}

impl Drop for Kubectl {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn hear(output: impl Read + Send + 'static, said: &Arc<Mutex<Vec<String>>>) {
    let said = Arc::clone(said);
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            said.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(line);
        }
    });
}

/// The sessions of the case.
struct Sessions<'a> {
    bed: &'a Bed,
    from: String,
    logs: Kubectl,
    exec: Kubectl,
    terminal: Kubectl,
    forward: Kubectl,
}

impl<'a> Sessions<'a> {
    fn start(bed: &'a Bed, from: &str) -> Self {
        let start = |what, arguments: &[&str]| Kubectl::start(bed, from, what, arguments);
        let port = format!("{FORWARDED}:8080");
        Self {
            bed,
            from: from.to_owned(),
            logs: start("logs", &["logs", "--follow", "talks"]),
            exec: start("exec", &["exec", "--stdin", "talks", "--", "cat"]),
            terminal: Kubectl::at_terminal(
                bed,
                from,
                "exec with a terminal",
                &["exec", "--stdin", "--tty", "talks", "--", "cat"],
            ),
            forward: start("port-forward", &["port-forward", "pod/destination", &port]),
        }
    }

    fn all(&mut self) -> [&mut Kubectl; 4] {
        [
            &mut self.logs,
            &mut self.exec,
            &mut self.terminal,
            &mut self.forward,
        ]
    }

    /// All of them still carry something, both ways.
    fn go_on(&mut self, round: &str) {
        let cluster = self.bed.cluster;
        for session in [&mut self.exec, &mut self.terminal] {
            session.tell(round);
            cluster.wait(&format!("{} echoes {round}", session.what), || {
                session.said().iter().any(|line| line.trim_end() == round)
            });
        }
        let before = self.logs.said().len();
        cluster.wait("the log goes on", || self.logs.said().len() > before + 3);
        cluster.wait("a forwarded request is answered", || self.forwarded());
        let ended = self
            .all()
            .into_iter()
            .find_map(|session| session.has_ended().then(|| session.said()));
        assert_eq!(ended, None);
    }

    /// Whether the port that is forwarded reaches its pod.
    fn forwarded(&self) -> bool {
        let url = format!("http://127.0.0.1:{FORWARDED}/");
        self.bed.cluster.within(&self.from, move || async move {
            let client = reqwest::Client::builder()
                .timeout(Duration::from_secs(5))
                .no_proxy()
                .build()
                .expect("a client");
            let sent = client.get(url).send().await;
            sent.is_ok_and(|response| response.status() == 200)
        })
    }
}

#[test]
fn egr_26_kubectl_outlives_reloads_that_allow_it_and_is_cut_with_a_reason_by_one_that_does_not() {
    let Some(edge) = edge() else { return };
    let cluster = edge.cluster;
    let mut bed = Bed::install(cluster, SYSTEM, &["--update-status=false"]);
    bed.configure(&settings(true, &bed.destination, false), &json!({}));
    bed.ready();
    let bed = bed;
    bed.pod("builder", "builder", "app: client");
    bed.pod("witness", "default", "app: client");
    let talks = json!({ "containers": [{
        "name": "main", "image": "shell", "args": ["while :; do echo line; sleep 0.1; done"],
    }] });
    cluster.apply(&pod(SYSTEM, "talks", &json!({}), &talks).to_string());
    let [builder, witness] = ["builder", "witness"].map(|pod| bed.uid(pod));
    for name in ["talks", "destination"] {
        let pod = ["pod", name, "-n", SYSTEM];
        cluster.wait(&format!("{name} runs"), || {
            cluster.field(&pod, "{.status.phase}") == "Running"
        });
    }
    bed.wait(&builder, "", "403 ip_literal");
    bed.wait(&witness, "", "403 ip_literal");

    let mut sessions = Sessions::start(&bed, &builder);
    sessions.go_on("begun");
    bed.configure(&settings(true, &bed.destination, true), &json!({}));
    bed.wait(&witness, "", "200 -");
    // What is open is judged again within a second.
    std::thread::sleep(Duration::from_millis(1500));
    sessions.go_on("reloaded");

    bed.configure(&settings(false, &bed.destination, true), &json!({}));
    for session in sessions.all() {
        let what = session.what;
        cluster.wait(&format!("the end of {what}"), || session.has_ended());
    }
    // Each has a line that says why.
    let is_cut = |record: &Value| {
        record["identity"]["podUid"] == *builder
            && record["host"] == API_SERVER
            && record["ended"] == "policy_changed"
    };
    cluster.wait("the records", || {
        let records = cluster.records_in(SYSTEM).into_iter();
        records.filter(is_cut).count() >= 4
    });
    let mut again = Kubectl::start(&bed, &builder, "again", &["get", "pods"]);
    cluster.wait("the end of another", || again.has_ended());
    cluster.wait("it says why", || {
        let said = again.said().join("\n");
        said.contains("Forbidden egress/ip_literal")
    });
}
