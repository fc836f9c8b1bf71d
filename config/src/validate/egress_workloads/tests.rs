use crate::{
    model::{EgressWorkloads, Identified, InjectedRelay, MilliCpu},
    read::{SourceFile, read},
    validate::validate,
};

/// What a section means beside a listener, and what is told of it.
fn validated(workloads: &str, more: &str) -> (Option<EgressWorkloads>, Vec<String>) {
    let read = read(&[SourceFile {
        name: "a.yaml".into(),
        text: format!(
            "egress: {{listeners: [{{name: p}}, {{name: own, address: '127.0.0.1:9'}}], \
             clusterRanges: [10.244.0.0/16, 'fd00::/108'], workloads: {workloads}{more}}}"
        ),
    }]);
    let validated = validate(&read.document, &read.origins);
    let problems = read.problems.iter().chain(&validated.problems);
    let told = problems.map(ToString::to_string).collect();
    let egress = validated.model.egress.expect("the section");
    (egress.workloads.as_deref().cloned(), told)
}

const TOKENS: &str = ", identity: {serviceAccountTokens: {jwks: k, issuer: i, audience: ours}}";

#[test]
fn what_is_left_out_has_its_default() {
    let wanted = "{injection: {proxy: 'http://10.0.0.7', relay: {image: p}}, networkPolicies: {inCluster: allow}}";
    let (workloads, told) = validated(wanted, TOKENS);
    assert_eq!(told, [""; 0]);
    let workloads = workloads.expect("the section");
    assert_eq!(workloads.namespace_label, "portcullis.dev/egress");
    let injection = workloads.injection.expect("an injection");
    assert_eq!(injection.proxy.to_string(), "http://10.0.0.7:3128");
    let Identified::Relay(relay, token) = injection.identity else {
        panic!("the relay is the default");
    };
    assert_eq!((relay.port, relay.memory_limit), (3128, 64 << 20));
    assert_eq!(relay.memory_request, 32 << 20);
    assert_eq!((relay.cpu_request, relay.cpu_limit), (MilliCpu(10), None));
    assert_eq!(
        (token.audience.as_str(), token.expiration_seconds),
        ("ours", 3600)
    );
    assert_eq!(
        injection.no_proxy.to_string(),
        "localhost,127.0.0.1,::1,.svc,.cluster.local,10.244.0.0/16"
    );
    let policies = workloads.network_policies.expect("policies");
    // Nobody else reaches the one on the loopback.
    assert!(policies.ports.iter().eq(&[3128]));
    assert_eq!(policies.dns_namespace, "kube-system");
    assert_eq!(policies.proxy_labels.len(), 2);
}

#[test]
fn traffic_of_the_cluster_may_go_through_the_proxy() {
    let wanted = "{injection: {proxy: 'http://p', identity: none, clusterTraffic: proxy, noProxy: [.Corp.test, db.test, 192.0.2.0/24, '::2', localhost]}}";
    let (workloads, told) = validated(wanted, "");
    assert_eq!(told, [""; 0]);
    let injection = workloads.and_then(|workloads| workloads.injection);
    assert_eq!(
        injection.expect("an injection").no_proxy.to_string(),
        "localhost,127.0.0.1,::1,.corp.test,db.test,192.0.2.0/24,::2"
    );
}

#[test]
fn what_cannot_be_meant_is_told_with_its_place() {
    let injection = |fields: &str| format!("{{injection: {{proxy: 'http://p', {fields}}}}}");
    let none = |fields: &str| injection(&format!("identity: none, {fields}"));
    let relay = |fields: &str| injection(&format!("relay: {{image: p, {fields}}}"));
    let policies = |fields: &str| format!("{{networkPolicies: {{{fields}}}}}");
    for (wanted, place, says) in [
        (
            "{namespaceLabel: 'a b'}".to_owned(),
            "namespaceLabel",
            "no key",
        ),
        (
            "{injection: {proxy: p, identity: none}}".to_owned(),
            "injection.proxy",
            "http://HOST:PORT",
        ),
        (
            injection("identity: relay"),
            "injection.relay",
            "needs the image",
        ),
        (
            injection("relay: {image: 'a b'}"),
            "injection.relay.image",
            "the name of an image",
        ),
        (relay("port: 80"), "injection.relay.port", "1024 or more"),
        (
            relay("memoryLimit: 1MiB"),
            "injection.relay.memoryLimit",
            "at least 16MiB",
        ),
        (
            relay("memoryRequest: 65MiB"),
            "injection.relay.memoryRequest",
            "65MiB is more than memoryLimit, 64MiB",
        ),
        (
            relay("proxyCa: {configMap: A, key: k}"),
            "injection.relay.proxyCa.configMap",
            "name of a ConfigMap",
        ),
        (
            relay("proxyCa: {configMap: a, key: k}"),
            "injection.relay.proxyCa",
            "a proxy without TLS",
        ),
        (
            relay("cpuRequest: fast"),
            "injection.relay.cpuRequest",
            "no quantity of processors",
        ),
        (
            relay("cpuLimit: 0m"),
            "injection.relay.cpuLimit",
            "no quantity of processors",
        ),
        (
            relay("cpuRequest: '1', cpuLimit: 500m"),
            "injection.relay.cpuRequest",
            "1000m is more than cpuLimit, 500m",
        ),
        (
            none("relay: {image: p}"),
            "injection.relay",
            "`identity: relay` alone",
        ),
        (none("token: {}"), "injection.token", "nobody shows a token"),
        (
            injection("identity: token, token: {expiration: 9m}"),
            "injection.token.expiration",
            "from 10m to 1d",
        ),
        (
            injection("identity: token, token: {expiration: 25h}"),
            "injection.token.expiration",
            "from 10m to 1d",
        ),
        (
            none("noProxy: ['*.a.test']"),
            "injection.noProxy[0]",
            "not read alike",
        ),
        (
            none("noProxy: ['a.test:80']"),
            "injection.noProxy[0]",
            "not read alike",
        ),
        (
            none("noProxy: ['a.test, b.test']"),
            "injection.noProxy[0]",
            "not read alike",
        ),
        (
            none("noProxy: ['*']"),
            "injection.noProxy[0]",
            "not read alike",
        ),
        (
            none("noProxy: ['1.2']"),
            "injection.noProxy[0]",
            "not read alike",
        ),
        (
            none("noProxy: ['fd00:10:244::/56']"),
            "injection.noProxy[0]",
            "httpx",
        ),
        (
            none("trust: {configMap: a, key: ../b}"),
            "injection.trust.key",
            "key of a ConfigMap",
        ),
        (
            policies("ports: []"),
            "networkPolicies.ports",
            "at least one",
        ),
        (
            policies("ports: [0]"),
            "networkPolicies.ports",
            "1 to 65535",
        ),
        (
            policies("proxyNamespace: A"),
            "networkPolicies.proxyNamespace",
            "not a namespace",
        ),
        (
            policies("proxyLabels: {}"),
            "networkPolicies.proxyLabels",
            "at least one",
        ),
        (
            policies("dns: {labels: {'a b': c}}"),
            "networkPolicies.dns.labels",
            "no key",
        ),
        (
            policies("dns: {port: 0}"),
            "networkPolicies.dns.port",
            "1 to 65535",
        ),
    ] {
        let (_, told) = validated(&wanted, TOKENS);
        let place = format!("egress.workloads.{place}: ");
        let is_told = |line: &&String| line.contains(&place) && line.contains(says);
        assert_eq!(
            told.iter().filter(is_told).count(),
            1,
            "{wanted}: {told:#?}"
        );
    }
    // Without identities no audience is known.
    let (_, told) = validated(&injection("identity: token"), "");
    assert!(told[0].contains("injection.token.audience"), "{told:?}");
}

#[test]
fn what_the_relay_asks_for_of_memory_is_no_more_than_its_limit() {
    for (fields, request, limit) in [
        ("memoryRequest: 64MiB", 64, 64),
        ("memoryRequest: 1MiB", 1, 64),
        ("memoryLimit: 16MiB", 16, 16),
        ("memoryLimit: 128MiB", 32, 128),
        ("memoryLimit: 128MiB, memoryRequest: 128MiB", 128, 128),
    ] {
        let relay = relay_of(fields);
        assert_eq!(relay.memory_request, request << 20, "{fields}");
        assert_eq!(relay.memory_limit, limit << 20, "{fields}");
    }
}

/// The relay that pods are given with some fields said.
fn relay_of(fields: &str) -> InjectedRelay {
    let wanted = format!(
        "{{injection: {{proxy: 'https://p', relay: {{image: p, {fields}, proxyCa: {{configMap: a, key: k}}}}}}}}"
    );
    let (workloads, told) = validated(&wanted, TOKENS);
    assert_eq!(told, [""; 0]);
    let injection = workloads.and_then(|workloads| workloads.injection);
    let Some(Identified::Relay(relay, _)) = injection.map(|injection| injection.identity) else {
        panic!("the relay is the default");
    };
    relay
}

#[test]
fn what_the_relay_asks_for_of_processors_is_no_more_than_its_limit() {
    for (fields, request, limit) in [
        ("cpuRequest: '0.1'", 100, None),
        ("cpuLimit: 500m", 10, Some(500)),
        ("cpuLimit: 5m", 5, Some(5)),
        ("cpuRequest: 250m, cpuLimit: '0.25'", 250, Some(250)),
    ] {
        let relay = relay_of(fields);
        assert_eq!(relay.cpu_request, MilliCpu(request), "{fields}");
        assert_eq!(relay.cpu_limit, limit.map(MilliCpu), "{fields}");
    }
}

#[test]
fn a_way_that_is_closed_is_warned_of() {
    for (injection, policies, warned) in [
        (
            "proxy: 'http://10.0.0.7'",
            "inCluster: deny",
            &["clusterTraffic"][..],
        ),
        ("proxy: 'http://10.0.0.7'", "inCluster: allow", &[]),
        (
            "proxy: 'http://10.0.0.7', clusterTraffic: proxy",
            "inCluster: deny",
            &[],
        ),
        (
            "proxy: 'http://p.test', clusterTraffic: proxy",
            "{}",
            &["proxy"],
        ),
        (
            "proxy: 'http://p.test', clusterTraffic: proxy",
            "allowDns: true",
            &[],
        ),
    ] {
        let policies = match policies {
            "{}" => String::new(),
            fields => fields.to_owned(),
        };
        let wanted = format!(
            "{{injection: {{identity: none, {injection}}}, networkPolicies: {{{policies}}}}}"
        );
        let (_, told) = validated(&wanted, "");
        assert_eq!(told.len(), warned.len(), "{wanted}: {told:?}");
        for (told, place) in told.iter().zip(warned) {
            let place = format!("warning: egress.workloads.injection.{place}: ");
            assert!(told.contains(&place), "{told}");
        }
    }
}
