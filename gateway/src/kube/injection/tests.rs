use base64::{Engine, prelude::BASE64_STANDARD};
use portcullis_config::{
    read::{SourceFile, read},
    validate::validate,
};

use super::*;

fn workloads(injection: &str) -> EgressWorkloads {
    let read = read(&[SourceFile {
        name: "a.yaml".into(),
        text: format!(
            "egress: {{listeners: [{{name: p}}], clusterRanges: [10.244.0.0/16], workloads: {{injection: {injection}}}}}"
        ),
    }]);
    let validated = validate(&read.document, &read.origins);
    let problems = read.problems.iter().chain(&validated.problems);
    let problems: Vec<String> = problems.map(ToString::to_string).collect();
    assert_eq!(problems, [""; 0]);
    let workloads = validated.model.egress.and_then(|egress| egress.workloads);
    EgressWorkloads::clone(&workloads.expect("the section"))
}

const RELAY: &str = "{proxy: 'https://proxy.out.svc.cluster.local:3129', \
     relay: {image: 'p:1', port: 3130, proxyCa: {configMap: proxy-ca, key: tls.crt}}, token: {audience: ours}}";
const TOKEN_ALONE: &str = "{proxy: 'http://10.0.0.7', identity: token, \
     token: {audience: ours, expiration: 10m}, noProxy: [.corp.test]}";
const TRUSTED: &str = "{proxy: 'http://10.0.0.7', identity: none, clusterTraffic: proxy, trust: {configMap: t, key: all.pem}}";

fn review(request: Value) -> Review {
    Review::read(json!({ "request": request }).to_string().into()).expect("a review")
}

/// The answer about a pod that is created.
fn asked(pod: &Value, workloads: Option<&EgressWorkloads>, more: Value) -> Value {
    let mut request = json!({
        "uid": "u-1", "namespace": "shop", "operation": "CREATE", "object": pod,
        "kind": { "group": "", "version": "v1", "kind": "Pod" }, "dryRun": true,
    });
    let fields = request.as_object_mut().expect("a map");
    fields.extend(more.as_object().cloned().unwrap_or_default());
    let around = Around {
        workloads: Given::Known(workloads),
        own_namespace: "gateway",
        api_server: Some([10, 96, 0, 1].into()),
    };
    let answer = answer(&review(request), around).expect("it is known what pods are given");
    answer["response"].clone()
}

/// What the API server makes of an answer: additions of RFC 6902 section 4.1.
fn patched(pod: &Value, response: &Value) -> Value {
    assert_eq!(response["allowed"], true, "{response}");
    let mut pod = pod.clone();
    let Some(patch) = response["patch"].as_str() else {
        return pod;
    };
    assert_eq!(response["patchType"], "JSONPatch");
    let patch = BASE64_STANDARD.decode(patch).expect("base64");
    let operations: Vec<Value> = serde_json::from_slice(&patch).expect("JSON");
    for operation in operations {
        assert_eq!(operation["op"], "add");
        let path = operation["path"].as_str().expect("a path");
        let (parent, last) = path.rsplit_once('/').expect("a pointer");
        let last = last.replace("~1", "/").replace("~0", "~");
        let value = operation["value"].clone();
        match pod.pointer_mut(parent) {
            Some(Value::Array(list)) if last == "-" => list.push(value),
            Some(Value::Array(list)) => list.insert(last.parse().expect("a number"), value),
            Some(Value::Object(map)) => drop(map.insert(last, value)),
            other => panic!("{path}: {other:?}"),
        }
    }
    let _: v1::Pod = serde_json::from_value(pod.clone()).expect("a Pod");
    pod
}

/// A pod after the webhook, and what was said; asked again, there is nothing more to do.
fn injected(pod: &Value, injection: &str) -> (Value, Vec<String>) {
    let workloads = workloads(injection);
    let response = asked(pod, Some(&workloads), json!({}));
    let once = patched(pod, &response);
    let again = asked(&once, Some(&workloads), json!({}));
    assert_eq!(again["patch"], Value::Null, "{again}");
    let warnings = response["warnings"].as_array().cloned().unwrap_or_default();
    let warnings = warnings.iter().filter_map(Value::as_str);
    (once, warnings.map(str::to_owned).collect())
}

fn variable(container: &Value, name: &str) -> Option<String> {
    let all = container["env"].as_array().into_iter().flatten();
    let mut named = all.filter(|known| known["name"] == name);
    let value = named.next()?["value"].as_str().map(str::to_owned);
    assert!(named.next().is_none(), "{name} is set twice");
    value
}

fn pod() -> Value {
    json!({
        "metadata": { "generateName": "web-" },
        "spec": {
            "initContainers": [{ "name": "fetch", "image": "i" }],
            "containers": [
                { "name": "web", "image": "i", "env": [{ "name": "A", "value": "b" }], "unknownField": [1] },
                { "name": "log", "image": "i", "volumeMounts": [{ "name": "v", "mountPath": "/v" }] },
            ],
            "volumes": [{ "name": "v", "emptyDir": {} }],
        },
    })
}

#[test]
fn with_a_relay_every_container_is_sent_to_it_and_it_alone_has_the_token() {
    let (pod, warnings) = injected(&pod(), RELAY);
    assert_eq!(warnings, [""; 0]);
    let relay = &pod["spec"]["initContainers"][0];
    assert_eq!(relay["name"], "portcullis-egress-relay");
    assert_eq!(
        (&relay["image"], &relay["restartPolicy"]),
        (&json!("p:1"), &json!("Always"))
    );
    assert_eq!(
        relay["args"],
        json!([
            "egress",
            "relay",
            "--proxy=https://proxy.out.svc.cluster.local:3129",
            "--listen=127.0.0.1:3130",
            "--proxy-ca=/etc/portcullis/proxy-ca/ca.crt"
        ])
    );
    assert_eq!(relay["volumeMounts"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        relay["resources"],
        json!({
            "requests": { "cpu": "10m", "memory": "33554432" },
            "limits": { "memory": "67108864" },
        })
    );
    assert_eq!(
        pod["spec"]["volumes"],
        json!([
            { "name": "v", "emptyDir": {} },
            { "name": "portcullis-egress-token", "projected": { "sources": [{ "serviceAccountToken": {
                "audience": "ours", "expirationSeconds": 3600, "path": "token",
            } }] } },
            { "name": "portcullis-egress-proxy-ca", "configMap": {
                "name": "proxy-ca", "items": [{ "key": "tls.crt", "path": "ca.crt" }],
            } },
        ])
    );
    let containers = [
        "/spec/initContainers/1",
        "/spec/containers/0",
        "/spec/containers/1",
    ];
    for container in containers.map(|path| pod.pointer(path).expect(path)) {
        for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"] {
            let value = variable(container, name);
            assert_eq!(value.as_deref(), Some("http://127.0.0.1:3130"), "{name}");
        }
        for name in ["NO_PROXY", "no_proxy"] {
            let value = variable(container, name);
            let expected = "localhost,127.0.0.1,::1,.svc,.cluster.local,10.244.0.0/16,10.96.0.1";
            assert_eq!(value.as_deref(), Some(expected), "{name}");
        }
        assert_eq!(
            variable(container, "NODE_USE_ENV_PROXY").as_deref(),
            Some("1")
        );
        let mounts = container["volumeMounts"].as_array().map_or(0, Vec::len);
        assert_eq!(mounts, usize::from(container["name"] == "log"));
    }
    assert_eq!(variable(relay, "HTTP_PROXY"), None);
    assert_eq!(
        pod["spec"]["containers"][0]["env"][0],
        json!({ "name": "A", "value": "b" })
    );
    assert_eq!(pod["spec"]["containers"][0]["unknownField"], json!([1]));
    let annotations = json!({ "portcullis.dev/egress-injected": "relay" });
    assert_eq!(pod["metadata"]["annotations"], annotations);
}

#[test]
fn a_token_is_mounted_into_each_container_where_programs_show_it() {
    let (pod, warnings) = injected(&pod(), TOKEN_ALONE);
    assert_eq!(warnings, [""; 0]);
    let init = pod["spec"]["initContainers"].as_array().cloned();
    let containers = pod["spec"]["containers"].as_array().cloned();
    let all = [init.unwrap_or_default(), containers.unwrap_or_default()].concat();
    assert_eq!(all.len(), 3, "there is no relay");
    for container in &all {
        let mount = json!({
            "name": "portcullis-egress-token", "mountPath": "/var/run/secrets/portcullis", "readOnly": true,
        });
        let mounts = container["volumeMounts"].as_array().expect("mounts");
        assert!(mounts.contains(&mount), "{container}");
        let value = variable(container, "https_proxy");
        assert_eq!(value.as_deref(), Some("http://10.0.0.7:3128"));
        let value = variable(container, "NO_PROXY").unwrap_or_default();
        assert!(value.ends_with(",.corp.test,10.96.0.1"), "{value}");
    }
    let token = &pod["spec"]["volumes"][1]["projected"]["sources"][0]["serviceAccountToken"];
    assert_eq!(token["expirationSeconds"], 600);
}

#[test]
fn programs_are_told_whom_to_trust_and_where_all_of_the_cluster_is_proxied() {
    let (pod, _) = injected(&pod(), TRUSTED);
    let web = &pod["spec"]["containers"][0];
    for name in [
        "SSL_CERT_FILE",
        "NODE_EXTRA_CA_CERTS",
        "REQUESTS_CA_BUNDLE",
        "AWS_CA_BUNDLE",
    ] {
        let value = variable(web, name);
        assert_eq!(
            value.as_deref(),
            Some("/etc/portcullis/trust/bundle.crt"),
            "{name}"
        );
    }
    assert_eq!(
        variable(web, "NO_PROXY").as_deref(),
        Some("localhost,127.0.0.1,::1")
    );
    assert_eq!(web["volumeMounts"][0]["mountPath"], "/etc/portcullis/trust");
    let volume = json!({ "name": "portcullis-egress-trust", "configMap": {
        "name": "t", "items": [{ "key": "all.pem", "path": "bundle.crt" }],
    } });
    assert_eq!(pod["spec"]["volumes"][1], volume);
}

#[test]
fn what_a_container_sets_itself_is_left_alone_and_told() {
    let mut own = pod();
    let web = &mut own["spec"]["containers"][0];
    web["env"] = json!([
        { "name": "https_proxy", "value": "http://other:1" },
        { "name": "NO_PROXY", "valueFrom": { "fieldRef": { "fieldPath": "status.hostIP" } } },
        { "name": "SSL_CERT_FILE", "value": "/own" },
    ]);
    web["envFrom"] = json!([{ "configMapRef": { "name": "more" } }]);
    own["spec"]["containers"][1]["volumeMounts"][0]["mountPath"] = json!("/etc/portcullis/trust/");
    own["metadata"]["annotations"] = json!({ "a": "b" });
    let (pod, warnings) = injected(&own, TRUSTED);
    let [web, log] = [0, 1].map(|index| &pod["spec"]["containers"][index]);
    assert_eq!(
        variable(web, "https_proxy").as_deref(),
        Some("http://other:1")
    );
    assert_eq!(
        variable(web, "HTTPS_PROXY"),
        None,
        "programs read one or the other"
    );
    assert_eq!(variable(web, "no_proxy"), None);
    assert_eq!(variable(web, "SSL_CERT_FILE").as_deref(), Some("/own"));
    assert!(variable(web, "http_proxy").is_some() && variable(web, "PIP_CERT").is_some());
    assert_eq!(
        variable(log, "SSL_CERT_FILE"),
        None,
        "the file is not there"
    );
    assert_eq!(log["volumeMounts"].as_array().map(Vec::len), Some(1));
    assert_eq!(
        warnings,
        [
            "spec.containers[0] \"web\": set already, and left alone: https_proxy, NO_PROXY, SSL_CERT_FILE",
            "spec.containers[0] \"web\": what its `envFrom` says of the proxy does not hold: variables of its own come before that",
            "spec.containers[1] \"log\": set already, and left alone: /etc/portcullis/trust",
        ]
    );
    assert_eq!(
        pod["metadata"]["annotations"],
        json!({
            "a": "b",
            "portcullis.dev/egress-injected": "none",
            "portcullis.dev/egress-left-alone":
                "web: https_proxy, NO_PROXY, SSL_CERT_FILE; log: /etc/portcullis/trust",
        })
    );
}

#[test]
fn a_relay_that_is_there_by_hand_stays_and_its_port_is_told() {
    for (listen, address) in [
        (json!(["--proxy=http://p"]), "127.0.0.1:3128"),
        (json!(["--listen=127.0.0.1:4000"]), "127.0.0.1:4000"),
        (json!(["--listen", "127.0.0.2:4001"]), "127.0.0.2:4001"),
        (json!(["--listen=[::1]:4002"]), "[::1]:4002"),
        (
            json!(["--any-address", "--listen", "0.0.0.0:4003"]),
            "127.0.0.1:4003",
        ),
        (json!(["--any-address", "--listen=[::]:4004"]), "[::1]:4004"),
    ] {
        let mut args = vec![json!("egress"), json!("relay")];
        args.extend(listen.as_array().into_iter().flatten().cloned());
        let mut own = pod();
        let by_hand =
            json!({ "name": "mine", "image": "p", "restartPolicy": "Always", "args": args });
        own["spec"]["initContainers"] = json!([by_hand]);
        let (pod, warnings) = injected(&own, RELAY);
        assert_eq!(warnings, [""; 0]);
        assert_eq!(pod["spec"]["initContainers"], json!([by_hand]));
        assert_eq!(pod["spec"]["volumes"], own["spec"]["volumes"]);
        let proxy = variable(&pod["spec"]["containers"][0], "http_proxy");
        assert_eq!(proxy, Some(format!("http://{address}")));
    }
}

#[test]
fn init_containers_that_end_before_the_relay_begins_are_not_sent_to_it() {
    let relay = json!({ "name": "mine", "image": "p", "args": ["egress", "relay"] });
    let init = |name: &str| json!({ "name": name, "image": "i" });
    let mut native = pod();
    native["spec"]["initContainers"] = json!([init("first"), relay, init("second")]);
    let mut beside = pod();
    let containers = beside["spec"]["containers"].as_array_mut();
    containers.expect("a list").push(relay.clone());
    beside["spec"]["initContainers"] = json!([init("first")]);
    for own in [native, beside] {
        let (pod, warnings) = injected(&own, RELAY);
        let given = &pod["spec"]["initContainers"];
        assert_eq!(given[0], init("first"));
        if given[1] == relay {
            let proxy = variable(&given[2], "http_proxy");
            assert_eq!(proxy.as_deref(), Some("http://127.0.0.1:3128"));
        }
        assert!(variable(&pod["spec"]["containers"][0], "http_proxy").is_some());
        assert_eq!(
            warnings,
            [
                "spec.initContainers[0] \"first\": given nothing: it has ended when the relay of the pod begins, and nobody would answer it"
            ]
        );
        let note = &pod["metadata"]["annotations"]["portcullis.dev/egress-left-alone"];
        assert_eq!(note, "first: before the relay");
    }
    // Programs that show the token themselves go to the proxy, which is there.
    let mut own = pod();
    own["spec"]["initContainers"] = json!([init("first"), relay]);
    let (pod, warnings) = injected(&own, TOKEN_ALONE);
    assert_eq!(warnings, [""; 0]);
    let first = variable(&pod["spec"]["initContainers"][0], "http_proxy");
    assert_eq!(first.as_deref(), Some("http://10.0.0.7:3128"));
}

#[test]
fn a_pod_with_a_list_that_is_too_long_is_refused() {
    let long = |entry: Value, len: usize| Value::from(vec![entry; len]);
    let env = json!({ "name": "A", "value": "b" });
    let volume = json!({ "name": "v", "emptyDir": {} });
    let container = json!({ "name": "c", "image": "i" });
    for (list, entry, place) in [
        ("/spec/volumes", &volume, "spec.volumes"),
        ("/spec/containers", &container, "spec.containers"),
        ("/spec/initContainers", &container, "spec.initContainers"),
        ("/spec/containers/0/env", &env, "spec.containers[0].env"),
        (
            "/spec/containers/1/volumeMounts",
            &volume,
            "spec.containers[1].volumeMounts",
        ),
    ] {
        let with = |len: usize| {
            let mut pod = pod();
            *pod.pointer_mut(list).expect("a list") = long(entry.clone(), len);
            asked(&pod, Some(&workloads(RELAY)), json!({}))
        };
        assert_eq!(with(pod::MAX_ENTRIES)["allowed"], true, "{place}");
        let refused = with(pod::MAX_ENTRIES + 1);
        assert_eq!(refused["allowed"], false, "{place}");
        let message = refused["status"]["message"].as_str().unwrap_or_default();
        let says = format!("{place}: 1001 entries, and a pod with more than 1000 in one list");
        assert!(message.contains(&says), "{message}");
    }
}

#[test]
fn the_relay_may_be_guaranteed() {
    let relay = "{proxy: 'http://10.0.0.7', token: {audience: ours}, \
         relay: {image: p, memoryLimit: 32MiB, cpuRequest: 50m, cpuLimit: '0.05'}}";
    let (pod, _) = injected(&pod(), relay);
    let resources = &pod["spec"]["initContainers"][0]["resources"];
    let all = json!({ "cpu": "50m", "memory": "33554432" });
    assert_eq!(resources, &json!({ "requests": all, "limits": all }));
}

#[test]
fn the_relay_asks_for_the_memory_that_a_limit_range_may_want() {
    let relay = "{proxy: 'http://10.0.0.7', token: {audience: ours}, \
         relay: {image: p, memoryLimit: 128MiB, memoryRequest: 64MiB}}";
    let (pod, _) = injected(&pod(), relay);
    let resources = &pod["spec"]["initContainers"][0]["resources"];
    assert_eq!(resources["requests"]["memory"], (64 << 20).to_string());
    assert_eq!(resources["limits"]["memory"], (128 << 20).to_string());
}

#[test]
fn a_pod_with_names_of_ours_for_something_else_is_refused() {
    let mut volume = pod();
    volume["spec"]["volumes"][0]["name"] = json!("portcullis-egress-token");
    let mut container = pod();
    container["spec"]["containers"][0]["name"] = json!("portcullis-egress-relay");
    let mut other = pod();
    other["spec"]["volumes"][0] =
        json!({ "name": "portcullis-egress-trust", "configMap": { "name": "other" } });
    let broken = json!({ "spec": { "containers": "none" } });
    for (pod, injection, says) in [
        (
            &volume,
            RELAY,
            "spec.volumes: \"portcullis-egress-token\" is something else",
        ),
        (
            &container,
            RELAY,
            "\"portcullis-egress-relay\" is a name that is kept for the relay",
        ),
        (
            &other,
            TRUSTED,
            "\"portcullis-egress-trust\" is something else",
        ),
        (&broken, RELAY, "the Pod cannot be read"),
        (&json!({ "metadata": {} }), RELAY, "the Pod has no spec"),
    ] {
        let response = asked(pod, Some(&workloads(injection)), json!({}));
        assert_eq!(response["allowed"], false, "{says}");
        assert_eq!(response["patch"], Value::Null);
        let message = response["status"]["message"].as_str().unwrap_or_default();
        assert!(message.contains(says), "{message}");
    }
}

#[test]
fn a_port_that_the_relay_takes_is_warned_of() {
    let mut own = pod();
    own["spec"]["containers"][1]["ports"] = json!([{ "containerPort": 3130 }]);
    let (_, warnings) = injected(&own, RELAY);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].starts_with("the pod has port 3130"),
        "{warnings:?}"
    );
}

#[test]
fn pods_that_are_left_out_are_not_touched_and_that_is_told() {
    let workloads = workloads(RELAY);
    let with = |path: &str, value: Value| {
        let mut pod = pod();
        let (parent, key) = path.rsplit_once('/').expect("a pointer");
        let parent = pod.pointer_mut(parent).expect("it is there");
        parent[key] = value;
        pod
    };
    let opted_out = json!({ "portcullis.dev/egress-injection": "disabled" });
    let mirrored = json!({ "kubernetes.io/config.mirror": "x" });
    let plain = pod();
    let of = |namespace: &str| json!({ "namespace": namespace });
    for (pod, more, told) in [
        (
            with("/metadata/labels", opted_out),
            json!({}),
            "portcullis.dev/egress-injection",
        ),
        (
            with("/spec/hostNetwork", json!(true)),
            json!({}),
            "hostNetwork",
        ),
        (
            with("/spec/os", json!({ "name": "windows" })),
            json!({}),
            "Windows",
        ),
        (
            with(
                "/spec/nodeSelector",
                json!({ "kubernetes.io/os": "windows" }),
            ),
            json!({}),
            "Windows",
        ),
        (with("/metadata/annotations", mirrored), json!({}), ""),
        (plain.clone(), of("kube-system"), "pods of kube-system"),
        // Of this process, and of the Service in the proxy's URL.
        (plain.clone(), of("gateway"), "pods of gateway"),
        (plain.clone(), of("out"), "pods of out"),
        (plain.clone(), json!({ "operation": "UPDATE" }), ""),
        (plain.clone(), json!({ "subResource": "status" }), ""),
        (
            plain.clone(),
            json!({ "kind": { "group": "", "version": "v1", "kind": "Service" } }),
            "",
        ),
    ] {
        let response = asked(&pod, Some(&workloads), more);
        assert_eq!(response["patch"], Value::Null, "{told}");
        assert_eq!(response["allowed"], true, "{told}");
        let warning = response["warnings"][0].as_str().unwrap_or_default();
        assert!(
            warning.contains(told) && warning.is_empty() == told.is_empty(),
            "{warning}"
        );
    }
    let response = asked(&plain, None, json!({}));
    let warning = response["warnings"][0].as_str().unwrap_or_default();
    assert!(
        warning.contains("no `egress.workloads.injection`"),
        "{warning}"
    );
    let kept_in = json!({ "portcullis.dev/egress-injection": "enabled" });
    let pod = with("/metadata/labels", kept_in);
    assert!(asked(&pod, Some(&workloads), json!({}))["patch"].is_string());
}

#[test]
fn pods_of_the_namespace_that_network_policies_open_are_left_out() {
    let policies = "{proxy: 'http://10.0.0.7', identity: none, clusterTraffic: proxy}, \
         networkPolicies: {proxyNamespace: elsewhere}";
    let workloads = workloads(policies);
    for (namespace, is_given) in [("elsewhere", false), ("shop", true)] {
        let response = asked(&pod(), Some(&workloads), json!({ "namespace": namespace }));
        assert_eq!(response["patch"].is_string(), is_given, "{namespace}");
    }
}

#[test]
fn before_a_configuration_is_in_force_nothing_is_told_of_pods_that_may_get_something() {
    let asked = |namespace: &str, operation: &str| {
        let around = Around {
            workloads: Given::NotYet,
            own_namespace: "gateway",
            api_server: None,
        };
        let request = json!({
            "uid": "u-1", "namespace": namespace, "operation": operation, "object": pod(),
            "kind": { "group": "", "version": "v1", "kind": "Pod" },
        });
        answer(&review(request), around)
    };
    assert_eq!(asked("shop", "CREATE"), None);
    // They get nothing in any case, and the gateway may wait for them.
    for namespace in ["kube-system", "gateway"] {
        let answer = asked(namespace, "CREATE").expect("an answer");
        assert_eq!(answer["response"]["allowed"], true);
    }
    assert!(asked("shop", "UPDATE").is_some());
}

#[test]
fn the_namespace_of_the_proxy_is_that_of_its_service() {
    for (proxy, namespace) in [
        ("http://proxy.egress.svc", Some("egress")),
        ("http://proxy.egress.svc.cluster.local:1", Some("egress")),
        ("http://proxy.example.com", None),
        ("http://proxy", None),
        ("http://10.0.0.7", None),
    ] {
        let url: ProxyUrl = proxy.parse().expect(proxy);
        assert_eq!(service_namespace(&url), namespace, "{proxy}");
    }
}
