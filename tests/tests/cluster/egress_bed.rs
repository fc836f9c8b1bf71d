//! An egress proxy among pods, and what they get when they ask it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use portcullis_tests::Cluster;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::own::rights;

/// The proxy in a namespace, with a ServiceAccount `builder` beside it for its clients.
fn objects(system: &str, arguments: &[&str]) -> String {
    let more = arguments.join(", ");
    format!(
        "
apiVersion: v1
kind: Namespace
metadata: {{name: {system}}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {{name: builder, namespace: {system}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: proxy, namespace: {system}}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: proxy}}}}
  template:
    metadata: {{labels: {{app: proxy}}}}
    spec:
      serviceAccountName: {system}-proxy
      containers:
      - name: portcullis
        image: portcullis
        readinessProbe: {{httpGet: {{path: /readyz, port: 9090}}, periodSeconds: 1}}
        args: [run, --threads=1, --kubernetes, --configmap={system}/portcullis-config, {more}]
"
    )
}

/// Where pods are, and the proxy that they ask.
#[derive(Clone)]
pub(crate) struct Bed {
    pub(crate) cluster: &'static Cluster,
    system: &'static str,
    proxy: String,
    pub(crate) destination: String,
}

impl Bed {
    /// Has the objects of a proxy made, the rights for its arguments, and a pod `destination`
    /// that serves on port 8080.
    pub(crate) fn install(
        cluster: &'static Cluster,
        system: &'static str,
        arguments: &[&str],
    ) -> Self {
        cluster.apply(&objects(system, arguments));
        let mut bed = Self {
            cluster,
            system,
            proxy: String::new(),
            destination: String::new(),
        };
        bed.pod("destination", "default", "app: destination");
        bed.give_rights(arguments);
        bed.destination = bed.address("destination");
        bed
    }

    /// Gives the proxy the rights for its arguments, and for those that `rbac` has besides.
    pub(crate) fn give_rights(&self, arguments: &[&str]) {
        let (namespace, account) = (
            format!("--system-namespace={}", self.system),
            format!("--service-account={}-proxy", self.system),
        );
        let of_run = arguments.iter().copied().filter(|argument| {
            argument.starts_with("--egress") || argument.starts_with("--update-status")
        });
        let mut wanted = vec![namespace.as_str(), account.as_str(), "--egress-pods"];
        wanted.extend(of_run);
        self.cluster.apply(&rights(&wanted));
    }

    /// Waits for the proxy to be ready.
    pub(crate) fn ready(&mut self) {
        self.cluster.rolled_out(self.system, "proxy");
        self.find_proxy();
    }

    /// Finds the proxy, which may not be ready yet.
    pub(crate) fn find_proxy(&mut self) {
        let selector = ["pods", "-n", self.system, "-l", "app=proxy"];
        self.cluster.wait("the proxy has an address", || {
            self.proxy = self.cluster.field(&selector, "{.items[0].status.podIP}");
            self.proxy.contains('.')
        });
    }

    /// What the proxy says of itself under a path of its management endpoint.
    pub(crate) fn says(&self, path: &str) -> String {
        let url = format!("http://{}:9090{path}", self.proxy);
        self.cluster.within("node-a", move || async move {
            let client = reqwest::Client::builder().no_proxy().build();
            let sent = client.expect("a client").get(url).send().await;
            match sent {
                Ok(response) => response.text().await.unwrap_or_default(),
                Err(_) => String::new(),
            }
        })
    }

    /// Makes a pod that stays.
    pub(crate) fn pod(&self, name: &str, account: &str, labels: &str) {
        let system = self.system;
        self.cluster.apply(&format!(
            "apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {system}, labels: {{{labels}}}}}
spec:
  serviceAccountName: {account}
  # The scheduler gives up what it thinks of a pod whose name is another's after an outage.
  nodeName: node-a
  terminationGracePeriodSeconds: 1
  containers: [{{name: backend, image: backend}}]
"
        ));
    }

    /// The address of a pod, once it has one.
    pub(crate) fn address(&self, pod: &str) -> String {
        self.cluster.wait(&format!("{pod} has an address"), || {
            self.field(pod, "{.status.podIP}").contains('.')
        });
        self.field(pod, "{.status.podIP}")
    }

    /// The UID of a pod that has an address, by which its network namespace is known.
    pub(crate) fn uid(&self, pod: &str) -> String {
        self.address(pod);
        self.field(pod, "{.metadata.uid}")
    }

    fn field(&self, pod: &str, path: &str) -> String {
        self.cluster.field(&["pod", pod, "-n", self.system], path)
    }

    /// Has the proxy configured: `egress` beside its listener, and more files of its ConfigMap.
    pub(crate) fn configure(&self, egress: &Value, files: &Value) {
        let mut section = json!({ "listeners": [{ "name": "proxy" }] });
        let fields = section.as_object_mut().expect("a map");
        fields.extend(egress.as_object().cloned().expect("a map"));
        let document = format!("egress: {section}\nmanagement: {{address: '[::]:9090'}}\n");
        let mut data = json!({ "egress.yaml": document });
        let keys = data.as_object_mut().expect("a map");
        keys.extend(files.as_object().cloned().unwrap_or_default());
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": "portcullis-config", "namespace": self.system },
            "data": data,
        });
        self.cluster.apply(&map.to_string());
    }

    /// Asks for the destination from a network namespace; a pod is named by its UID. The status
    /// and the reason.
    pub(crate) fn ask(&self, from: &str, token: &str) -> String {
        let asked = self.asking(token);
        self.cluster
            .within(from, move || async move { asked.await.0 })
    }

    /// The same, with the tunnel that is open then.
    fn asking(
        &self,
        token: &str,
    ) -> impl Future<Output = (String, Option<TcpStream>)> + Send + 'static {
        let (proxy, destination) = (self.proxy.clone(), self.destination.clone());
        let credentials = match token {
            "" => String::new(),
            token => format!("Proxy-Authorization: Bearer {token}\r\n"),
        };
        async move {
            let asked = async {
                let mut stream = TcpStream::connect(format!("{proxy}:3128")).await.ok()?;
                let head = format!("CONNECT {destination}:8080 HTTP/1.1\r\n{credentials}\r\n");
                stream.write_all(head.as_bytes()).await.ok()?;
                let mut answer = vec![0; 4096];
                let length = stream.read(&mut answer).await.ok()?;
                let answer = String::from_utf8_lossy(answer.get(..length)?).into_owned();
                let status = answer.split(' ').nth(1)?.to_owned();
                let reason = answer
                    .lines()
                    .find_map(|line| line.strip_prefix("x-portcullis-reason: egress/"));
                Some((format!("{status} {}", reason.unwrap_or("-")), Some(stream)))
            };
            let asked = tokio::time::timeout(Duration::from_secs(5), asked).await;
            asked.ok().flatten().unwrap_or_default()
        }
    }

    /// Waits until somebody gets what is expected.
    pub(crate) fn wait(&self, from: &str, token: &str, expected: &str) {
        let mut last = String::new();
        self.cluster.wait(&format!("{from} gets {expected}"), || {
            let now = self.ask(from, token);
            if now != last {
                eprintln!("{from}: {now}");
            }
            last = now;
            last == expected
        });
    }

    /// Asks again and again from a pod, and holds a tunnel open meanwhile.
    pub(crate) fn keep_asking(&self, from: &str) -> Asking {
        let ends = Arc::new(AtomicBool::new(false));
        let (bed, from, until) = (self.clone(), from.to_owned(), Arc::clone(&ends));
        let thread = std::thread::spawn(move || {
            let cluster = bed.cluster;
            cluster.within(&from, move || async move {
                let (_, mut held) = bed.asking("").await;
                let mut asked = Asked::default();
                while !until.load(Ordering::Relaxed) {
                    let (answer, _) = bed.asking("").await;
                    asked.count += 1;
                    if answer != "200 -" {
                        asked.others.push(answer);
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                if let Some(tunnel) = &mut held {
                    let mut byte = [0];
                    let read = tunnel.read(&mut byte);
                    let read = tokio::time::timeout(Duration::from_secs(3), read).await;
                    // Nobody says anything in it: what is read is its end.
                    asked.is_held = read.is_err();
                }
                asked
            })
        });
        Asking { ends, thread }
    }

    /// A token for the proxy that is bound to a pod.
    pub(crate) fn token(&self, account: &str, pod: &str) -> String {
        let bound = format!("--bound-object-name={pod}");
        let arguments = [
            "create",
            "token",
            account,
            "-n",
            self.system,
            "--audience=portcullis",
            "--bound-object-kind=Pod",
            &bound,
        ];
        self.cluster.kubectl(&arguments).trim().to_owned()
    }
}

/// Requests that go on.
pub(crate) struct Asking {
    ends: Arc<AtomicBool>,
    thread: JoinHandle<Asked>,
}

/// What became of them.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) count: usize,
    /// Answers that were no tunnel.
    pub(crate) others: Vec<String>,
    /// Whether the tunnel that was opened first is still open.
    pub(crate) is_held: bool,
}

impl Asking {
    pub(crate) fn end(self) -> Asked {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.join().expect("it asked")
    }
}
