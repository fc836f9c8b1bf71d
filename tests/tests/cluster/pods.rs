//! Pods as clients of the egress proxy: who has an address, and whose token it is.

use std::time::Duration;

use portcullis_tests::Cluster;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{edge::edge, own::rights};

/// The namespace of the proxy and of its clients.
const SYSTEM: &str = "egress-pods";

const OBJECTS: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: egress-pods}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: builder, namespace: egress-pods}
---
apiVersion: v1
kind: Service
metadata: {name: proxy, namespace: egress-pods}
spec:
  clusterIP: None
  selector: {app: proxy}
  ports: [{port: 3128}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: proxy, namespace: egress-pods}
spec:
  replicas: 1
  selector: {matchLabels: {app: proxy}}
  template:
    metadata: {labels: {app: proxy}}
    spec:
      serviceAccountName: portcullis-egress
      containers:
      - name: portcullis
        image: portcullis
        readinessProbe: {httpGet: {path: /readyz, port: 9090}, periodSeconds: 1}
        args: [run, --threads=1, --kubernetes, --configmap=egress-pods/portcullis-config, --update-status=false]
";

/// A pod that stays: the clients, and what they reach.
fn pod(name: &str, account: &str, labels: &str) -> String {
    format!(
        "---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {SYSTEM}, labels: {{{labels}}}}}
spec:
  serviceAccountName: {account}
  # The scheduler gives up what it thinks of a pod whose name is another's after an outage.
  nodeName: node-a
  terminationGracePeriodSeconds: 1
  containers: [{{name: backend, image: backend}}]
"
    )
}

/// The settings of the proxy.
fn settings(identity: &Value, destination: &str, jwks: &str) -> String {
    let allow = json!([{"cidr": destination, "ports": [8080], "private": true, "raw": true}]);
    let egress = json!({
        "listeners": [{"name": "proxy"}],
        "identity": identity,
        "policies": [
            {"name": "builds", "subjects": [{"namespace": SYSTEM, "serviceAccount": "builder"}], "allow": allow},
            {"name": "labelled", "subjects": [{"namespace": SYSTEM, "podLabels": {"team": "red"}}], "allow": allow},
        ],
    });
    let document = format!("egress: {egress}\nmanagement: {{address: '[::]:9090'}}\n");
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "portcullis-config", "namespace": SYSTEM},
        "data": {"egress.yaml": document, "keys.jwks": jwks},
    });
    map.to_string()
}

/// Where pods are, and the proxy that they ask.
struct Bed {
    cluster: &'static Cluster,
    proxy: String,
    destination: String,
}

impl Bed {
    fn field(&self, pod: &str, path: &str) -> String {
        self.cluster.field(&["pod", pod, "-n", SYSTEM], path)
    }

    /// Asks for the destination from a network namespace; a pod is named by its UID. The status
    /// and the reason.
    fn ask(&self, from: &str, token: &str) -> String {
        let (proxy, destination) = (self.proxy.clone(), self.destination.clone());
        let credentials = match token {
            "" => String::new(),
            token => format!("Proxy-Authorization: Bearer {token}\r\n"),
        };
        self.cluster.within(from, move || async move {
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
                Some(format!("{status} {}", reason.unwrap_or("-")))
            };
            let asked = tokio::time::timeout(Duration::from_secs(5), asked).await;
            asked.ok().flatten().unwrap_or_default()
        })
    }

    fn wait(&self, from: &str, token: &str, expected: &str) {
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

    /// A token for the proxy that is bound to a pod.
    fn token(&self, account: &str, pod: &str) -> String {
        let bound = format!("--bound-object-name={pod}");
        let arguments = [
            "create",
            "token",
            account,
            "-n",
            SYSTEM,
            "--audience=portcullis",
            "--bound-object-kind=Pod",
            &bound,
        ];
        self.cluster.kubectl(&arguments).trim().to_owned()
    }
}

#[test]
fn pods_are_known_by_their_addresses_and_tokens_end_with_their_pods() {
    let Some(edge) = edge() else { return };
    let cluster = edge.cluster;
    let clients = [
        pod("destination", "default", "app: destination"),
        pod("builder", "builder", "app: client"),
        pod("red", "default", "team: red"),
        pod("other", "default", "app: client"),
    ];
    cluster.apply(&format!("{OBJECTS}{}", clients.concat()));
    let system = format!("--system-namespace={SYSTEM}");
    cluster.apply(&rights(&[
        "--service-account=portcullis-egress",
        "--egress-pods",
        "--update-status=false",
        &system,
    ]));
    let of = |pod: &str| ["pod", pod, "-n", SYSTEM].map(str::to_owned);
    let field = |pod: &str, path: &str| {
        let object = of(pod);
        cluster.field(&object.each_ref().map(String::as_str), path)
    };
    for pod in ["destination", "builder", "red", "other"] {
        cluster.wait(&format!("{pod} has an address"), || {
            field(pod, "{.status.podIP}").contains('.')
        });
    }
    let destination = field("destination", "{.status.podIP}");
    let by_address = json!({"level": "address", "pods": {}});
    cluster.apply(&settings(&by_address, &destination, "{}"));
    cluster.rolled_out(SYSTEM, "proxy");
    let selector = ["pods", "-n", SYSTEM, "-l", "app=proxy"];
    let proxy = cluster.field(&selector, "{.items[0].status.podIP}");
    let bed = Bed {
        cluster,
        proxy,
        destination,
    };

    // By address.
    let [builder, red, other] =
        ["builder", "red", "other"].map(|pod| bed.field(pod, "{.metadata.uid}"));
    bed.wait(&builder, "", "200 -");
    bed.wait(&red, "", "200 -");
    bed.wait(&other, "", "403 no_policy");
    bed.wait("node-a", "", "403 node_address");
    let label = ["label", "pod", "other", "-n", SYSTEM, "team=red"];
    cluster.kubectl(&label);
    bed.wait(&other, "", "200 -");
    cluster.kubectl(&["label", "pod", "other", "-n", SYSTEM, "team-"]);
    bed.wait(&other, "", "403 no_policy");

    // By token, from where its pod is.
    let raw = |path: &str| cluster.kubectl(&["get", "--raw", path]);
    let discovery: Value =
        serde_json::from_str(&raw("/.well-known/openid-configuration")).expect("JSON");
    let bound = json!({"level": "bind-to-address", "pods": {}, "serviceAccountTokens": {
        "jwks": "configmap:egress-pods/portcullis-config/keys.jwks", "issuer": discovery["issuer"], "audience": "portcullis",
    }});
    let jwks = raw("/openid/v1/jwks");
    cluster.apply(&settings(&bound, &bed.destination, &jwks));
    let token = bed.token("builder", "builder");
    bed.wait(&builder, "", "407 token_missing");
    assert_eq!(bed.ask(&builder, &token), "200 -");
    assert_eq!(bed.ask(&other, &token), "403 identity_mismatch", "K06");
    let arguments = [
        "create",
        "token",
        "builder",
        "-n",
        SYSTEM,
        "--audience=portcullis",
    ];
    let unbound = cluster.kubectl(&arguments).trim().to_owned();
    assert_eq!(bed.ask(&builder, &unbound), "407 token_without_pod");

    // The API server is away, and what is known goes on.
    cluster.ask(&json!({"do": "kill", "name": "apiserver"}));
    for _ in 0..60 {
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!(bed.ask(&builder, &token), "200 -");
        assert_eq!(bed.ask(&other, &token), "403 identity_mismatch");
    }
    cluster.ask(&json!({"do": "start", "name": "apiserver"}));

    // K05: its pod is gone, and another has its name.
    cluster.wait("the pod is deleted", || {
        let arguments = ["delete", "pod", "builder", "-n", SYSTEM, "--wait=true"];
        cluster.try_kubectl(&arguments, "").is_ok()
    });
    bed.wait(&other, &token, "407 pod_gone");
    cluster.apply(&pod("builder", "builder", "app: client"));
    cluster.wait("builder has an address", || {
        bed.field("builder", "{.status.podIP}").contains('.')
    });
    let again = bed.field("builder", "{.metadata.uid}");
    assert_ne!(again, builder);
    bed.wait(&again, &bed.token("builder", "builder"), "200 -");
    assert_eq!(bed.ask(&again, &token), "407 pod_gone");
}
