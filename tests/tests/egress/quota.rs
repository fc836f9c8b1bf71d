//! What each client may use, while it uses it.

use std::{net::IpAddr, time::Duration};

use portcullis_tests::{Backend, Dns, Raw, Recorder, TokenIssuer, replace, status_of, wait_for};

use super::site::{PUBLIC, Site, config, reason};

const TARGET: &str = "raw.example:22";

fn policy(mode: &str, more: &str, quota: &str) -> String {
    format!(
        "  - {{name: all, subjects: [{{addresses: [127.0.0.0/8]}}], mode: {mode}, allow: [\
         {{host: raw.example, ports: [22, 80], raw: true, quota: {quota}}}{more}]}}\n"
    )
}

fn site(more: &str, quota: &str, recorder: &Recorder) -> Site {
    let public = [22, 80].map(|port| format!("{PUBLIC}:{port}"));
    let dns = ["raw", "free"].map(|name| format!("{name}.example={PUBLIC}"));
    Site::start_with(
        more,
        &policy("enforce", "", quota),
        &[&dns[0], &dns[1]],
        &[
            (&public[0], recorder.address),
            (&public[1], recorder.address),
        ],
    )
}

/// Asks for a tunnel from an address of the loopback network.
fn connect_from(site: &Site, source: &str, target: &str) -> (Raw, String) {
    let source: IpAddr = source.parse().expect("an address");
    let mut client = Raw::connect_from(source, site.proxy());
    client.send(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n").as_bytes());
    let answer = client.response();
    (client, answer)
}

#[track_caller]
fn is_refused(answer: &str, wanted: &str) {
    assert_eq!(status_of(answer), 429, "{answer}");
    assert_eq!(reason(answer), format!("egress/{wanted}"), "{answer}");
    assert!(answer.contains("\"canBeAllowed\":true"), "{answer}");
    let after = answer
        .lines()
        .find_map(|line| line.strip_prefix("retry-after: "));
    let after: u64 = after.expect("a time").parse().expect("seconds");
    assert!(after > 0, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tunnels_of_one_client_share_their_bytes_and_are_cut_when_they_are_spent() {
    let recorder = Recorder::start().await;
    let site = site("", "{bytesOut: 1MB, window: 8s}", &recorder);
    let mut tunnels = [(); 2].map(|()| {
        let (tunnel, answer) = site.connect(TARGET);
        assert_eq!(status_of(&answer), 200, "{answer}");
        tunnel
    });
    let (mut other, answer) = connect_from(&site, "127.0.0.2", TARGET);
    assert_eq!(status_of(&answer), 200, "{answer}");
    for tunnel in &mut tunnels {
        tunnel.send(&vec![7; 400_000]);
    }
    wait_for("what fits", || recorder.bytes() == 800_000);
    tunnels[0].send(&vec![7; 400_000]);
    for tunnel in &mut tunnels {
        assert!(tunnel.ends(), "the bytes are spent");
    }
    assert!(recorder.bytes() <= 1_000_000, "{}", recorder.bytes());
    wait_for("both lines", || {
        let lines = site.gateway.audit_lines();
        let cut = |line: &&serde_json::Value| line["ended"] == "quota_bytes_out";
        lines.iter().filter(cut).count() == 2
    });
    let (_, refused) = site.connect(TARGET);
    is_refused(&refused, "quota_bytes_out");
    wait_for("the refusal's line", || {
        let line = site.audit("raw.example");
        (line["verdict"] == "deny" && line["reason"] == "quota_bytes_out")
            && (line["policy"] == "all" && line["rule"] == "raw.example" && line["status"] == 429)
    });
    // What another has used is its own.
    let before = recorder.bytes();
    other.send(b"mine");
    wait_for("the other's bytes", || recorder.bytes() == before + 4);
    // A reload keeps what was counted.
    let more = policy("enforce", ", free.example", "{bytesOut: 1MB, window: 8s}");
    site.gateway.reload(&config("", &more));
    is_refused(&site.connect(TARGET).1, "quota_bytes_out");
    wait_for("the next window", || {
        status_of(&site.connect(TARGET).1) == 200
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_a_reload_brings_holds_for_what_is_open() {
    let recorder = Recorder::start().await;
    let site = site("", "{rate: 1000/s}", &recorder);
    let (mut tunnel, _) = site.connect(TARGET);
    tunnel.send(b"hello");
    wait_for("the bytes", || recorder.bytes() == 5);
    site.gateway
        .reload(&config("", &policy("enforce", "", "{bytesOut: 10B}")));
    tunnel.pause(Duration::from_secs(1)).send(b"0123456789");
    wait_for("the bytes", || recorder.bytes() == 15);
    tunnel.send(b"x");
    assert!(tunnel.ends());
    assert_eq!(recorder.bytes(), 15);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_quota_that_a_reload_brings_has_no_room_for_ends() {
    let recorder = Recorder::start().await;
    let site = site("", "{rate: 1000/s}", &recorder);
    let open = [(); 2].map(|()| site.connect(TARGET).0);
    wait_for("both", || recorder.connections() == 2);
    site.gateway
        .reload(&config("", &policy("enforce", "", "{connections: 1}")));
    site.told("raw.example", "ended", "quota_connections");
    is_refused(&site.connect(TARGET).1, "quota_connections");
    drop(open);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_with_the_head_of_a_tunnel_is_counted_too() {
    let recorder = Recorder::start().await;
    let site = site("", "{bytesOut: 1kB}", &recorder);
    let begin = format!(
        "CONNECT {TARGET} HTTP/1.1\r\nHost: x\r\n\r\n{}",
        "a".repeat(600)
    );
    let mut first = Raw::connect(site.proxy());
    first.send(begin.as_bytes());
    assert_eq!(status_of(&first.response()), 200);
    wait_for("the bytes", || recorder.bytes() == 600);
    let mut second = Raw::connect(site.proxy());
    second.send(begin.as_bytes());
    assert_eq!(status_of(&second.response()), 200);
    assert!(second.ends());
    site.told("raw.example", "ended", "quota_bytes_out");
    assert_eq!(recorder.bytes(), 600, "nothing of what does not fit");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_looked_up_are_bytes_that_go_out() {
    let dns = Dns::start().await;
    let resolver = format!("resolver: {{servers: ['{}']}}", dns.address);
    let policy = |mode: &str| {
        format!(
            "  - {{name: all, subjects: [{{addresses: [127.0.0.0/8]}}], mode: {mode}, allowAll: true, \
             quota: {{bytesOut: 100B}}}}\n"
        )
    };
    let site = Site::start_with(&resolver, &policy("enforce"), &[], &[]);
    // Of 60 letters each, and none that DNS knows.
    let target = |first: &str| format!("{}.evil.example:443", first.repeat(47));
    let (_, answer) = site.connect(&target("a"));
    assert_eq!(reason(&answer), "egress/dns_nxdomain", "{answer}");
    let asked = dns.queries();
    assert!(asked > 0);
    is_refused(&site.connect(&target("b")).1, "quota_bytes_out");
    let plain = format!("http://{}/", target("c").replace(":443", ""));
    is_refused(&site.get(&plain), "quota_bytes_out");
    assert_eq!(dns.queries(), asked, "what does not fit is not asked for");
    // What is only reported goes on.
    site.gateway.reload(&config(&resolver, &policy("report")));
    let (_, answer) = site.connect(&target("d"));
    assert_eq!(reason(&answer), "egress/dns_nxdomain", "{answer}");
    assert!(dns.queries() > asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_an_upstream_proxy_looks_up_is_bytes_too() {
    let recorder = Recorder::start().await;
    let proxy = format!(
        "upstreamProxies: [{{name: up, addresses: ['{}'], resolve: proxy}}]",
        recorder.address
    );
    let site = site(&proxy, "{bytesOut: 10B}", &recorder);
    is_refused(&site.connect(TARGET).1, "quota_bytes_out");
    assert_eq!(recorder.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_at_once_and_their_rate_are_limited_for_each_client() {
    let recorder = Recorder::start().await;
    let at_once = site("", "{connections: 2}", &recorder);
    let first = at_once.connect(TARGET);
    let second = at_once.connect(TARGET);
    for (_, answer) in [&first, &second] {
        assert_eq!(status_of(answer), 200, "{answer}");
    }
    is_refused(&at_once.connect(TARGET).1, "quota_connections");
    assert_eq!(
        status_of(&connect_from(&at_once, "127.0.0.2", TARGET).1),
        200
    );
    drop(first);
    wait_for("a free place", || {
        status_of(&at_once.connect(TARGET).1) == 200
    });

    let rate = site("", "{rate: 2/m}", &recorder);
    for _ in 0..2 {
        assert_eq!(status_of(&rate.connect(TARGET).1), 200);
    }
    is_refused(&rate.connect(TARGET).1, "quota_rate");
    assert_eq!(status_of(&connect_from(&rate, "127.0.0.2", TARGET).1), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_reports_lets_what_is_over_its_quotas_pass_and_tells() {
    let recorder = Recorder::start().await;
    let site = site("", "{connections: 1000}", &recorder);
    site.gateway
        .reload(&config("", &policy("report", "", "{bytesOut: 10B}")));
    let (mut tunnel, answer) = site.connect(TARGET);
    assert_eq!(status_of(&answer), 200, "{answer}");
    tunnel.send(&[7; 1000]);
    wait_for("the bytes", || recorder.bytes() == 1000);
    let would = || {
        let lines = site.gateway.audit_lines().into_iter();
        let told = |line: &serde_json::Value| {
            line["verdict"] == "would_deny" && line["reason"] == "quota_bytes_out"
        };
        lines.filter(told).count()
    };
    drop(tunnel);
    wait_for("the first line", || would() == 1);
    let (tunnel, answer) = site.connect(TARGET);
    assert_eq!(status_of(&answer), 200, "{answer}");
    drop(tunnel);
    wait_for("the second line", || would() == 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_uploads_are_charged_with_their_heads_and_cut() {
    let backend = Backend::start("one").await;
    let public = format!("{PUBLIC}:80");
    let site = Site::start(
        &policy("enforce", "", "{bytesOut: 100kB}"),
        &[&format!("raw.example={PUBLIC}")],
        &[(&public, backend.address)],
    );
    let upload = |length: usize| {
        let head = format!(
            "POST http://raw.example/ HTTP/1.1\r\nHost: raw.example\r\nContent-Length: {length}\r\n\r\n"
        );
        let mut client = Raw::connect(site.proxy());
        client.send(head.as_bytes()).send(&vec![b'x'; length]);
        client
    };
    assert_eq!(status_of(&upload(60_000).response()), 200);
    assert!(upload(60_000).ends(), "it does not fit");
    site.told("raw.example", "ended", "quota_bytes_out");
    is_refused(&site.get("http://raw.example/"), "quota_bytes_out");
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_alone_spend_bytes_too() {
    let backend = Backend::start("one").await;
    let public = format!("{PUBLIC}:80");
    let site = Site::start(
        &policy("enforce", "", "{bytesOut: 10kB}"),
        &[&format!("raw.example={PUBLIC}")],
        &[(&public, backend.address)],
    );
    let url = format!("http://raw.example/?{}", "a".repeat(6000));
    assert_eq!(status_of(&site.get(&url)), 200);
    is_refused(&site.get(&url), "quota_bytes_out");
    assert_eq!(backend.seen().len(), 1, "the second went no further");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_client_is_refused_where_all_counts_are_in_use_and_none_is_forgotten() {
    let recorder = Recorder::start().await;
    let limits = "limits: {maxQuotaCounts: 2}";
    let site = site(limits, "{bytesOut: 20B, window: 6s}", &recorder);
    let (mut first, _) = site.connect(TARGET);
    first.send(&[7; 11]);
    assert!(first.ends());
    // Open to the end: closed, a count makes room when its window is over.
    let (_open, answer) = connect_from(&site, "127.0.0.2", TARGET);
    assert_eq!(status_of(&answer), 200);
    for last in 3..20 {
        let (_, answer) = connect_from(&site, &format!("127.0.0.{last}"), TARGET);
        is_refused(&answer, "quota_state_full");
    }
    is_refused(&site.connect(TARGET).1, "quota_bytes_out");
    wait_for("counts that are over to make room", || {
        status_of(&connect_from(&site, "127.0.0.3", TARGET).1) == 200
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn no_second_way_to_a_destination_is_a_way_out_of_its_quota() {
    let recorder = Recorder::start().await;
    let site = site("", "{rate: 2/h}", &recorder);
    let limited = policy("enforce", "", "{rate: 2/h}");
    let wide = policy(
        "enforce",
        ", {regex: 'raw\\.example', ports: [22], raw: true}",
        "{rate: 2/h}",
    );
    let other = "  - {name: other, subjects: [{addresses: [127.0.0.0/8]}], allow: [{host: raw.example, ports: [22], raw: true}]}\n";
    assert_eq!(status_of(&site.connect(TARGET).1), 200);
    for (policies, status) in [
        (wide, 200),
        (format!("{other}{limited}"), 429),
        (format!("{limited}{other}"), 429),
        (other.to_owned(), 200),
    ] {
        site.gateway.reload(&config("", &policies));
        assert_eq!(status_of(&site.connect(TARGET).1), status, "{policies}");
    }
}

/// Two policies for everybody, with and without a quota, under a floor.
fn under_floor(floor: &str, quota: &str) -> String {
    let subjects = "subjects: [{addresses: [127.0.0.0/8]}]";
    let entry = "host: raw.example, ports: [22], raw: true";
    let more = format!("clusterPolicies: [{{name: floor, {subjects}, {floor}}}]");
    let policies = format!(
        "  - {{name: own, {subjects}, allow: [{{{entry}, quota: {quota}}}]}}\n  - {{name: free, {subjects}, allow: [{{{entry}}}]}}\n"
    );
    config(&more, &policies)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_policy_loosens_the_quota_of_a_floor() {
    let recorder = Recorder::start().await;
    let site = site("", "{rate: 1000/s}", &recorder);
    let left =
        "delegate: {allow: [{host: raw.example, ports: [22], raw: true, quota: {rate: 1/h}}]}";
    for (floor, rule) in [("quota: {rate: 1/h}", None), (left, Some("raw.example"))] {
        site.gateway
            .reload(&under_floor(floor, "{connections: 1000}"));
        assert_eq!(status_of(&site.connect(TARGET).1), 200);
        let (_, answer) = site.connect(TARGET);
        is_refused(&answer, "quota_rate");
        assert!(answer.contains("\"policy\":\"floor\""), "{answer}");
        wait_for("its line", || {
            let lines = site.gateway.audit_lines();
            lines.iter().any(|line| {
                let told = (&line["policy"], line["rule"].as_str(), &line["status"]);
                told == (&"floor".into(), rule, &429.into())
            })
        });
        let trial = format!("mode: report, {floor}");
        site.gateway
            .reload(&under_floor(&trial, "{connections: 1000}"));
        let (tunnel, answer) = site.connect(TARGET);
        assert_eq!(status_of(&answer), 200, "{answer}");
        drop(tunnel);
        wait_for("the report", || {
            let lines = site.gateway.audit_lines();
            lines.iter().any(|line| {
                let told = (&line["verdict"], &line["reason"], line["rule"].as_str());
                told == (&"would_deny".into(), &"quota_rate".into(), rule)
            })
        });
    }
    // Nor does a floor loosen that of a policy.
    site.gateway
        .reload(&under_floor("quota: {connections: 1000}", "{rate: 1/h}"));
    assert_eq!(status_of(&site.connect(TARGET).1), 200);
    is_refused(&site.connect(TARGET).1, "quota_rate");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_has_one_count_wherever_it_speaks_from() {
    let recorder = Recorder::start().await;
    let issuer = TokenIssuer::new("one");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let keys = folder.path().join("jwks.json");
    replace(&keys, TokenIssuer::jwks(&[&issuer]));
    let tokens = serde_json::json!({
        "jwks": keys, "issuer": TokenIssuer::ISSUER, "audience": "portcullis",
    });
    let more = format!("identity: {{serviceAccountTokens: {tokens}}}");
    let site = site(&more, "{rate: 1/h}", &recorder);
    let connect = |source: &str, account: &str, pod: &str| {
        let mut claims = TokenIssuer::claims("portcullis", ("ci", account), 600);
        claims["kubernetes.io"]["pod"] = serde_json::json!({"name": pod, "uid": pod});
        let token = issuer.sign(&claims);
        let source: IpAddr = source.parse().expect("an address");
        let head =
            format!("CONNECT {TARGET} HTTP/1.1\r\nProxy-Authorization: Bearer {token}\r\n\r\n");
        let mut client = Raw::connect_from(source, site.proxy());
        client.send(head.as_bytes()).response()
    };
    for (source, account, pod, status) in [
        ("127.0.0.1", "builder", "one", 200),
        // Another token of the same pod, from another address.
        ("127.0.0.2", "builder", "one", 429),
        // What shares its address, its ServiceAccount or its name is another.
        ("127.0.0.1", "builder", "two", 200),
        ("127.0.0.1", "tester", "one", 200),
        ("127.0.0.1", "tester", "one", 429),
    ] {
        let answer = connect(source, account, pod);
        assert_eq!(
            status_of(&answer),
            status,
            "{source} {account} {pod}: {answer}"
        );
    }
}
