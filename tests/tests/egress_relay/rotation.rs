//! Tokens, keys and the proxy itself change while the relay runs.

use portcullis_tests::{Authority, Echo, Raw, TokenIssuer, replace, status_of, wait_for};

use super::site::{Relay, Site, Volume, ask, reason, token};

#[tokio::test(flavor = "multi_thread")]
async fn a_new_token_is_shown_at_once_and_open_tunnels_stay() {
    let echo = Echo::start("").await;
    let (one, two) = (TokenIssuer::new("one"), TokenIssuer::new("two"));
    let site = Site::start("protocol: http", &one, &[(22, echo.address)]);
    let mut volume = Volume::new();
    volume.put(&token(&one, "first"));
    let relay = Relay::start(&site.url(), &volume, &[]);
    let (mut tunnel, answer) = relay.connect("raw.example:22");
    assert_eq!(status_of(&answer), 200, "{answer}");
    let says = |tunnel: &mut Raw, text: &[u8]| {
        tunnel.send(text);
        assert_eq!(tunnel.read(text.len()), text);
    };
    says(&mut tunnel, b"hello");
    // One connection of a client, over all of it.
    let mut waiting = Raw::connect(relay.address);
    let seen_as = |waiting: &mut Raw, count: usize| {
        let answer = ask(waiting, "other.example:22", "");
        let line = site.audit("other.example", count).pop().expect("a line");
        (
            status_of(&answer),
            line["identity"]["serviceAccount"].clone(),
        )
    };
    assert_eq!(seen_as(&mut waiting, 1), (403, "first".into()));
    volume.put(&token(&one, "second"));
    assert_eq!(seen_as(&mut waiting, 2), (403, "second".into()));
    says(&mut tunnel, b"after the token");

    // Keys: the new one is known first, then used, then the old one goes.
    site.trust(&[&one, &two]);
    volume.put(&token(&two, "third"));
    assert_eq!(seen_as(&mut waiting, 3), (403, "third".into()));
    let (mut later, answer) = relay.connect("raw.example:22");
    assert_eq!(status_of(&answer), 200, "{answer}");
    says(&mut tunnel, b"after the key");
    site.trust(&[&two]);
    says(&mut later, b"of the new key");
    assert!(tunnel.ends(), "what the old key opened is trusted no more");
    let opened = ask(&mut waiting, "raw.example:22", "");
    assert_eq!(status_of(&opened), 200, "{opened}");
    says(&mut waiting, b"hello");
    // A token of the old key is told to the client, and to nobody else.
    volume.put(&token(&one, "fourth"));
    let (_, answer) = relay.connect("raw.example:22");
    assert_eq!(
        (status_of(&answer), reason(&answer)),
        (407, "unknown_key"),
        "{answer}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_is_away_is_told_and_found_again() {
    let echo = Echo::start("").await;
    let issuer = TokenIssuer::new("one");
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let at = socket.local_addr().expect("it is bound");
    drop(socket);
    let mut volume = Volume::new();
    volume.put(&token(&issuer, "builder"));
    let relay = Relay::start(&format!("http://localhost:{}", at.port()), &volume, &[]);
    let mut connection = Raw::connect(relay.address);
    let away = |connection: &mut Raw| {
        let answer = ask(connection, "raw.example:22", "");
        assert_eq!(
            (status_of(&answer), reason(&answer)),
            (502, "relay_proxy_unreachable"),
            "{answer}"
        );
    };
    away(&mut connection);
    let (serves, said) = relay.probe();
    assert!(serves, "the relay itself is well: {said}");
    let listener = format!("address: '{at}'");
    for _ in 0..2 {
        let site = Site::start(&listener, &issuer, &[(22, echo.address)]);
        let (mut tunnel, answer) = relay.connect("raw.example:22");
        assert_eq!(status_of(&answer), 200, "{answer}");
        tunnel.send(b"hello");
        assert_eq!(tunnel.read(5), b"hello");
        drop(site);
        assert!(tunnel.ends(), "with the proxy");
        away(&mut connection);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_is_who_its_authority_says() {
    let echo = Echo::start("").await;
    let issuer = TokenIssuer::new("one");
    let site = Site::start("tls: {}", &issuer, &[(22, echo.address)]);
    let mut volume = Volume::new();
    volume.put(&token(&issuer, "builder"));
    let ca = volume.folder.path().join("proxy-ca.crt");
    replace(&ca, Authority::new().pem());
    let arguments = ["--proxy-ca", ca.to_str().expect("a path in UTF-8")];
    let relay = Relay::start(&site.url(), &volume, &arguments);
    let mut connection = Raw::connect(relay.address);
    let refused = |connection: &mut Raw| {
        let answer = ask(connection, "raw.example:22", "");
        assert_eq!(
            (status_of(&answer), reason(&answer)),
            (502, "relay_proxy_tls_failed"),
            "{answer}"
        );
    };
    refused(&mut connection);
    assert!(site.gateway.audit_lines().is_empty(), "no token was sent");
    // The file of authorities changes.
    replace(&ca, site.authority.pem());
    let (_tunnel, answer) = relay.connect("raw.example:22");
    assert_eq!(status_of(&answer), 200, "{answer}");
    // What is broken then leaves what was good.
    replace(&ca, "nothing");
    let (_tunnel, answer) = relay.connect("raw.example:22");
    assert_eq!(status_of(&answer), 200, "{answer}");
    wait_for("the log", || {
        relay.log().contains("the last good ones stay")
    });
    replace(&ca, Authority::new().pem());
    refused(&mut connection);
    // Another name than that of its certificate.
    replace(&ca, site.authority.pem());
    let port = site.gateway.at("egress/proxy").port();
    let other = Relay::start(&format!("https://127.0.0.1:{port}"), &volume, &arguments);
    refused(&mut Raw::connect(other.address));
    // In clear nothing is answered that could be taken for a proxy.
    let clear = Relay::start(&format!("http://127.0.0.1:{port}"), &volume, &[]);
    let (_, answer) = clear.connect("raw.example:22");
    assert_eq!(
        (status_of(&answer), reason(&answer)),
        (502, "relay_bad_answer"),
        "{answer}"
    );
}
