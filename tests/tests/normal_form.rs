//! The normal form of a path, row by row of docs/normal-form.md: what the backend
//! gets is what was judged.

use portcullis_tests::{Backend, Gateway, raw, status_of};

/// What becomes of a target: what the backend reads, or the reason of a refusal.
type Row = (&'static str, Result<&'static str, &'static str>);

async fn rows(policies: &str, rows: &[Row]) {
    let backend = Backend::start("one").await;
    let gateway = Gateway::start(&format!(
        r"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
backends: [{{name: one, endpoints: [{{address: {}}}]}}]
routes: [{{name: any, policies: {policies}, rules: [{{backends: [{{name: one}}]}}]}}]
",
        backend.address
    ));
    for (target, expected) in rows {
        let before = backend.requests();
        let request =
            format!("GET {target} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
        let answer = raw(gateway.http(), request.as_bytes());
        match expected {
            Ok(seen) => {
                assert_eq!(status_of(&answer), 200, "{target}: {answer}");
                assert_eq!(backend.last().target, *seen, "{target}");
            }
            Err(reason) => {
                assert_eq!(status_of(&answer), 400, "{target}: {answer}");
                let said = format!("normalise/{reason}\r\n");
                assert!(answer.contains(&said), "{target}: {answer}");
                assert_eq!(backend.requests(), before, "{target}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_has_one_form() {
    rows(
        "{}",
        &[
            ("/a/b", Ok("/a/b")),
            ("/a%20b/%7Ec?x=%2f", Ok("/a%20b/%7Ec?x=%2f")),
            ("/%61", Ok("/%61")),
            ("/caf%c3%a9", Ok("/caf%c3%a9")),
            ("/a/./b/../c", Ok("/a/c")),
            ("/a/%2e%2E/c", Ok("/c")),
            ("/a//b///c", Ok("/a/b/c")),
            ("/a/b/..", Ok("/a/")),
            ("/a;p=1/b", Ok("/a;p=1/b")),
            ("/?x=/../y", Ok("/?x=/../y")),
            ("http://a.example/b?c", Ok("/b?c")),
            ("http://a.example", Ok("/")),
            ("/a%2fb", Err("encoded-slash")),
            ("/a%5Cb", Err("backslash")),
            ("/a\\b", Err("backslash")),
            ("/a%2f..%2fb", Err("encoded-dot-segment")),
            ("/a%00", Err("control-byte")),
            ("/a%0d%0ab", Err("control-byte")),
            ("/a%zz", Err("malformed-escape")),
            ("/a%2", Err("malformed-escape")),
            ("/caf\u{e9}", Err("unescaped-byte")),
            ("/../a", Err("above-root")),
            ("/a/..;/b", Err("dot-parameter")),
            ("/a?b\tc", Err("malformed")),
            ("/a b", Err("malformed")),
            ("/a#b", Err("malformed")),
            ("https://b.example/", Err("malformed")),
            ("ftp://a.example/", Err("bad-target")),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_may_keep_escaped_slashes_as_a_part_of_a_name() {
    rows(
        "{encodedSlashes: keep}",
        &[
            (
                "/api/v4/projects/group%2Fproject",
                Ok("/api/v4/projects/group%2Fproject"),
            ),
            ("/bucket/a%2fb%5Cc?x", Ok("/bucket/a%2fb%5Cc?x")),
            ("/a/x%2Fy/../z", Ok("/a/z")),
            ("/a%2f..%2fb", Err("encoded-dot-segment")),
            ("/a/..%2fb", Err("encoded-dot-segment")),
            ("/a/%2e%2e%5cb", Err("encoded-dot-segment")),
            ("/a%2f.;x/b", Err("encoded-dot-segment")),
            ("/a\\b", Err("backslash")),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_escaped_slash_is_no_way_around_a_prefix() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::start(&format!(
        r"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
accessLists: [{{name: nobody, deny: ['0.0.0.0/0', '::/0']}}]
backends: [{{name: one, endpoints: [{{address: {}}}]}}]
routes:
- name: any
  policies: {{encodedSlashes: keep}}
  rules:
  - {{matches: [{{path: {{prefix: /admin}}}}], policies: {{access: [nobody]}}, backends: [{{name: one}}]}}
  - {{matches: [{{path: {{prefix: /app}}}}], backends: [{{name: one}}], rewrite: {{prefix: /v2}}}}
  - {{matches: [{{path: {{prefix: /closed}}}}], policies: {{encodedSlashes: refuse}}, backends: [{{name: one}}]}}
",
        backend.address
    ));
    for (target, status) in [
        ("/admin/x%2Fy", 403),
        ("/x/..%2fadmin", 400),
        ("/x%2f..%2fadmin", 400),
        // No segment of its own: another name, which no rule has.
        ("/admin%2fx", 400),
        ("/closed/a%2fb", 400),
        ("/app/a%2fb", 200),
    ] {
        let request =
            format!("GET {target} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
        let answer = raw(gateway.http(), request.as_bytes());
        assert_eq!(status_of(&answer), status, "{target}: {answer}");
    }
    assert_eq!(backend.requests(), 1);
    assert_eq!(backend.last().target, "/v2/a%2fb");
}
