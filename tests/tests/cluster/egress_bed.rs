//! An egress proxy among pods.

use portcullis_tests::Cluster;
use serde_json::{Value, json};

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
        args: [run, --threads=1, --kubernetes, --configmap={system}/portcullis-config, {SECRETS}, {more}]
"
    )
}

/// A pod with one container of the image `backend`, and with more or other fields of its metadata
/// and its spec.
pub(crate) fn pod(namespace: &str, name: &str, metadata: &Value, spec: &Value) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": namespace },
        "spec": { "containers": [{ "name": "main", "image": "backend" }] },
    });
    for (part, more) in [("metadata", metadata), ("spec", spec)] {
        let fields = pod[part].as_object_mut().expect("a map");
        fields.extend(more.as_object().cloned().unwrap_or_default());
    }
    pod
}

/// An egress proxy needs no Secret but that of its webhook, and has the right to no other.
const SECRETS: &str = "--secrets=named";

/// Where pods are, and the proxy that they ask.
#[derive(Clone)]
pub(crate) struct Bed {
    pub(crate) cluster: &'static Cluster,
    system: &'static str,
    pub(crate) proxy: String,
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
        // The controller that makes it may still be coming back from an outage of the API server.
        cluster.wait(&format!("{system} has its ServiceAccount"), || {
            let account = ["serviceaccount", "default", "-n", system];
            cluster.field(&account, "{.metadata.name}") == "default"
        });
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
            let wanted = ["--egress", "--update-status", "--webhook-certificate"];
            wanted.iter().any(|begin| argument.starts_with(begin))
        });
        let mut wanted = vec![
            namespace.as_str(),
            account.as_str(),
            SECRETS,
            "--egress-pods",
        ];
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

    /// Makes a pod that has an address which another had a moment ago.
    pub(crate) fn pod_at(&self, address: &str, name: &str, account: &str, spec: &Value) {
        let metadata = json!({ "annotations": { "cluster.test/address": address } });
        let mut pod = pod(self.system, name, &metadata, spec);
        pod["spec"]["serviceAccountName"] = json!(account);
        pod["spec"]["terminationGracePeriodSeconds"] = json!(1);
        // Where its address is.
        pod["spec"]["nodeName"] = json!("node-a");
        self.cluster.apply(&pod.to_string());
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
