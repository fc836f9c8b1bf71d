//! Names, and what else stands where one should.

use portcullis_tests::{
    Backend, Dns, Raw, Recorder,
    egress_site::{PUBLIC, Site, allow, reason},
    raw, status_of,
};

use super::{checked, public};

const ASKED: [&str; 6] = [
    "example.test",
    "a.example.test",
    "a.b.example.test",
    "evil-example.test",
    "notexample.test",
    "example.test.attacker.invalid",
];

#[tokio::test(flavor = "multi_thread")]
async fn egr_02_a_pattern_means_whole_labels_or_is_refused_when_it_is_loaded() {
    for (pattern, says) in [
        (".example.test", "is not a host name"),
        ("*example.test", "`*.` stands only at the beginning"),
        (
            "*",
            "`*` allows everything (where that is meant, say `allowAll: true`)",
        ),
        ("*.test", "everything below a public suffix"),
        ("*.co.uk", "everything below a public suffix"),
        ("a.*.test", "`*.` stands only at the beginning"),
        ("https://example.test/", "is a URL; write the host alone"),
        (
            "example.test:443",
            "has a port; hosts are matched without it",
        ),
        ("example.test/x", "is a URL; write the host alone"),
    ] {
        let told = checked(&allow(&format!("['{pattern}']"))).expect_err(pattern);
        let place = "error: egress.policies[0].allow[0]: ";
        assert!(
            told.contains(place) && told.contains(says),
            "{pattern}: {told}"
        );
    }
    let recorder = Recorder::start().await;
    let names = public(&ASKED);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let map = [(&*format!("{PUBLIC}:443"), recorder.address)];
    for (pattern, open) in [
        // One label or more below, as deep as may be; never the apex.
        (
            "*.example.test",
            &["a.example.test", "a.b.example.test"][..],
        ),
        ("example.test", &["example.test"]),
        ("EXAMPLE.test.", &["example.test"]),
    ] {
        let site = Site::start(&allow(&format!("['{pattern}']")), &names, &map);
        for host in ASKED {
            let (_, answer) = site.connect(&format!("{host}:443"));
            let expected = match open.contains(&host) {
                true => (200, ""),
                false => (403, "egress/not_allowed"),
            };
            let got = (status_of(&answer), reason(&answer));
            assert_eq!(got, expected, "{pattern} {host}: {answer}");
        }
    }
    // What `*` is refused for, where it is said in words.
    let all = "  - {name: all, subjects: [{addresses: [127.0.0.0/8]}], allowAll: true}\n";
    let site = Site::start(all, &names, &map);
    for host in ASKED {
        assert_eq!(
            status_of(&site.connect(&format!("{host}:443")).1),
            200,
            "{host}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn egr_06_what_has_two_readings_reaches_nobody() {
    let backend = Backend::start("one").await;
    let dns = Dns::start().await;
    let resolver = format!("resolver: {{servers: ['{}']}}", dns.address);
    let site = Site::start_with(
        &resolver,
        &allow("[api.example.test, evil.test]"),
        &[],
        &[(&format!("{PUBLIC}:80"), backend.address)],
    );
    let long = format!("{}.test", "a.".repeat(125) + "abc");
    assert!(long.len() > 253, "{}", long.len());
    let hosts = [
        "api.example.test@evil.test",
        "u:p@api.example.test",
        "api.example.test%00.evil.test",
        "api.example.test%2eevil.test",
        "api.example.test\\@evil.test",
        "api.example.test evil.test",
        "api.example.test\tevil.test",
        "b\u{fc}cher.example.test",
        "api\u{3002}example.test",
        &long,
    ];
    let mut requests: Vec<String> = [
        "http:///x",
        "//api.example.test/",
        "ftp://api.example.test/",
        "https://api.example.test/",
        "http:api.example.test",
        "api.example.test",
    ]
    .map(|target| format!("GET {target} HTTP/1.1\r\nHost: api.example.test\r\n\r\n"))
    .into();
    for host in hosts {
        requests.push(format!(
            "GET http://{host}/ HTTP/1.1\r\nHost: api.example.test\r\n\r\n"
        ));
        requests.push(format!(
            "CONNECT {host}:443 HTTP/1.1\r\nHost: api.example.test\r\n\r\n"
        ));
    }
    for request in requests {
        let answer = raw(site.proxy(), request.as_bytes());
        assert_eq!(status_of(&answer), 400, "{request:?}: {answer}");
        assert_ne!(reason(&answer), "", "{request:?}");
    }
    assert_eq!((dns.queries(), backend.requests()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn egr_06_names_with_underscores_and_a_labels_are_names() {
    let backend = Backend::start("one").await;
    let names = ["my_host.example.test", "xn--bcher-kva.example.test"];
    let answers = public(&names);
    let answers: Vec<&str> = answers.iter().map(String::as_str).collect();
    let site = Site::start(
        &allow("[my_host.example.test, xn--bcher-kva.example.test]"),
        &answers,
        &[(&format!("{PUBLIC}:80"), backend.address)],
    );
    for host in [
        "my_host.example.test",
        "xn--bcher-kva.example.test",
        "XN--BCHER-KVA.example.test.",
    ] {
        let answer = site.get(&format!("http://{host}/"));
        assert_eq!(status_of(&answer), 200, "{host}: {answer}");
        let host = host.to_ascii_lowercase();
        assert_eq!(backend.last().header("host"), host.trim_end_matches('.'));
    }
    // One form in policies as well: the entry would match nothing that a client may send.
    let told = checked(&allow("['b\u{fc}cher.example.test']"));
    assert!(told.is_err_and(|told| told.contains("egress.policies[0].allow[0]: ")));
    // The other name of the case, which no entry has.
    let mut client = Raw::connect(site.proxy());
    let answer = client
        .send(b"GET http://evil.test/ HTTP/1.1\r\nHost: my_host.example.test\r\n\r\n")
        .response();
    assert_eq!(
        (status_of(&answer), reason(&answer)),
        (403, "egress/not_allowed")
    );
}
