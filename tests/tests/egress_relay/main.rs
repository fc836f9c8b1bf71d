//! The relay beside the clients of the egress proxy: the pod's token of now, for clients that
//! know nothing of it.

mod limits;
mod rotation;
mod site;

use portcullis_tests::{
    Authority, Backend, Echo, Nobody, Raw, Recorder, TokenIssuer, raw, replace, sha256, status_of,
    wait_for,
};
use serde_json::json;
use tokio::net::TcpListener;

use site::{Relay, Site, Volume, ask, reason, token};

#[tokio::test(flavor = "multi_thread")]
async fn curl_needs_no_token_and_is_known_by_that_of_its_pod() {
    let authority = Authority::new();
    let plain = Backend::start("plain").await;
    let tls = Backend::start_tls("tls", authority.server(&["api.example"], &["http/1.1"])).await;
    let issuer = TokenIssuer::new("one");
    for listener in ["protocol: http", "tls: {}"] {
        let targets = [(80, plain.address), (443, tls.address)];
        let site = Site::start(listener, &issuer, &targets);
        let proxy_ca = site.gateway.folder().join("ca.crt");
        let proxy_ca = proxy_ca.to_str().expect("a path in UTF-8");
        let mut volume = Volume::new();
        let secret = token(&issuer, "builder");
        volume.put(&secret);
        let more = match listener {
            "tls: {}" => &["--proxy-ca", proxy_ca][..],
            _ => &[],
        };
        let relay = Relay::start(&site.url(), &volume, more);
        let ca = volume.folder.path().join("ca.crt");
        replace(&ca, authority.pem());
        // A client's own word goes no further, however it is said.
        let own = ["--proxy-header", "Proxy-Authorization: Bearer mine"];
        let user = ["--proxy-user", "me:mine"];
        let mut asked = 0;
        for (scheme, more, url, expected) in [
            ("http", &[][..], "https://api.example/x", "tls /x"),
            ("http", &[], "http://api.example/x?y=1", "plain /x?y=1"),
            ("http", &own, "https://api.example/x", "tls /x"),
            ("http", &own, "http://api.example/x", "plain /x"),
            ("http", &user, "https://api.example/x", "tls /x"),
            ("http", &user, "http://api.example/x", "plain /x"),
            ("socks5h", &[], "https://API.example/x", "tls /x"),
            ("socks5h", &[], "http://api.example/x", "plain /x"),
        ] {
            let said = relay.curl(scheme, &ca, more, url);
            asked += 1;
            // In a tunnel on port 80 a server sees a path, and no proxy.
            let path = expected.replace("plain ", "");
            assert!(said.ends_with(&path), "{scheme} {url}: {said}");
            assert_eq!(said, expected, "{scheme} {url}");
            for backend in [&plain, &tls] {
                let seen = backend.seen();
                let told = seen.iter().map(|seen| seen.header("proxy-authorization"));
                assert!(told.into_iter().all(str::is_empty));
            }
        }
        let body = "z".repeat(2 << 20);
        let file = volume.folder.path().join("body");
        std::fs::write(&file, &body).expect("writable");
        let data = format!("@{}", file.display());
        for (url, backend) in [
            ("https://api.example/up", &tls),
            ("http://api.example/up", &plain),
        ] {
            let said = relay.curl("http", &ca, &["--data-binary", &data], url);
            asked += 1;
            assert_eq!(
                backend.last().body_sha256,
                sha256(body.as_bytes()),
                "{said}"
            );
        }
        let chunked = [
            "-X",
            "GET",
            "-H",
            "Transfer-Encoding: chunked",
            "--data-binary",
            "some",
        ];
        let said = relay.curl("http", &ca, &chunked, "http://api.example/search");
        asked += 1;
        assert_eq!(plain.last().body_sha256, sha256(b"some"), "{said}");
        for line in site.audit("api.example", asked) {
            assert_eq!(line["identity"]["serviceAccount"], "builder", "{line}");
            assert_eq!(line["verdict"], "allow", "{line}");
        }
        let signature = secret.rsplit('.').next().expect("a signature");
        assert!(!relay.log().contains(signature), "{}", relay.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_nothing_goes_to_the_proxy() {
    // Whoever is asked in place of the proxy hears nothing.
    let proxy = Recorder::start().await;
    let volume = Volume::new();
    let relay = Relay::start(&format!("http://{}", proxy.address), &volume, &[]);
    let mut connection = Raw::connect(relay.address);
    let missing = |what: &str, connection: &mut Raw| {
        let answer = ask(
            connection,
            "api.example:443",
            "Proxy-Authorization: Bearer mine\r\n",
        );
        assert_eq!(status_of(&answer), 503, "{what}: {answer}");
        assert_eq!(reason(&answer), "relay_token_unreadable", "{what}");
        let body = answer.split("\r\n\r\n").nth(1).expect("a body");
        let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(body["reason"], "relay_token_unreadable", "{what}");
        let (serves, said) = relay.probe();
        assert!(!serves && said.contains("relay_token_unreadable"), "{said}");
    };
    missing("no file", &mut connection);
    for (what, text) in [
        ("an empty file", String::new()),
        ("a line feed", "\n".into()),
        ("two lines", "a\nb".into()),
        ("a large file", "t".repeat(1 << 20)),
    ] {
        std::fs::write(volume.token_file(), text).expect("writable");
        missing(what, &mut connection);
    }
    std::fs::remove_file(volume.token_file()).expect("it is there");
    std::fs::create_dir(volume.token_file()).expect("writable");
    missing("a folder", &mut connection);
    let plain = "POST http://api.example/ HTTP/1.1\r\nHost: api.example\r\nContent-Length: 3\r\nProxy-Authorization: Basic eDp5\r\n\r\nabc";
    let answer = raw(relay.address, plain.as_bytes());
    assert_eq!(
        (status_of(&answer), reason(&answer)),
        (503, "relay_token_unreadable")
    );
    let mut socks = Raw::connect(relay.address);
    socks.send(&[5, 1, 0]);
    assert_eq!(socks.read(2), [5, 0]);
    socks.send(b"\x05\x01\x00\x03\x0bapi.example\x01\xbb");
    assert_eq!(socks.read(2), [5, 1], "a general failure");
    assert_eq!((proxy.connections(), proxy.bytes()), (0, 0));
    assert_eq!(relay.log().matches("cannot be read").count(), 1);
    // The same connection is good again when the token is there.
    std::fs::remove_dir(volume.token_file()).expect("it is empty");
    std::fs::write(volume.token_file(), "a.b.c\n").expect("writable");
    connection.send(b"CONNECT api.example:443 HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_for("the proxy", || proxy.bytes() > 0);
    let (serves, said) = relay.probe();
    assert!(serves, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_proxy_answers_comes_through_as_it_is() {
    let echo = Echo::start("").await;
    let issuer = TokenIssuer::new("one");
    let nobody = Nobody::here();
    let targets = [(22, echo.address), (443, nobody.address)];
    let site = Site::start("protocol: http", &issuer, &targets);
    let mut volume = Volume::new();
    volume.put(&token(&issuer, "builder"));
    let relay = Relay::start(&site.url(), &volume, &[]);
    let mut connection = Raw::connect(relay.address);
    let refused = ask(&mut connection, "other.example:443", "");
    assert_eq!(status_of(&refused), 403, "{refused}");
    assert_eq!(reason(&refused), "not_allowed");
    assert!(refused.contains("\"canBeAllowed\":true"), "{refused}");
    let line = &site.audit("other.example", 1)[0];
    let id = line["requestId"].as_str().expect("an id");
    assert!(refused.contains(&format!("x-request-id: {id}\r\n")));
    let plain = "GET http://other.example/ HTTP/1.1\r\nHost: x\r\n\r\n";
    let answer = raw(relay.address, plain.as_bytes());
    assert_eq!((status_of(&answer), reason(&answer)), (403, "not_allowed"));

    // A token that is no longer good is the proxy's to judge.
    let expired = TokenIssuer::claims("portcullis", ("ci", "builder"), 600);
    let mut claims = expired;
    claims["exp"] = json!(1_700_000_000);
    volume.put(&issuer.sign(&claims));
    let plain = raw(relay.address, plain.as_bytes());
    for answer in [ask(&mut connection, "raw.example:22", ""), plain] {
        assert_eq!(status_of(&answer), 407, "{answer}");
        assert_eq!(reason(&answer), "token_expired");
        let challenge = "\r\nproxy-authenticate: Basic realm=\"portcullis\", Bearer\r\n";
        assert!(answer.contains(challenge), "{answer}");
    }
    volume.put(&token(&issuer, "builder"));
    let opened = ask(&mut connection, "raw.example:22", "");
    assert_eq!(status_of(&opened), 200, "{opened}");
    assert!(opened.contains("x-request-id: "), "{opened}");
    connection.send(b"hello");
    assert_eq!(connection.read(5), b"hello");

    // What is sent ahead of the answer belongs to the tunnel.
    let mut eager = Raw::connect(relay.address);
    eager.send(b"CONNECT raw.example:22 HTTP/1.1\r\nHost: x\r\n\r\nahead");
    assert_eq!(status_of(&eager.response()), 200);
    assert_eq!(eager.read(5), b"ahead");
    // And behind a refusal to nobody.
    let mut eager = Raw::connect(relay.address);
    eager.send(b"CONNECT other.example:22 HTTP/1.1\r\nHost: x\r\n\r\nahead");
    assert_eq!(status_of(&eager.response()), 403);
    assert!(eager.ends());
    // SOCKS has codes for the same.
    let socks = |name: &[u8; 11], port: u16| {
        let mut client = Raw::connect(relay.address);
        client.send(&[5, 1, 0]);
        client.read(2);
        client.send(&[&[5, 1, 0, 3, 11][..], name, &port.to_be_bytes()].concat());
        client.read(2)
    };
    assert_eq!(socks(b"raw.example", 22), [5, 0]);
    assert_eq!(socks(b"no1.example", 22), [5, 2]);
    assert_eq!(socks(b"api.example", 443), [5, 5], "nobody listens there");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_two_readings_is_refused_before_the_proxy_hears_of_it() {
    let proxy = Recorder::start().await;
    let mut volume = Volume::new();
    volume.put("a.b.c");
    let relay = Relay::start(&format!("http://{}", proxy.address), &volume, &[]);
    for (target, told) in [
        ("127.1:443", "numeric_host"),
        ("api.example", "bad_authority"),
        ("user@api.example:443", "bad_host"),
        ("api.example:443:443", "bad_port"),
    ] {
        let (_, answer) = relay.connect(target);
        assert_eq!(
            (status_of(&answer), reason(&answer)),
            (400, told),
            "{target}"
        );
    }
    for (request, told) in [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "not_a_proxy_request"),
        (
            "GET /healthzz HTTP/1.1\r\nHost: x\r\n\r\n",
            "not_a_proxy_request",
        ),
        (
            "POST http://a.example/ HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            "bad_framing",
        ),
        (
            "CONNECT a.example:443 HTTP/1.1\nHost: x\r\n\r\n",
            "bad_line_ending",
        ),
    ] {
        let answer = raw(relay.address, request.as_bytes());
        assert_eq!(
            (status_of(&answer), reason(&answer)),
            (400, told),
            "{request}"
        );
    }
    assert_eq!(proxy.connections(), 0);
    // One canonical form is asked for, with one field of who asks.
    let mut client = Raw::connect(relay.address);
    client.send(
        b"CONNECT API.Example.:443 HTTP/1.1\r\nHost: other\r\nProxy-Authorization: Basic eDp5\r\nproxy-authorization: Bearer mine\r\nX-Mine: 1\r\n\r\n",
    );
    let expected = "CONNECT api.example:443 HTTP/1.1\r\nHost: api.example:443\r\nProxy-Authorization: Bearer a.b.c\r\n\r\n";
    wait_for("the head", || proxy.bytes() == expected.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn either_side_ends_its_direction_alone() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let target = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let at = target.local_addr().expect("it is bound");
    let issuer = TokenIssuer::new("one");
    for listener in ["protocol: http", "tls: {}"] {
        let site = Site::start(listener, &issuer, &[(22, at)]);
        let ca = site.gateway.folder().join("ca.crt");
        let ca = ca.to_str().expect("a path in UTF-8");
        let mut volume = Volume::new();
        volume.put(&token(&issuer, "builder"));
        let more = match listener {
            "tls: {}" => &["--proxy-ca", ca][..],
            _ => &[],
        };
        let relay = Relay::start(&site.url(), &volume, more);
        let (mut client, answer) = relay.connect("raw.example:22");
        assert_eq!(status_of(&answer), 200, "{answer}");
        let (mut server, _) = target.accept().await.expect("a tunnel");
        client.send(b"question").finish();
        let mut read = Vec::new();
        server.read_to_end(&mut read).await.expect("an end");
        assert_eq!(read, b"question");
        server.write_all(b"answer").await.expect("it is sent");
        drop(server);
        assert_eq!(client.read_all(), "answer");

        let (mut client, _) = relay.connect("raw.example:22");
        let (mut server, _) = target.accept().await.expect("a tunnel");
        server.write_all(b"banner").await.expect("it is sent");
        server.shutdown().await.expect("it is told");
        assert_eq!(client.read_all(), "banner");
        client.send(b"later").finish();
        let mut read = Vec::new();
        server.read_to_end(&mut read).await.expect("an end");
        assert_eq!(read, b"later");
    }
}
