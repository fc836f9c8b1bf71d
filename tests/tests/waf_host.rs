//! The host that rules see is the one that routes go by.

use portcullis_tests::{Backend, Gateway, h2c, raw, status_of};

/// Tells by its status what rules see of the host.
const RULES: &str = r#"
      SecRule &REQUEST_HEADERS:Host "@eq 0" "id:1,phase:1,pass,nolog,setvar:tx.none=1"
      SecRule TX:none "@eq 1" "id:2,phase:1,deny,status:410,chain"
        SecRule SERVER_NAME "@streq %{tx.empty}"
      SecRule SERVER_NAME "!@streq a.test" "id:3,phase:1,deny,status:411"
      SecRule &REQUEST_HEADERS:Host "!@eq 1" "id:4,phase:1,deny,status:412"
      SecRule REQUEST_HEADERS:Host "@streq A.test:80" "id:5,phase:1,deny,status:418"
      SecRule REQUEST_HEADERS:Host "@streq a.test." "id:6,phase:1,deny,status:419"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn rules_see_the_host_that_routes_go_by() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::start(&format!(
        "
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
wafProfiles:
- name: own
  rules:
  - inline: |{RULES}
backends: [{{name: one, endpoints: [{{address: '{}'}}]}}]
routes:
- {{name: a, hosts: [a.test], policies: {{waf: {{profile: own}}}}, rules: [{{backends: [{{name: one}}]}}]}}
- {{name: any, policies: {{waf: {{profile: own}}}}, rules: [{{matches: [{{path: {{prefix: /any}}}}], backends: [{{name: one}}]}}]}}
",
        backend.address
    ));
    for (head, status) in [
        ("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close", 200),
        (
            "GET / HTTP/1.1\r\nHost: A.test:80\r\nConnection: close",
            418,
        ),
        ("GET / HTTP/1.1\r\nHost: a.test.\r\nConnection: close", 419),
        (
            "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nConnection: close",
            200,
        ),
        ("GET / HTTP/1.0\r\nHost: a.test", 200),
        // The backend gets the host of the target, and rules see it.
        ("GET http://a.test/ HTTP/1.0", 200),
        ("GET http://A.test:80/ HTTP/1.0", 418),
        // Two readings: refused before any rule.
        ("GET http://a.test/ HTTP/1.0\r\nHost:", 400),
        // Nobody names one.
        ("GET /any HTTP/1.0", 410),
        ("GET /any HTTP/1.0\r\nHost:", 411),
        ("GET http://b.test/any HTTP/1.0", 411),
    ] {
        let answer = raw(gateway.http(), format!("{head}\r\n\r\n").as_bytes());
        assert_eq!(status_of(&answer), status, "{head}: {answer}");
        if status == 200 {
            assert_eq!(backend.last().header("host"), "a.test", "{head}");
        }
    }
    let mut client = h2c(gateway.http()).await;
    let answer = client.get("a.test", "/").await.expect("an answer");
    assert_eq!(answer.status(), 200);
}
