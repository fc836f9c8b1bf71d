//! Addresses: their spellings, their classes, and what policies say of them.

use std::process::Command;

use portcullis_tests::{
    Backend, Dns, Raw, Recorder,
    egress_site::{PUBLIC, Site, allow, config, reason},
    portcullis, status_of, wait_for,
};

use super::checked;

/// Loopback and a metadata service, as `inet_aton` would read them.
const SPELLINGS: [&str; 9] = [
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "127.1",
    "017700000001",
    "0251.0376.0251.0376",
    "169.254.43518",
    "2852039166",
    "0xA9.0xFE.0xA9.0xFE",
];

/// What curl gets through a proxy: a status, 0 where there was no answer.
fn curl(proxy: std::net::SocketAddr, more: &[&str], url: &str) -> u16 {
    let output = Command::new("curl")
        .args(["-s", "--max-time", "10", "-o", "/dev/null", "-x"])
        .arg(format!("http://{proxy}"))
        .args(["-w", "%{http_code} %{http_connect}"])
        .args(more)
        .arg(url)
        .output()
        .expect("curl runs");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let codes = printed.split(' ').filter_map(|code| code.parse().ok());
    codes.max().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn egr_03_other_spellings_of_an_address_are_refused_and_never_looked_up() {
    let recorder = Recorder::start().await;
    let dns = Dns::start().await;
    let all = "  - {name: all, subjects: [{addresses: [127.0.0.0/8]}], allowAll: true}\n";
    let resolver = format!("resolver: {{servers: ['{}']}}", dns.address);
    let site = Site::start_with(&resolver, all, &[], &[]);
    let port = recorder.address.port();
    for host in SPELLINGS {
        for target in [
            format!("{host}:{port}"),
            format!("{host}:80"),
            format!("{host}:443"),
        ] {
            let (_, tunnel) = site.connect(&target);
            let plain = site.get(&format!("http://{target}/"));
            for answer in [tunnel, plain] {
                let got = (status_of(&answer), reason(&answer));
                assert_eq!(got, (400, "egress/numeric_host"), "{target}: {answer}");
            }
        }
        // curl makes a dotted quad of most of them, which is refused for what it is.
        for (more, url) in [
            (&[][..], format!("http://{host}:{port}/")),
            (&["-p"], format!("http://{host}:{port}/")),
            (&["-k"], format!("https://{host}:{port}/")),
        ] {
            let status = curl(site.proxy(), more, &url);
            assert!([400, 403].contains(&status), "{url}: {status}");
        }
    }
    assert_eq!((dns.queries(), recorder.connections()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn egr_03_an_address_that_is_denied_is_denied_in_every_spelling() {
    // The metadata service needs no entry, and one is told that it changes nothing.
    let told = checked(&allow(
        "[{cidr: 0.0.0.0/0}], deny: [{cidr: 169.254.169.254/32}]",
    ));
    let told = told.expect_err("an entry without use");
    assert!(
        told.contains("deny[0]: 169.254.169.254/32 can never be reached: it is always blocked"),
        "{told}"
    );

    let backend = Backend::start("one").await;
    let site = Site::start(
        &allow(&format!(
            "[{{cidr: 0.0.0.0/0}}, {{cidr: '::/0'}}], deny: [{{cidr: {PUBLIC}/32}}]"
        )),
        &[],
        &[(&format!("{PUBLIC}:80"), backend.address)],
    );
    for (host, expected) in [
        (PUBLIC, (403, "egress/denied_address")),
        ("[::ffff:93.184.215.14]", (403, "egress/denied_address")),
        ("[64:ff9b::5db8:d70e]", (403, "egress/denied_address")),
        ("1572394766", (400, "egress/numeric_host")),
        ("0x5db8d70e", (400, "egress/numeric_host")),
        ("0135.0270.0327.016", (400, "egress/numeric_host")),
        ("93.184.55054", (400, "egress/numeric_host")),
        ("169.254.169.254", (403, "egress/always_blocked")),
    ] {
        let answer = site.get(&format!("http://{host}/"));
        assert_eq!(
            (status_of(&answer), reason(&answer)),
            expected,
            "{host}: {answer}"
        );
        let (_, answer) = site.connect(&format!("{host}:80"));
        assert_eq!(
            (status_of(&answer), reason(&answer)),
            expected,
            "{host}: {answer}"
        );
    }
    assert_eq!(backend.requests(), 0);
}

/// A public address of IPv6.
const PUBLIC_V6: &str = "2606:2800:21f:cb07:6820:80da:af6b:8b2c";

#[tokio::test(flavor = "multi_thread")]
async fn egr_05_brackets_hold_an_address_of_ipv6_and_nothing_else() {
    let recorder = Recorder::start().await;
    // No exception opens loopback, and an entry that would is refused.
    let told = checked(&allow("[{cidr: '::1/128', ports: [9443]}]"));
    assert!(
        told.expect_err("loopback")
            .contains("::1/128 can never be reached")
    );
    let entries = format!(
        "[{{cidr: '{PUBLIC_V6}/128', ports: [9443], raw: true}}, {{host: api.example.com, ports: [443]}}]"
    );
    let site = Site::start(
        &allow(&entries),
        &[&format!("api.example.com={PUBLIC}")],
        &[
            (&format!("[{PUBLIC_V6}]:9443"), recorder.address),
            (&format!("{PUBLIC}:443"), recorder.address),
        ],
    );
    let (mut tunnel, answer) = site.connect(&format!("[{PUBLIC_V6}]:9443"));
    assert_eq!(status_of(&answer), 200, "{answer}");
    tunnel.send(b"hello");
    wait_for("the bytes", || recorder.bytes() == 5);
    assert_eq!(status_of(&site.connect("[::1]:9443").1), 403);
    for target in [
        &format!("{PUBLIC_V6}:9443"),
        &format!("[{PUBLIC_V6}]"),
        "::1:9443",
        "[::1]",
        "[api.example.com]:443",
        "[93.184.215.14]:443",
        "[::1%25lo]:9443",
        "[::1]x:9443",
        "api.example.com",
        "api.example.com:",
        "api.example.com:0",
        "api.example.com:65536",
        "api.example.com:443x",
        "api.example.com:+443",
        "/path",
        "http://api.example.com:443",
    ] {
        let (_, answer) = site.connect(target);
        assert_eq!(status_of(&answer), 400, "{target}: {answer}");
        assert_ne!(reason(&answer), "", "{target}");
    }
    // `Host` of a CONNECT says nothing.
    for (target, host, status) in [
        ("api.example.com:443", "evil.test:443", 200),
        ("evil.test:443", "api.example.com:443", 403),
    ] {
        let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let answer = Raw::connect(site.proxy())
            .send(request.as_bytes())
            .response();
        assert_eq!(status_of(&answer), status, "{target} {host}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn egr_08_a_private_address_is_opened_by_its_own_entry_alone() {
    let recorder = Recorder::start().await;
    let map = [("10.1.2.3:443", recorder.address)];
    let names = ["partner.test=10.1.2.3", "other.test=10.1.2.3"];
    let closed = Site::start(&allow("[{host: partner.test, ports: [443]}]"), &names, &map);
    let (_, answer) = closed.connect("partner.test:443");
    assert_eq!(
        (status_of(&answer), reason(&answer)),
        (403, "egress/private_address")
    );
    assert!(answer.contains("partner.test:443 is refused"), "{answer}");
    let line = closed.audit("partner.test");
    assert_eq!(
        (&line["reason"], &line["resolved"][0]),
        (&"private_address".into(), &"10.1.2.3".into())
    );
    assert_eq!(recorder.connections(), 0);
    // Of two names with the address, the one whose entry says so.
    let open = allow("[{host: partner.test, ports: [443], private: true, raw: true}, other.test]");
    let open = Site::start(&open, &names, &map);
    let (mut tunnel, answer) = open.connect("partner.test:443");
    assert_eq!(status_of(&answer), 200, "{answer}");
    tunnel.send(b"x");
    wait_for("the byte", || recorder.bytes() == 1);
    let (_, answer) = open.connect("other.test:443");
    assert_eq!(reason(&answer), "egress/private_address", "{answer}");
}

/// The case wants the narrower of two to win. Here deny beats allow, as in NetworkPolicy-like
/// policies that are put together from several owners: an exception that a second policy could make
/// from a ban would be a way round the ban. So of the reverse pair both addresses are denied, and
/// who writes an exception is told so.
#[tokio::test(flavor = "multi_thread")]
async fn egr_09_deny_beats_allow_and_an_exception_from_it_is_told() {
    let backend = Backend::start("one").await;
    let addresses = [
        "93.184.216.5",
        "93.184.216.6",
        "93.184.217.7",
        "93.184.217.8",
        "93.184.218.9",
    ];
    let map = addresses.map(|address| (format!("{address}:80"), backend.address));
    let map: Vec<_> = map.iter().map(|(from, to)| (from.as_str(), *to)).collect();
    let policies = allow(
        "[{cidr: 93.184.216.0/24}, {cidr: 93.184.217.7/32}, {cidr: 93.184.218.9/32}], \
         deny: [{cidr: 93.184.216.5/32}, {cidr: 93.184.217.0/24}, {cidr: 93.184.218.9/32}]",
    );
    let site = Site::start(&policies, &[], &map);
    for (address, status) in addresses.into_iter().zip([403, 200, 403, 403, 403]) {
        let answer = site.get(&format!("http://{address}/"));
        assert_eq!(status_of(&answer), status, "{address}: {answer}");
        if status == 403 {
            assert_eq!(reason(&answer), "egress/denied_address", "{address}");
        }
    }
    let warned = site.gateway.log();
    for (entry, deny) in [(1, 1), (2, 2)] {
        let told = format!("egress.policies[0].allow[{entry}]: it opens nothing: deny[{deny}], ");
        assert!(warned.contains(&told), "{told}: {warned}");
    }
    assert!(!warned.contains("allow[0]: it opens nothing"), "{warned}");
    // Which entry it was is told before anybody is refused.
    let file = site.gateway.folder().join("explained.yaml");
    std::fs::write(&file, config("", &policies)).expect("writable");
    for (address, code, told) in [
        ("93.184.216.5", 1, "deny[0]"),
        ("93.184.216.6", 0, "allow[0]"),
        ("93.184.217.7", 1, "deny[1]"),
    ] {
        let output = Command::new(portcullis())
            .args(["egress", "test"])
            .arg(&file)
            .args(["--as", "address=127.0.0.1", &format!("{address}:80")])
            .output()
            .expect("the binary runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(code), "{address}: {text}");
        assert!(
            text.contains(&format!("egress.policies[0].{told}")),
            "{address}: {text}"
        );
    }
}
