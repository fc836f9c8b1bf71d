//! What people see of a refusal, with the clients that they use.

use std::{
    path::Path,
    process::{Command, Output},
};

use portcullis_tests::{Raw, installed, raw, status_of};
use serde_json::Value;

use super::site::{PUBLIC, Site, allow, reason};

const CONTACT: &str = "https://wiki.example/egress?team=a\"b";

fn site() -> Site {
    let more = format!("refusals: {{contact: '{CONTACT}'}}");
    let entries = allow("['*.wild.example', {host: api.example, methods: [GET], paths: [/open]}]");
    Site::start_with(
        &more,
        &entries.replace("allow:", "deny: ['*.evil.example'], allow:"),
        &[&format!("x.wild.example={PUBLIC}")],
        &[],
    )
}

/// The status line, the value of a header, and the body.
fn parts(answer: &str) -> (String, impl Fn(&str) -> String + use<>, Value) {
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let line = head.lines().next().unwrap_or_default().to_owned();
    let head = head.to_owned();
    let header = move |name: &str| {
        let values = head.lines().filter_map(|line| line.split_once(": "));
        let values = values.filter(|(known, _)| *known == name);
        values.map(|(_, value)| value).collect()
    };
    (line, header, serde_json::from_str(body).expect("JSON"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_names_the_destination_the_policy_and_whom_to_ask() {
    let site = site();
    let tunnel = |target: &str| site.connect(target).1;
    for (answer, code, rule) in [
        (tunnel("NEW.example.:443"), "not_allowed", Value::Null),
        (
            tunnel("x.wild.example:8443"),
            "port_not_allowed",
            Value::Null,
        ),
        (
            tunnel("api.example:443"),
            "request_not_allowed",
            "api.example".into(),
        ),
        (
            tunnel("a.evil.example:443"),
            "denied_host",
            "*.evil.example".into(),
        ),
        (
            site.get("http://new.example/x?secret=1"),
            "not_allowed",
            Value::Null,
        ),
    ] {
        let (line, header, body) = parts(&answer);
        assert_eq!(line, format!("HTTP/1.1 403 Forbidden egress/{code}"));
        assert_eq!(header("x-portcullis-reason"), format!("egress/{code}"));
        assert_eq!(header("x-portcullis-policy"), "all");
        assert_eq!(
            header("x-portcullis-rule"),
            rule.as_str().unwrap_or_default()
        );
        let told = [&body["reason"], &body["policy"], &body["rule"]];
        assert_eq!(
            told,
            [&Value::from(code), &Value::from("all"), &rule],
            "{body}"
        );
        assert_eq!(
            (&body["contact"], &body["canBeAllowed"]),
            (&CONTACT.into(), &true.into())
        );
        assert_eq!(
            header("x-request-id"),
            body["requestId"].as_str().unwrap_or_default()
        );
        let message = body["message"].as_str().expect("a sentence");
        let host = body["host"].as_str().expect("a host");
        let begins = format!("{host}:{} is refused by the policy \"all\": ", body["port"]);
        assert!(message.starts_with(&begins), "{message}");
        assert!(message.ends_with(CONTACT), "{message}");
        assert!(code == "denied_host" || !answer.contains('*'), "{answer}");
        assert!(!answer.contains("secret"), "{answer}");
    }
    let (_, _, body) = parts(&tunnel("NEW.example.:443"));
    assert_eq!(
        (&body["host"], &body["port"]),
        (&"new.example".into(), &443.into())
    );
    // Nobody can be asked for these.
    let (line, header, body) = parts(&tunnel("169.254.169.254:80"));
    assert_eq!(line, "HTTP/1.1 403 Forbidden egress/always_blocked");
    assert_eq!(header("x-portcullis-policy"), "");
    assert_eq!(
        (&body["contact"], &body["canBeAllowed"]),
        (&Value::Null, &false.into())
    );
    // What fails behind the decision says that it was not reached.
    let (line, _, body) = parts(&tunnel("y.wild.example:443"));
    assert!(line.starts_with("HTTP/1.1 50"), "{line}");
    let message = body["message"].as_str().expect("a sentence");
    assert!(
        message.starts_with("y.wild.example:443 is not reached: "),
        "{message}"
    );

    // Without a contact none is told, and one comes with a reload.
    site.gateway
        .reload(&super::site::config("", &allow("[api.example]")));
    let (_, _, body) = parts(&tunnel("new.example:443"));
    assert_eq!(body["contact"], Value::Null, "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_client_sends_gets_out_of_its_field() {
    let site = site();
    for host in [
        "a.example\rx-evil: 1",
        "a.example\"},{\"x-evil\":1",
        "a.example%0d%0ax-evil:1",
        "x-evil:1:443",
        "<script>x-evil</script>",
        "a\u{85}x-evil",
        "a\u{2028}x-evil",
        "a\0x-evil",
        "a\u{1b}[31mx-evil",
        "x-evil..example",
        "x-evil@a.example",
    ] {
        let connect = format!("CONNECT {host}:443 HTTP/1.1\r\nHost: x\r\n\r\n");
        let get = format!("GET http://{host}/x-evil HTTP/1.1\r\nHost: x\r\nX: x-evil\r\n\r\n");
        for request in [connect, get] {
            let answer = raw(site.proxy(), request.as_bytes());
            assert_eq!(status_of(&answer), 400, "{request:?}: {answer}");
            let (line, _, body) = parts(&answer);
            assert_eq!(
                line,
                format!("HTTP/1.1 400 Bad Request {}", reason(&answer))
            );
            assert!(!answer.contains("x-evil"), "{request:?}: {answer}");
            assert_eq!(
                (&body["host"], &body["contact"]),
                (&Value::Null, &Value::Null)
            );
        }
    }
    // A method that is a reason, and a host that is a header, stay what they are.
    let request = "200 http://set-cookie.example/ HTTP/1.1\r\nHost: a\r\n\r\n";
    let answer = Raw::connect(site.proxy())
        .send(request.as_bytes())
        .response();
    let (line, header, body) = parts(&answer);
    assert_eq!(line, "HTTP/1.1 403 Forbidden egress/not_allowed");
    assert_eq!(header("set-cookie"), "");
    assert_eq!(body["host"], "set-cookie.example");
}

/// Runs a client, where it is installed.
fn run(program: &str, folder: &Path, arguments: &[&str], proxy: &str) -> Option<String> {
    if installed(program).is_none() {
        eprintln!("skipped: {program} is not installed");
        return None;
    }
    let output: Output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .env("PROXY", proxy)
        .env("GOFLAGS", "-mod=mod")
        .env("GOCACHE", folder.join("cache"))
        .output()
        .expect("it runs");
    let text = [output.stdout, output.stderr].concat();
    Some(String::from_utf8_lossy(&text).into_owned())
}

const URLLIB: &str = r#"
import os, urllib.request
proxy = os.environ["PROXY"]
opener = urllib.request.build_opener(urllib.request.ProxyHandler({"https": proxy, "http": proxy}))
for url in ("https://new.example/", "http://new.example/"):
    try:
        opener.open(url)
    except Exception as error:
        print(error)
"#;
const REQUESTS: &str = r#"
import os
try:
    import requests
except ImportError:
    print("not installed")
else:
    try:
        requests.get("https://new.example/", proxies={"https": os.environ["PROXY"]})
    except Exception as error:
        print(error)
"#;
const GO: &str = r#"package main

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
)

func main() {
	proxy, _ := url.Parse(os.Getenv("PROXY"))
	client := http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(proxy)}}
	_, err := client.Get("https://new.example/")
	fmt.Println(err)
	answer, err := client.Get("http://new.example/")
	fmt.Println(answer.Status, err)
}
"#;
const NODE: &str = r#"
const proxy = new URL(process.env.PROXY);
const request = require("http").request({
  host: proxy.hostname, port: proxy.port, method: "CONNECT", path: "new.example:443",
});
request.on("connect", (answer, socket, head) => {
  console.log(answer.statusCode, answer.statusMessage, answer.headers["x-portcullis-policy"]);
  socket.destroy();
});
request.end();
"#;
const JAVA: &str = r#"
import java.net.*;

class Ask {
    public static void main(String[] arguments) throws Exception {
        URI at = new URI(System.getenv("PROXY"));
        Proxy proxy = new Proxy(Proxy.Type.HTTP, new InetSocketAddress(at.getHost(), at.getPort()));
        try {
            new URL("https://new.example/").openConnection(proxy).getInputStream();
        } catch (java.io.IOException error) {
            System.out.println(error.getMessage());
        }
    }
}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn clients_show_the_reason_to_people() {
    let site = site();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).expect("writable");
    };
    write("ask.go", GO);
    write("Ask.java", JAVA);
    let proxy = format!("http://{}", site.proxy());
    let line = "403 Forbidden egress/not_allowed";
    let curl = ["-sS", "-v", "--max-time", "10", "--proxy", &proxy];
    let verbose = [curl.as_slice(), &["https://new.example/"]].concat();
    let plain = [curl.as_slice(), &["http://new.example/"]].concat();
    for (program, arguments, told) in [
        ("curl", verbose, vec![line, "response 403"]),
        ("curl", plain, vec![line, CONTACT_IN_JSON]),
        (
            "python3",
            vec!["-c", URLLIB],
            vec![
                "Tunnel connection failed: 403 Forbidden egress/not_allowed",
                "HTTP Error 403: Forbidden egress/not_allowed",
            ],
        ),
        ("python3", vec!["-c", REQUESTS], vec![line]),
        (
            "go",
            vec!["run", "ask.go"],
            vec![
                "\"https://new.example/\": Forbidden egress/not_allowed",
                line,
            ],
        ),
        (
            "node",
            vec!["-e", NODE],
            vec!["403 Forbidden egress/not_allowed all"],
        ),
        (
            "java",
            vec!["Ask.java"],
            vec!["HTTP/1.1 403 Forbidden egress/not_allowed"],
        ),
    ] {
        let ran = tokio::task::block_in_place(|| run(program, folder.path(), &arguments, &proxy));
        let Some(text) = ran else { continue };
        if text == "not installed\n" {
            eprintln!("skipped: requests is not installed");
            continue;
        }
        for told in told {
            assert!(text.contains(told), "{program}: {told:?} is not in: {text}");
        }
    }
}

/// The contact as JSON has it.
const CONTACT_IN_JSON: &str = r#"https://wiki.example/egress?team=a\"b"#;
