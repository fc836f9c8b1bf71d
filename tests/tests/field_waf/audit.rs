//! Fields of the audit log that others read.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use portcullis_tests::{Backend, Client, Gateway, check, wait_for};
use serde_json::{Value, json};

use super::{browser, config, id_of, record, route, send};

const RULE: &str = "SecRule ARGS:q \"@contains marker7\" \
    \"id:7,phase:2,deny,status:406,log,msg:'A marker',logdata:'%{MATCHED_VAR}',severity:'CRITICAL',tag:'a',tag:'b'\"";

fn profiles(settings: &str) -> String {
    format!("- name: own\n  rules:\n  - inline: |\n      {settings}\n      {RULE}\n")
}

/// Clients are those that a proxy on this machine names.
const TRUST: &str = "clientAddress: {trustedProxies: [127.0.0.1]}\n";

fn asked(target: &str, host: &str) -> Request<Full<Bytes>> {
    let request = Request::get(target).header("x-forwarded-for", "198.51.100.7");
    browser(request, host, "")
}

#[tokio::test(flavor = "multi_thread")]
async fn waf_40_a_record_has_what_others_rely_on() {
    let backend = Backend::start("one").await;
    let routes = route("block.test", "{waf: {profile: own}}")
        + &route("detect.test", "{waf: {profile: own, mode: detect}}");
    for (settings, with_messages) in [
        (
            "SecAuditEngine RelevantOnly\n      SecAuditLogFormat JSON\n      SecAuditLogParts ABIJDEFHZ",
            true,
        ),
        ("SecAuditLogParts ABHKZ", true),
        ("SecAuditLogParts ZKHBA", true),
        (
            "SecAuditLogFormat Native\n      SecAuditLogRelevantStatus \"^(?:5|4(?!04))\"",
            true,
        ),
        ("SecAuditLogParts ABKZ", false),
    ] {
        let yaml = config(backend.address, &profiles(settings), &routes) + TRUST;
        let gateway = Gateway::start(&yaml);
        let blocked = send(&gateway, asked("/x?q=marker7%0a%00%ff", "block.test")).await;
        assert_eq!(blocked.status(), 406);
        let detected = send(&gateway, asked("/status/500?q=marker7", "detect.test")).await;
        assert_eq!(detected.status(), 500);
        for (target, status) in [("/status/404", 404), ("/status/500", 500)] {
            let answer = send(&gateway, asked(target, "block.test")).await;
            assert_eq!(answer.status(), status);
            gateway.access_line(&id_of(&answer));
        }

        let page: Value = serde_json::from_slice(blocked.body()).expect("JSON");
        let id = id_of(&blocked);
        assert_eq!(page["requestId"], *id);
        assert_eq!(gateway.access_line(&id)["client"], "198.51.100.7");
        let line = record(&gateway, &id);
        let transaction = &line["transaction"];
        assert_eq!(transaction["unique_id"], *id);
        assert_eq!(transaction["client_ip"], "198.51.100.7");
        assert_eq!(transaction["request"]["method"], "GET");
        assert_eq!(transaction["request"]["uri"], "/x?q=marker7%0a%00%ff");
        assert_eq!(transaction["response"]["http_code"], 406);
        assert_eq!(line["waf"]["verdict"], "blocked");
        assert_eq!(line["waf"]["interruption"]["phase"], 2);
        assert_eq!(line["waf"]["interruption"]["status"], 406);
        let messages = transaction["messages"].as_array();
        assert_eq!(messages.is_some(), with_messages, "{settings}");
        if let Some(messages) = messages {
            assert_eq!(messages.len(), 1);
            let (details, message) = (&messages[0]["details"], &messages[0]["message"]);
            assert_eq!(message, "A marker");
            assert_eq!(details["ruleId"], "7");
            assert_eq!(details["severity"], "2");
            assert_eq!(details["tags"], json!(["a", "b"]));
            assert_eq!(details["data"], "marker7\\x0a\\x00\\xff");
            assert!(!details["file"].as_str().unwrap_or_default().is_empty());
            let number = details["lineNumber"].as_str().expect("text");
            assert!(
                number.parse::<u32>().is_ok_and(|number| number > 0),
                "{number}"
            );
        }
        // The rules that matched are there, whatever the letters are.
        assert_eq!(line["waf"]["matches"][0]["rule"], 7);

        let line = record(&gateway, &id_of(&detected));
        assert_eq!(line["waf"]["verdict"], "detected");
        assert_eq!(line["waf"]["interruption"], Value::Null);
        assert_eq!(line["waf"]["wouldInterrupt"]["status"], 406);
        assert_eq!(line["transaction"]["response"]["http_code"], 500);
        // What no rule matched has no record, whatever its status.
        assert_eq!(gateway.audit_lines().len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn waf_40_under_load_every_record_is_one_whole_line() {
    let backend = Backend::start("one").await;
    let routes = route("block.test", "{waf: {profile: own}}");
    let gateway = Gateway::start(&config(backend.address, &profiles(""), &routes));
    let address = gateway.http();
    let clients = (0..10).map(|client| {
        tokio::spawn(async move {
            let mut ids = Vec::new();
            let mut connection = Client::h1(address).await;
            for request in 0..10 {
                let target = format!("/?q=marker7%0a{client}-{request}");
                let answer = connection
                    .send(asked(&target, "block.test"))
                    .await
                    .expect("an answer");
                assert_eq!(answer.status(), 406);
                ids.push(id_of(&answer));
            }
            ids
        })
    });
    let mut ids = Vec::new();
    for client in clients.collect::<Vec<_>>() {
        ids.extend(client.await.expect("no panic"));
    }
    let file = gateway.folder().join("audit.log");
    let read = || std::fs::read_to_string(&file).unwrap_or_default();
    let mut text = String::new();
    // Records are written many at once, and the last may be there in part.
    wait_for("all records", || {
        text = read();
        text.ends_with('\n') && text.lines().count() == ids.len()
    });
    let mut told: Vec<String> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("one JSON object a line"))
        .map(|line| {
            line["transaction"]["unique_id"]
                .as_str()
                .expect("text")
                .to_owned()
        })
        .collect();
    told.sort_unstable();
    ids.sort_unstable();
    assert_eq!(told, ids);
}

#[test]
fn waf_40_what_the_gateway_decides_itself_is_told_at_load() {
    let backend = "127.0.0.1:9".parse().expect("an address");
    let routes = route("block.test", "{waf: {profile: own}}");
    for (settings, accepted, told) in [
        (
            "SecAuditLogRelevantStatus \"^(?:5|4(?!04))\"",
            true,
            "SecAuditLogRelevantStatus has no effect: the gateway decides this",
        ),
        (
            "SecAuditLogFormat Native",
            true,
            "SecAuditLogFormat has no effect",
        ),
        (
            "SecAuditLogParts ABIJZ",
            true,
            "bodies are never written down",
        ),
        (
            "SecAuditLogParts AXZ",
            false,
            "expected letters of ABCDEFGHIJKZ",
        ),
    ] {
        let (was, text) = check(&config(backend, &profiles(settings), &routes));
        assert_eq!(was, accepted, "{settings}: {text}");
        assert!(text.contains(told), "{settings}: {text}");
    }
}
