//! Ways round an egress policy, collected from the field, against the real proxy.
//!
//! The cases lie beside the clone; `PORTCULLIS_CASES` says where. Those about pods (K05, K06, K08,
//! K10, K11) are in the tests of the cluster and of the gateway's `identity::pods`; those that need
//! what is not built yet (transparent mode) are counted by their kind.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use portcullis_tests::{
    Authority, Backend, Client, Gateway, Inside, Raw, Recorder, TokenIssuer, check, status_of,
    with_ech,
};
use serde_json::{Value, json};

const PUBLIC: &str = "93.184.216.34";

/// The entries of a case, with the quotas of ours.
fn entries(allow: &Value) -> Value {
    let mut allow = allow.clone();
    for entry in allow.as_array_mut().into_iter().flatten() {
        let most = entry
            .as_object_mut()
            .and_then(|entry| entry.remove("maxBytesOutPerDay"));
        if let Some(most) = most {
            entry["quota"] = json!({"bytesOut": format!("{most}B"), "window": "1d"});
        }
    }
    allow
}

/// The policy of a case as a configuration.
fn config(policy: &Value) -> String {
    let mut deny = policy["deny"].as_array().cloned().unwrap_or_default();
    let denied = policy["denyCidr"].as_array().cloned().unwrap_or_default();
    deny.extend(denied.into_iter().map(|cidr| json!({ "cidr": cidr })));
    let empty = json!([]);
    let or_empty = |value: &Value| {
        if value.is_null() {
            empty.clone()
        } else {
            value.clone()
        }
    };
    let mut egress = json!({
        "listeners": [
            { "name": "proxy", "address": "127.0.0.1:0" },
            { "name": "socks", "address": "127.0.0.1:0", "protocol": "socks5" },
        ],
        "clusterRanges": or_empty(&policy["clusterCidrs"]),
        "limits": { "clientHelloTimeout": "500ms" },
        "policies": [{
            "name": "case",
            "subjects": [{ "addresses": ["127.0.0.0/8"] }],
            "mode": policy["mode"].as_str().unwrap_or("enforce"),
            "allow": or_empty(&entries(&policy["allow"])),
            "deny": deny,
        }],
    });
    if policy["identity"] == "required" {
        egress["identity"] = json!({"level": "required", "serviceAccountTokens": {
            "jwks": "jwks.json",
            "issuer": TokenIssuer::ISSUER,
            "audience": "portcullis",
        }});
    }
    format!("egress: {egress}\n")
}

/// What a case sends: its bytes, or a request with the token that it describes.
fn input(case: &Value, issuer: &TokenIssuer) -> String {
    let input = case["input"].as_str().expect("bytes");
    let Some(audience) = input.strip_prefix("token aud=") else {
        return input.to_owned();
    };
    let token = issuer.sign(&TokenIssuer::claims(audience, ("ci", "builder"), 600));
    format!("CONNECT api.example.com:443 HTTP/1.1\r\nProxy-Authorization: Bearer {token}\r\n\r\n")
}

/// Scripted answers of a case: a list, or a list of successive lists.
fn answers(resolver: &Value) -> Vec<String> {
    let mut entries = Vec::new();
    for (name, given) in resolver.as_object().into_iter().flatten() {
        let given = given.as_array().cloned().unwrap_or_default();
        let successive = if given.iter().all(Value::is_array) && !given.is_empty() {
            given
        } else {
            vec![Value::Array(given)]
        };
        for answer in successive {
            let addresses: Vec<&str> = answer
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .filter(|text| text.parse::<std::net::IpAddr>().is_ok())
                .collect();
            if !addresses.is_empty() {
                entries.push(format!("{name}={}", addresses.join(",")));
            }
        }
    }
    // One entry makes the script the only source of answers.
    entries.push(format!("scripted.invalid={PUBLIC}"));
    entries
}

/// A ClientHello for a name or none, cut into records.
fn client_hello(sni: Option<&str>, records: usize) -> Vec<u8> {
    let name = match sni {
        Some(name) => rustls_pki_types::ServerName::try_from(name.to_owned()).expect("a name"),
        // An address sends no SNI.
        None => std::net::IpAddr::from([192, 0, 2, 1]).into(),
    };
    let config = Authority::new().client(&["http/1.1"]);
    let mut client = rustls::ClientConnection::new(config, name).expect("a client");
    let mut hello = Vec::new();
    client.write_tls(&mut hello).expect("in memory");
    let body = &hello[5..];
    let size = body.len().div_ceil(records.max(1));
    body.chunks(size)
        .flat_map(|part| {
            let [high, low] = u16::try_from(part.len()).expect("short").to_be_bytes();
            [&[0x16, 3, 1, high, low], part].concat()
        })
        .collect()
}

/// Bytes in hexadecimal and texts in quotes, in the messages that `|` parts.
fn messages(input: &str) -> Vec<Vec<u8>> {
    let message = |text: &str| {
        let mut bytes = Vec::new();
        for (place, part) in text.split('\'').enumerate() {
            if place % 2 == 1 {
                bytes.extend(part.replace("\\x00", "\0").bytes());
                continue;
            }
            let digits: Vec<u8> = part.bytes().filter(|byte| *byte != b' ').collect();
            for pair in digits.chunks(2) {
                let pair = std::str::from_utf8(pair).expect("ASCII");
                bytes.push(u8::from_str_radix(pair, 16).expect("hexadecimal"));
            }
        }
        bytes
    };
    input.split('|').map(message).collect()
}

/// Runs a case of SOCKS, and tells the code of the reply and the audit record.
fn run_socks(gateway: &Gateway, case: &Value) -> (u8, Value) {
    let mut client = Raw::connect(gateway.at("egress/socks"));
    for message in messages(case["input"].as_str().expect("bytes")) {
        client.send(&message);
    }
    assert_eq!(client.read(2), [5, 0], "the method");
    let reply = client.read(10);
    drop(client);
    portcullis_tests::wait_for("the audit line", || !gateway.audit_lines().is_empty());
    (reply[1], gateway.audit_lines().remove(0))
}

/// Whether a reason says what a case expects. Ours are finer in places: they tell
/// what no policy can allow from what one can, and which part of a name is wrong.
fn says(ours: &str, expected: &Value) -> bool {
    let Some(expected) = expected.as_str() else {
        return true;
    };
    let finer: &[&str] = match expected {
        "special_address" => &["always_blocked", "private_address"],
        "cluster_address" => &["private_address"],
        "ip_literal" | "not_allowed" => &["always_blocked"],
        "bad_authority" => &["bad_port"],
        "bad_host" => &["duplicate_host"],
        _ => &[],
    };
    ours == expected || finer.contains(&ours)
}

/// What looks into TLS, and what is behind it.
struct Interception {
    /// Whom clients trust.
    authority: Authority,
    /// Whom the proxy trusts.
    destinations: Authority,
}

/// The credential that entries of a case add.
const CREDENTIAL: &str = "credential-of-the-proxy";

/// The policy of a case that is looked into, in the words of the configuration.
fn inspected(policy: &Value) -> Value {
    let mut policy = policy.clone();
    for entry in policy["allow"].as_array_mut().into_iter().flatten() {
        if let Some(inject) = entry.get_mut("inject").and_then(Value::as_object_mut) {
            // What is there by default.
            inject.remove("onlyInjected");
            inject.insert("value".into(), "credential".into());
        }
        let paths = entry.get_mut("paths").and_then(Value::as_array_mut);
        for path in paths.into_iter().flatten() {
            let prefix = path.as_str().and_then(|path| path.strip_suffix("/*"));
            if let Some(prefix) = prefix.map(str::to_owned) {
                *path = prefix.into();
            }
        }
    }
    policy
}

/// Runs a case inside TLS: what the client gets, what the audit log has, and what the destination
/// saw.
async fn run_inside(case: &Value, tls: &Interception) -> Result<(), String> {
    let then = &case["then"];
    let host = then["client_hello"]["sni"].as_str().expect("a name");
    let server = tls.destinations.server(&[host], &["h2", "http/1.1"]);
    let backend = Backend::start_tls("one", server).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, text) in [
        ("ca.crt", tls.authority.pem()),
        ("ca.key", tls.authority.key_pem()),
        ("trust.crt", tls.destinations.pem()),
        ("credential", CREDENTIAL.to_owned()),
    ] {
        std::fs::write(folder.path().join(name), text).expect("writable");
    }
    let egress = json!({
        "listeners": [{ "name": "proxy", "address": "127.0.0.1:0" }],
        "inspection": { "certificate": "ca.crt", "key": "ca.key", "trust": "trust.crt" },
        "policies": [{
            "name": "case",
            "subjects": [{ "addresses": ["127.0.0.0/8"] }],
            "allow": inspected(&case["policy"])["allow"],
        }],
    });
    let mut arguments = Vec::new();
    for entry in answers(&case["resolver"]) {
        arguments.extend(["--test-dns".to_owned(), entry]);
    }
    let map = format!("{PUBLIC}:443={}", backend.address);
    arguments.extend(["--test-address-map".to_owned(), map]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let gateway = Gateway::start_in(folder, &format!("egress: {egress}\n"), &arguments);
    let proxy = gateway.at("egress/proxy");
    let target = format!("{host}:443");

    let (status, reason) = if then["client_alert"].is_string() {
        let pinned = Authority::named("another").client(&["http/1.1"]);
        let refused = Inside::connect(proxy, &target, pinned);
        (u16::from(refused.is_ok()), String::new())
    } else if let Some(authority) = then["inner_h2"][":authority"].as_str() {
        let client = tls.authority.client(&["h2"]);
        let client = Client::tls_through(proxy, &target, client, true).await;
        let answer = client.expect("a handshake").get(authority, "/").await;
        let answer = answer.expect("an answer");
        let reason = answer.headers().get("x-portcullis-reason");
        let reason = reason
            .and_then(|reason| reason.to_str().ok())
            .unwrap_or_default();
        (answer.status().as_u16(), reason.replace("egress/", ""))
    } else {
        let client = tls.authority.client(&["http/1.1"]);
        let mut tunnel = Inside::connect(proxy, &target, client).expect("a handshake");
        let answer = tunnel.ask(then["inner_http"].as_str().expect("a request"));
        let reason = header(&answer, "x-portcullis-reason");
        (status_of(&answer), reason.replace("egress/", ""))
    };
    let told = |line: &Value| match then["client_alert"].is_string() {
        true => line["method"] == "CONNECT",
        false => line["tunnel"].is_string(),
    };
    portcullis_tests::wait_for("the audit line", || gateway.audit_lines().iter().any(told));
    let line = gateway
        .audit_lines()
        .into_iter()
        .find(told)
        .expect("it is there");
    let expect = &case["expect"];
    let is_allowed = expect["decision"] == "allow";
    let seen = backend.seen();
    let entries = case["policy"]["allow"].as_array().expect("entries");
    let headers = entries
        .iter()
        .filter_map(|entry| entry["inject"]["header"].as_str());
    let injected = headers.into_iter().any(|header| {
        seen.iter()
            .any(|seen| seen.header(&header.to_ascii_lowercase()) == CREDENTIAL)
    });
    let agrees = [
        // A client that does not trust the proxy gets nothing at all.
        expect["status"] == status || expect["status"] == "close" && status == 0,
        is_allowed != seen.is_empty(),
        is_allowed == (line["verdict"] == "allow"),
        expect["reason"].is_null() || is_allowed || expect["reason"] == line["reason"],
        expect["reason"].is_null() || reason.is_empty() || expect["reason"] == *reason,
        expect["injected"]
            .as_bool()
            .is_none_or(|expected| expected == injected),
        !gateway
            .audit_lines()
            .iter()
            .any(|line| line.to_string().contains(CREDENTIAL)),
    ];
    match agrees.iter().all(|agrees| *agrees) {
        true => Ok(()),
        false => Err(format!(
            "{agrees:?} {status} {reason} {line} {seen:?}, expected {expect}"
        )),
    }
}

struct Outcome {
    status: u16,
    reason: String,
    /// Whether the tunnel was cut after its first bytes.
    cut: bool,
    leaked: u64,
    challenge: String,
}

/// The value of a header of an answer.
fn header(answer: &str, name: &str) -> String {
    let of_name = |line: &str| Some(line.strip_prefix(name)?.strip_prefix(": ")?.to_owned());
    answer.lines().find_map(of_name).unwrap_or_default()
}

/// A gateway with the policy and the answers of a case.
fn start(case: &Value, recorder: &Recorder, backend: &Backend, issuer: &TokenIssuer) -> Gateway {
    let mut arguments = Vec::new();
    for entry in answers(&case["resolver"]) {
        arguments.extend(["--test-dns".to_owned(), entry]);
    }
    let dial = case["expect"]["dial"].as_str().map(str::to_owned);
    let mut dials = vec![format!("{PUBLIC}:443"), format!("{PUBLIC}:80")];
    dials.extend(dial);
    dials.sort();
    dials.dedup();
    for from in dials {
        let to = if case["kind"] == "http" {
            backend.address
        } else {
            recorder.address
        };
        arguments.extend(["--test-address-map".to_owned(), format!("{from}={to}")]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let keys = TokenIssuer::jwks(&[issuer]);
    std::fs::write(folder.path().join("jwks.json"), keys).expect("writable");
    Gateway::start_in(folder, &config(&case["policy"]), &arguments)
}

/// Runs the case of a quota: a tunnel sends more, is cut, and a new one is refused.
fn run_quota(gateway: &Gateway, recorder: &Recorder) -> Result<(), String> {
    let connect = || {
        let mut client = Raw::connect(gateway.at("egress/proxy"));
        client.send(b"CONNECT api.example.com:443 HTTP/1.1\r\n\r\n");
        let answer = client.response();
        (client, answer)
    };
    let before = recorder.bytes();
    let (mut tunnel, answer) = connect();
    let mut bytes = client_hello(Some("api.example.com"), 1);
    bytes.resize(1_100_000, 0);
    tunnel.send(&bytes);
    let is_cut = status_of(&answer) == 200 && tunnel.ends();
    portcullis_tests::wait_for("the audit line", || !gateway.audit_lines().is_empty());
    let ended = gateway.audit_lines()[0]["ended"].clone();
    let sent = recorder.bytes() - before;
    let (_, answer) = connect();
    let then = (status_of(&answer), header(&answer, "x-portcullis-reason"));
    let is_right = is_cut
        && ended == "quota_bytes_out"
        && (1..=1_000_000).contains(&sent)
        && then == (429, "egress/quota_bytes_out".to_owned());
    match is_right {
        true => Ok(()),
        false => Err(format!("cut={is_cut} {ended} {sent} {then:?}")),
    }
}

fn run(case: &Value, recorder: &Recorder, backend: &Backend) -> Outcome {
    let issuer = TokenIssuer::new("one");
    let gateway = start(case, recorder, backend, &issuer);
    let before = recorder.bytes();
    let mut connection = Raw::connect(gateway.at("egress/proxy"));
    connection.send(input(case, &issuer).as_bytes());
    let answer = connection.response();
    let mut outcome = Outcome {
        status: status_of(&answer),
        reason: header(&answer, "x-portcullis-reason").replace("egress/", ""),
        cut: false,
        leaked: 0,
        challenge: header(&answer, "proxy-authenticate"),
    };
    let then = match &case["then"] {
        Value::String(bytes) => bytes.as_bytes().to_vec(),
        Value::Object(then) => {
            let hello = &then["client_hello"];
            let records = hello["records"].as_u64().unwrap_or(1);
            let made = client_hello(
                hello["sni"].as_str(),
                usize::try_from(records).expect("few"),
            );
            match hello["ech"].is_string() {
                true => with_ech(made),
                false => made,
            }
        }
        _ => Vec::new(),
    };
    if outcome.status == 200 && !then.is_empty() {
        connection.send(&then);
        let passed = || recorder.bytes() - before >= then.len() as u64;
        if case["expect"]["decision"] == "allow" {
            portcullis_tests::wait_for("the bytes", passed);
        } else {
            outcome.cut = connection.ends();
            portcullis_tests::wait_for("the audit line", || !gateway.audit_lines().is_empty());
            let line = &gateway.audit_lines()[0];
            outcome.reason = line["reason"].as_str().unwrap_or_default().to_owned();
        }
        outcome.leaked = recorder.bytes() - before;
    }
    outcome
}

#[tokio::test(flavor = "multi_thread")]
async fn no_known_way_round_a_policy_is_open() {
    let Some(folder) = std::env::var_os("PORTCULLIS_CASES").map(PathBuf::from) else {
        println!("skipped: PORTCULLIS_CASES does not say where the cases are");
        return;
    };
    let text = std::fs::read_to_string(folder.join("egress.yaml")).expect("the cases are there");
    let cases: Value = serde_saphyr::from_str(&text).expect("the cases are YAML");
    let (recorder, backend) = (Recorder::start().await, Backend::start("one").await);
    let mut later: BTreeMap<String, usize> = BTreeMap::new();
    let (mut ran, mut wrong) = (0, Vec::new());
    let interception = Interception {
        authority: Authority::named("authority of the proxy"),
        destinations: Authority::named("authority of destinations"),
    };
    let mut ids = BTreeSet::new();
    for case in cases["cases"].as_array().expect("a list") {
        let id = case["id"].as_str().expect("an id");
        let kind = case["kind"].as_str().expect("a kind");
        // What describes a pod or its address needs a cluster.
        let is_asked = case["input"]
            .as_str()
            .is_some_and(|input| input.starts_with("CONNECT ") || input.starts_with("token aud="));
        let needs_pods = !matches!(case["policy"]["identity"].as_str(), None | Some("required"));
        let is_quota = case["policy"].to_string().contains("maxBytes");
        match kind {
            "connect" | "http" | "tunnel" => {}
            "mitm" => {
                ran += 1;
                ids.insert(id);
                if let Err(told) = run_inside(case, &interception).await {
                    wrong.push(format!("{id}: {told}"));
                }
                continue;
            }
            "identity" if is_quota => {
                ran += 1;
                ids.insert(id);
                let gateway = start(case, &recorder, &backend, &TokenIssuer::new("one"));
                if let Err(what) = run_quota(&gateway, &recorder) {
                    wrong.push(format!("{id}: {what}, expected {}", case["expect"]));
                }
                continue;
            }
            "identity" if is_asked && !needs_pods => {}
            // An entry that must not load.
            "config" if case["policy"]["allow"].is_array() => {
                ran += 1;
                ids.insert(id);
                let (accepted, told) = check(&config(&case["policy"]));
                if accepted || !told.contains(": error: egress.policies[0].allow[") {
                    wrong.push(format!("{id}: {told:?}, expected {}", case["expect"]));
                }
                continue;
            }
            "socks5" => {
                ran += 1;
                let (code, line) = run_socks(
                    &start(case, &recorder, &backend, &TokenIssuer::new("one")),
                    case,
                );
                let expect = &case["expect"];
                let refused = expect["decision"] != "allow";
                let reason = line["reason"].as_str().unwrap_or_default();
                if expect["socks"] != code || (refused && !says(reason, &expect["reason"])) {
                    wrong.push(format!("{id}: {code} {line}, expected {expect}"));
                }
                continue;
            }
            _ => {
                *later.entry(kind.to_owned()).or_default() += 1;
                continue;
            }
        }
        ran += 1;
        ids.insert(id);
        let outcome = run(case, &recorder, &backend);
        let expect = &case["expect"];
        let status_agrees = match &expect["status"] {
            Value::String(_) => outcome.cut && outcome.leaked == 0,
            // What the destination answers is not the proxy's.
            Value::Number(status) => {
                status.as_u64() == Some(outcome.status.into())
                    || (kind == "http" && expect["decision"] == "allow" && outcome.status == 200)
            }
            _ => {
                let allow = expect["decision"]
                    .as_str()
                    .is_some_and(|d| d.starts_with("allow"));
                allow == (outcome.status == 200)
            }
        };
        let refused = matches!(expect["decision"].as_str(), Some("deny" | "error"));
        let asks =
            expect["status"] != 407 || outcome.challenge == "Basic realm=\"portcullis\", Bearer";
        if !asks || !status_agrees || (refused && !says(&outcome.reason, &expect["reason"])) {
            wrong.push(format!(
                "{id}: {} {:?} cut={} leaked={}, expected {expect}\n    {}",
                outcome.status, outcome.reason, outcome.cut, outcome.leaked, case["input"]
            ));
        }
    }
    for id in [
        "K01-no-token",
        "K03-wrong-audience",
        "K16-quota",
        "C23-wide-cidr-load",
        "G02-inner-h2-authority",
        "G03-inject-wrong-upstream",
        "G05-strip-by-connection",
        "G07-client-credential",
        "G08-path-dot-segments",
        "G10-pinned-client",
    ] {
        assert!(ids.contains(id), "{id}");
    }
    println!("{ran} cases ran; for later: {later:?}");
    assert!(ran > 50, "{ran}");
    assert!(
        wrong.is_empty(),
        "{} of {ran}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
