//! UDP listeners: every datagram is passed on, in sessions.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use portcullis_tests::{Gateway, UdpClient, UdpEcho, wait_for};

/// A gateway with a udp listener; `listener` and `route` are more keys of each.
fn yaml(listener: &str, route: &str, backend: &str, echoes: &[&UdpEcho]) -> String {
    let endpoints: Vec<String> = echoes
        .iter()
        .map(|echo| format!("{{address: '{}'}}", echo.address))
        .collect();
    format!(
        "listeners:
- {{name: http, protocol: http, address: '127.0.0.1:0'}}
- {{name: game, protocol: udp, address: '127.0.0.1:0'{listener}}}
routes: [{{name: any, rules: [{{respond: {{status: 204}}}}]}}]
udpRoutes: [{{name: game, backends: [{{name: game}}]{route}}}]
backends: [{{name: game, endpoints: [{}]{backend}}}]
accessLists: [{{name: some, allow: [127.0.0.0/8], deny: [127.0.0.66]}}]
process: {{drainTimeout: 3s}}
",
        endpoints.join(", ")
    )
}

/// A server with a port of TCP of the same number.
fn with_tcp(name: &str) -> (UdpEcho, std::net::TcpListener) {
    for _ in 0..100 {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = tcp.local_addr().expect("bound");
        if std::net::UdpSocket::bind(address).is_ok() {
            return (UdpEcho::start_at(name, &address.to_string()), tcp);
        }
    }
    panic!("no number is free for both");
}

/// Takes connections until told to end.
fn accepts(listener: std::net::TcpListener, ends: &Arc<AtomicBool>) -> std::thread::JoinHandle<()> {
    listener.set_nonblocking(true).expect("it is taken");
    let ends = Arc::clone(ends);
    std::thread::spawn(move || {
        while !ends.load(Ordering::Relaxed) {
            let _ = listener.accept();
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    })
}

fn game(gateway: &Gateway) -> SocketAddr {
    gateway.at("listeners/game")
}

/// The lines of sessions of the listener that have this key.
fn lines(gateway: &Gateway, key: &str, value: &str) -> Vec<serde_json::Value> {
    let mut lines = gateway.access_lines();
    lines.retain(|line| line["protocol"] == "UDP" && line[key] == value);
    lines
}

fn ended(gateway: &Gateway, why: &str) -> serde_json::Value {
    let mut found = Vec::new();
    wait_for(&format!("a line of a session that {why} ended"), || {
        found = lines(gateway, "ended", why);
        !found.is_empty()
    });
    found.remove(0)
}

fn open(gateway: &Gateway) -> Option<f64> {
    gateway.metric("portcullis_udp_sessions_open{route=\"game\"}")
}

#[test]
fn a_client_stays_at_one_endpoint_and_others_take_turns() {
    let (one, two) = (UdpEcho::start("one"), UdpEcho::start("two"));
    let gateway = Gateway::start(&yaml("", ", timeouts: {idle: 1s}", "", &[&one, &two]));
    let clients = [(); 4].map(|()| UdpClient::of(game(&gateway)));
    let mut first: Vec<String> = clients.iter().map(|client| client.ask("a")).collect();
    for (client, answer) in clients.iter().zip(&first) {
        for _ in 0..3 {
            assert_eq!(client.ask("a"), *answer);
        }
    }
    assert_eq!(open(&gateway), Some(4.0));
    // Each client has a port of its own at its endpoint.
    let seen = [one.seen(), two.seen()].concat();
    let mut ports: Vec<_> = seen.iter().map(|(from, _)| from.port()).collect();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!((seen.len(), ports.len()), (16, 4));
    first.sort();
    assert_eq!(first, ["one:a", "one:a", "two:a", "two:a"]);
    let line = ended(&gateway, "idle_timeout");
    for (key, value) in [
        ("datagramsIn", 4),
        ("datagramsOut", 4),
        ("bytesIn", 4),
        ("bytesOut", 20),
    ] {
        assert_eq!(line[key], value, "{line}");
    }
    assert_eq!(
        (&line["listener"], &line["route"], &line["backend"]),
        (&"game".into(), &"game".into(), &"game".into())
    );
    let series = "portcullis_udp_sessions_total{outcome=\"idle_timeout\",route=\"game\"}";
    wait_for("the sessions to end", || {
        gateway.metric(series) == Some(4.0)
    });
    assert_eq!(open(&gateway), Some(0.0));
    let up = "portcullis_udp_bytes_total{direction=\"up\",route=\"game\"}";
    assert_eq!(gateway.metric(up), Some(16.0));
}

#[test]
fn a_datagram_is_one_datagram_whatever_its_size() {
    let echo = UdpEcho::start("e");
    let gateway = Gateway::start(&yaml("", "", "", &[&echo]));
    let client = UdpClient::of(game(&gateway));
    let sizes = [0, 1, 1400, 9000, 65_000, 3];
    for size in sizes {
        let datagram = "x".repeat(size);
        assert_eq!(client.ask(&datagram), format!("e:{datagram}"));
    }
    let seen: Vec<usize> = echo.seen().iter().map(|(_, bytes)| bytes.len()).collect();
    assert_eq!(seen, sizes);
}

#[test]
fn ipv6_clients_and_endpoints_are_served_and_answered_from_where_they_asked() {
    let (six, four) = (UdpEcho::start_at("six", "[::1]:0"), UdpEcho::start("four"));
    for echo in [six, four] {
        let yaml =
            yaml("", "", "", &[&echo]).replace("'127.0.0.1:0'}\nroutes", "'[::]:0'}\nroutes");
        let gateway = Gateway::start(&yaml);
        let port = game(&gateway).port();
        // A client reads only what comes from the address that it has asked.
        for address in ["[::1]", "127.0.0.1", "127.0.0.2"] {
            let server = format!("{address}:{port}").parse().expect("an address");
            assert!(UdpClient::of(server).ask("hello").ends_with(":hello"));
        }
        let from: Vec<_> = {
            wait_for("three sessions", || open(&gateway) == Some(3.0));
            gateway.signal("TERM");
            wait_for("the lines", || {
                lines(&gateway, "ended", "drained").len() == 3
            });
            let lines = lines(&gateway, "ended", "drained");
            lines
                .iter()
                .map(|line| line["client"].to_string())
                .collect()
        };
        assert!(from.contains(&"\"::1\"".into()) && from.contains(&"\"127.0.0.1\"".into()));
    }
}

#[test]
fn who_may_not_come_gets_nothing_through_and_fills_no_log() {
    let echo = UdpEcho::start("e");
    let gateway = Gateway::start(&yaml("", ", access: [some]", "", &[&echo]));
    let denied = UdpClient::from("127.0.0.66:0", game(&gateway));
    for _ in 0..100 {
        denied.send(b"let me in");
    }
    assert!(denied.hears_nothing());
    let allowed = UdpClient::from("127.0.0.65:0", game(&gateway));
    assert_eq!(allowed.ask("hello"), "e:hello");
    assert_eq!(echo.seen().len(), 1);
    let refusals = "portcullis_refusals_total{reason=\"denied\",stage=\"access\"}";
    wait_for("the refusals", || gateway.metric(refusals) == Some(100.0));
    let told = lines(&gateway, "refusedBy", "access");
    assert!((1..=20).contains(&told.len()), "{}", told.len());
    assert_eq!(
        (
            &told[0]["reason"],
            &told[0]["decidedBy"],
            &told[0]["client"]
        ),
        (&"denied".into(), &"some".into(), &"127.0.0.66".into())
    );
}

#[test]
fn sessions_are_bounded_by_route_listener_and_address() {
    let echo = UdpEcho::start("e");
    for (listener, route, series) in [
        (
            "",
            ", maxSessions: 2, timeouts: {idle: 1s}",
            "portcullis_refusals_total{reason=\"too-many-sessions\",stage=\"limit\"}",
        ),
        (
            ", limits: {maxConnections: 2}",
            ", timeouts: {idle: 1s}",
            "portcullis_connections_total{listener=\"game\",outcome=\"over_limit\"}",
        ),
        (
            ", limits: {maxConnectionsPerAddress: 2}",
            ", timeouts: {idle: 1s}",
            "portcullis_connections_total{listener=\"game\",outcome=\"over_address_limit\"}",
        ),
    ] {
        let gateway = Gateway::start(&yaml(listener, route, "", &[&echo]));
        let (one, two) = (UdpClient::of(game(&gateway)), UdpClient::of(game(&gateway)));
        // Whoever has heard an answer, and says more, does not give way to others.
        for client in [&one, &two] {
            assert_eq!(
                (client.ask("1"), client.ask("2")),
                ("e:1".into(), "e:2".into())
            );
        }
        let third = UdpClient::of(game(&gateway));
        third.send(b"3");
        assert!(third.hears_nothing(), "{series}");
        assert_eq!(gateway.metric(series), Some(1.0), "{series}");
        assert!(echo.seen().iter().all(|(_, bytes)| bytes != b"3"));
        let elsewhere = UdpClient::from("127.0.0.9:0", game(&gateway));
        elsewhere.send(b"4");
        assert_eq!(
            elsewhere.hears_nothing(),
            !listener.contains("PerAddress"),
            "{series}"
        );
        // Those that are open go on, and one that ends makes room.
        assert_eq!(two.ask("5"), "e:5");
        assert_eq!(third.ask_again("6"), "e:6");
    }
}

#[test]
fn many_senders_take_no_more_than_the_sessions_there_may_be() {
    let echo = UdpEcho::start("e");
    let gateway = Gateway::start(&yaml("", ", maxSessions: 50", "", &[&echo]));
    let files = || {
        let folder = format!("/proc/{}/fd", gateway.pid());
        std::fs::read_dir(folder).expect("it runs").count()
    };
    let before = files();
    let clients: Vec<_> = (0..400)
        .map(|n| {
            UdpClient::from(
                &format!("127.0.{}.{}:0", n / 200 + 1, n % 200 + 1),
                game(&gateway),
            )
        })
        .collect();
    let settled = UdpClient::of(game(&gateway));
    assert_eq!(
        (settled.ask("a"), settled.ask("b")),
        ("e:a".into(), "e:b".into())
    );
    let port = echo.seen()[0].0.port();
    let evicted = "portcullis_udp_sessions_total{outcome=\"evicted\",route=\"game\"}";
    wait_for("the evictions", || {
        for client in &clients {
            client.send(b"silent: spoofed");
        }
        gateway.metric(evicted) > Some(350.0)
    });
    wait_for("as many as there may be", || open(&gateway) == Some(50.0));
    assert!(files() <= before + 60, "{} from {before}", files());
    ended(&gateway, "evicted");
    let told = lines(&gateway, "ended", "evicted").len();
    assert!(told < 200, "{told}");
    // Another client has its turn, and who was there before them is still there.
    assert_eq!(UdpClient::of(game(&gateway)).ask("c"), "e:c");
    assert_eq!(settled.ask("d"), "e:d");
    assert_eq!(echo.seen().last().map(|(from, _)| from.port()), Some(port));
}

#[test]
fn sessions_of_all_routes_are_bounded_together() {
    let echo = UdpEcho::start("e");
    let text = yaml("", ", listeners: [game]", "", &[&echo])
        .replace("drainTimeout", "maxUdpSessions: 2, drainTimeout")
        .replace(
            "routes: [{name: any",
            "- {name: other, protocol: udp, address: '127.0.0.1:0'}\nroutes: [{name: any",
        )
        .replace(
            "\nbackends:",
            "\n- {name: other, listeners: [other], backends: [{name: game}]}\nbackends:",
        )
        .replace("udpRoutes: [{", "udpRoutes:\n- {")
        .replace("listeners: [game]}]", "listeners: [game]}");
    let gateway = Gateway::start(&text);
    let at = [game(&gateway), gateway.at("listeners/other")];
    let newcomer = UdpClient::of(at[0]);
    assert_eq!(newcomer.ask("a"), "e:a");
    let [one, two] = at.map(UdpClient::of);
    // The one that is new gives way, though it is on another listener.
    for client in [&two, &one] {
        assert_eq!(
            (client.ask("b"), client.ask("c")),
            ("e:b".into(), "e:c".into())
        );
    }
    ended(&gateway, "evicted");
    for address in at {
        let third = UdpClient::of(address);
        third.send(b"d");
        assert!(third.hears_nothing());
    }
    let mut refused = Vec::new();
    wait_for("the line of a refusal", || {
        refused = lines(&gateway, "refusedBy", "limit");
        !refused.is_empty()
    });
    let line = &refused[0];
    assert_eq!(
        (&line["reason"], &line["decidedBy"]),
        (&"too-many-sessions".into(), &"maxUdpSessions".into())
    );
    assert_eq!((one.ask("e"), two.ask("f")), ("e:e".into(), "e:f".into()));
}

#[test]
fn what_a_listener_sends_to_another_goes_no_further() {
    let echo = UdpEcho::start("e");
    let two = yaml("", "", "", &[&echo]).replace(
        "routes: [{name: any",
        "- {name: other, protocol: udp, address: '127.0.0.2:0'}\nroutes: [{name: any",
    );
    let gateway = Gateway::start(&two);
    let (at, client) = (game(&gateway), UdpClient::of(game(&gateway)));
    assert_eq!(client.ask("a"), "e:a");
    let other = gateway.at("listeners/other");
    // Another address of this machine, and the port of the other listener.
    let forged = UdpClient::from(&format!("127.0.0.4:{}", other.port()), at);
    forged.send(b"c");
    assert!(forged.hears_nothing());
    assert_eq!(client.ask("d"), "e:d");
    assert_eq!(echo.seen().len(), 2);
}

#[test]
fn a_sender_that_hears_no_answer_keeps_no_session() {
    let echo = UdpEcho::start("e");
    let gateway = Gateway::start(&yaml("", ", timeouts: {idle: 1s}", "", &[&echo]));
    let (hears, forged) = (UdpClient::of(game(&gateway)), UdpClient::of(game(&gateway)));
    let mut n = 0;
    wait_for("its session to end", || {
        forged.send(b"silent:");
        n += 1;
        assert_eq!(hears.ask(&format!("{n}")), format!("e:{n}"));
        let ended = lines(&gateway, "ended", "idle_timeout");
        ended.iter().any(|line| line["datagramsOut"] == 0)
    });
    // What is sent keeps the session of a client that is answered.
    let mut from: Vec<_> = echo.seen();
    from.retain(|(_, bytes)| !bytes.starts_with(b"silent:"));
    from.dedup_by_key(|(from, _)| from.port());
    assert_eq!(from.len(), 1);
}

#[test]
fn a_session_ends_with_the_responses_it_waits_for() {
    let echo = UdpEcho::start("e");
    let gateway = Gateway::start(&yaml("", ", responses: 1, maxSessions: 1", "", &[&echo]));
    // Each needs the only place there is.
    for n in 0..20 {
        let client = UdpClient::of(game(&gateway));
        assert_eq!(client.ask_again(&format!("{n}")), format!("e:{n}"));
    }
    let line = ended(&gateway, "answered");
    assert_eq!(
        (&line["datagramsIn"], &line["datagramsOut"]),
        (&1.into(), &1.into())
    );
    // One that was not answered waits for its idle time.
    let client = UdpClient::of(game(&gateway));
    client.send(b"silent:");
    wait_for("the session", || open(&gateway) == Some(1.0));
    assert_eq!(client.ask("again"), "e:again");
    assert_eq!(open(&gateway), Some(1.0));
}

#[test]
fn datagrams_that_are_too_large_are_dropped_either_way() {
    let echo = UdpEcho::start("e");
    let gateway = Gateway::start(&yaml("", ", maxDatagramSize: 1KiB", "", &[&echo]));
    let client = UdpClient::of(game(&gateway));
    // Nothing is open for what is not passed on.
    client.send(&[b'x'; 1025]);
    assert!(client.hears_nothing());
    assert_eq!(open(&gateway), Some(0.0));
    client.send(b"large: please");
    assert!(client.hears_nothing());
    assert_eq!(client.ask("small"), "e:small");
    let seen: Vec<usize> = echo.seen().iter().map(|(_, bytes)| bytes.len()).collect();
    assert_eq!(seen, [13, 5]);
    let dropped = "portcullis_udp_datagrams_dropped_total{reason=\"too-large\",route=\"game\"}";
    assert_eq!(gateway.metric(dropped), Some(2.0));
}

#[test]
fn a_datagram_that_cannot_be_sent_is_not_waited_for() {
    // One that IPv6 has room for, and IPv4 has not.
    let echo = UdpEcho::start("four");
    let yaml = yaml("", ", responses: 1", "", &[&echo])
        .replace("'127.0.0.1:0'}\nroutes", "'[::]:0'}\nroutes");
    let gateway = Gateway::start(&yaml);
    let at = format!("[::1]:{}", game(&gateway).port());
    let client = UdpClient::of(at.parse().expect("an address"));
    client.send(&[b'x'; 65_520]);
    let failed = "portcullis_udp_datagrams_dropped_total{reason=\"send-failed\",route=\"game\"}";
    wait_for("the datagram", || gateway.metric(failed) == Some(1.0));
    assert_eq!(client.ask("a"), "four:a");
    let line = ended(&gateway, "answered");
    assert_eq!(line["datagramsIn"], 1);
}

#[test]
fn nobody_but_the_endpoint_can_send_to_a_client() {
    let echo = UdpEcho::start("e");
    let gateway = Gateway::start(&yaml("", "", "", &[&echo]));
    let client = UdpClient::of(game(&gateway));
    assert_eq!(client.ask("hello"), "e:hello");
    let (gate, _) = echo.seen()[0].clone();
    let other = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    other.send_to(b"forged", gate).expect("it is sent");
    assert!(client.hears_nothing());
    assert_eq!(client.ask("still"), "e:still");
}

#[test]
fn an_endpoint_that_is_gone_is_passed_over_and_left_out() {
    let (one, two) = (UdpEcho::start("one"), UdpEcho::start("two"));
    let ejection = ", ejection: {failures: 1, time: 1h, maxEjected: 50}";
    let gateway = Gateway::start(&yaml("", "", ejection, &[&one, &two]));
    let clients = [(); 2].map(|()| UdpClient::of(game(&gateway)));
    for client in &clients {
        client.ask("a");
    }
    drop(one);
    // Who was there comes to the other one.
    for client in &clients {
        assert_eq!(client.ask_again("b"), "two:b");
    }
    for _ in 0..4 {
        assert_eq!(UdpClient::of(game(&gateway)).ask("c"), "two:c");
    }
    ended(&gateway, "endpoint-failed");
    let series = "portcullis_upstream_requests_total{backend=\"game\",outcome=\"connect_failed\"}";
    assert_eq!(gateway.metric(series), Some(1.0));
}

#[test]
fn a_client_is_not_led_back_to_the_endpoint_that_has_failed_it() {
    let mut echoes = [UdpEcho::start("one"), UdpEcho::start("two")].map(Some);
    let both = echoes
        .each_ref()
        .map(|echo| echo.as_ref().expect("it runs"));
    // Five failures in a row would leave an endpoint out, and a hash has one for a client.
    let gateway = Gateway::start(&yaml("", "", ", balance: {hash: address}", &both));
    let client = UdpClient::of(game(&gateway));
    let first = client.ask("a");
    let (gone, other) = match &*first {
        "one:a" => (0, "two:"),
        _ => (1, "one:"),
    };
    echoes[gone] = None;
    client.send(b"b");
    assert_eq!(client.ask_again("c"), format!("{other}c"));
    ended(&gateway, "endpoint-failed");
    // Nor from another port.
    assert_eq!(UdpClient::of(game(&gateway)).ask("d"), format!("{other}d"));
    let series = "portcullis_upstream_requests_total{backend=\"game\",outcome=\"connect_failed\"}";
    assert_eq!(gateway.metric(series), Some(1.0));
}

#[test]
fn a_session_leaves_an_endpoint_that_its_health_check_leaves_out() {
    // The check is a connection; who answers it is beside the datagrams.
    let ((one, first), (two, second)) = (with_tcp("one"), with_tcp("two"));
    let ends = Arc::<AtomicBool>::default();
    let never = Arc::<AtomicBool>::default();
    let check = accepts(first, &ends);
    accepts(second, &never);
    let health = ", health: {interval: 50ms, timeout: 50ms, unhealthyAfter: 1, healthyAfter: 1}";
    let gateway = Gateway::start(&yaml("", "", health, &[&one, &two]));
    let clients = [(); 2].map(|()| UdpClient::of(game(&gateway)));
    let mut answers = clients.each_ref().map(|client| client.ask("a"));
    answers.sort();
    assert_eq!(answers, ["one:a", "two:a"]);
    ends.store(true, Ordering::Relaxed);
    check.join().expect("it ends");
    wait_for("both to be at the other one", || {
        clients
            .iter()
            .all(|client| client.ask_again("b") == "two:b")
    });
    ended(&gateway, "endpoint-down");
}

#[test]
fn a_client_address_stays_at_its_endpoint_by_hash() {
    let (one, two) = (UdpEcho::start("one"), UdpEcho::start("two"));
    let gateway = Gateway::start(&yaml("", "", ", balance: {hash: address}", &[&one, &two]));
    let mut all = std::collections::BTreeSet::new();
    for host in 1..20 {
        let from = format!("127.0.0.{host}:0");
        let answers: std::collections::BTreeSet<_> = (0..5)
            .map(|_| UdpClient::from(&from, game(&gateway)).ask("a"))
            .collect();
        assert_eq!(answers.len(), 1, "{from}");
        all.extend(answers);
    }
    assert_eq!(all.len(), 2);
}

#[test]
fn a_reload_keeps_sessions_and_judges_them_again() {
    let (one, two) = (UdpEcho::start("one"), UdpEcho::start("two"));
    let before = yaml("", ", access: [some]", "", &[&one]);
    let gateway = Gateway::start(&before);
    let at = game(&gateway);
    let (stays, goes) = (
        UdpClient::from("127.0.0.7:0", at),
        UdpClient::from("127.0.0.8:0", at),
    );
    assert_eq!(
        (stays.ask("a"), goes.ask("a")),
        ("one:a".into(), "one:a".into())
    );
    let port = one.seen()[0].0.port();
    gateway.reload(&before.replace("127.0.0.66", "127.0.0.8"));
    assert_eq!(game(&gateway), at);
    let line = ended(&gateway, "access-changed");
    assert_eq!(line["client"], "127.0.0.8");
    goes.send(b"b");
    assert!(goes.hears_nothing());
    // The other one has the session that it had.
    assert_eq!(stays.ask("b"), "one:b");
    assert_eq!(one.seen().last().map(|(from, _)| from.port()), Some(port));
    // An endpoint that is removed keeps its sessions for a while, and gets no new ones.
    gateway.reload(&yaml("", "", "", &[&two]));
    assert_eq!(stays.ask("c"), "one:c");
    assert_eq!(UdpClient::of(at).ask("c"), "two:c");
    ended(&gateway, "endpoint-removed");
    assert_eq!(stays.ask("d"), "two:d");
    let renamed =
        yaml("", "", "", &[&two]).replace("udpRoutes: [{name: game", "udpRoutes: [{name: other");
    gateway.reload(&renamed);
    ended(&gateway, "route-removed");
    assert_eq!(stays.ask("e"), "two:e");
    wait_for("the series to go", || open(&gateway).is_none());
}

#[test]
fn a_listener_that_goes_drains_its_sessions_and_may_come_back() {
    let echo = UdpEcho::start("e");
    let with = yaml("", "", "", &[&echo]);
    let without: String = with
        .lines()
        .filter(|line| !line.contains("protocol: udp"))
        .fold(String::new(), |text, line| text + line + "\n");
    let gateway = Gateway::start(&with);
    let at = game(&gateway);
    let client = UdpClient::of(at);
    assert_eq!(client.ask("a"), "e:a");
    gateway.reload(&without);
    assert!(gateway.try_at("listeners/game").is_none());
    assert_eq!(client.ask("b"), "e:b");
    let late = UdpClient::of(at);
    late.send(b"c");
    assert!(late.hears_nothing());
    // It comes back with the socket and the sessions that it had.
    gateway.reload(&with);
    assert_eq!(game(&gateway), at);
    assert_eq!(late.ask_again("d"), "e:d");
    assert_eq!(client.ask("e"), "e:e");
    let from: std::collections::BTreeSet<_> =
        echo.seen().into_iter().map(|(from, _)| from).collect();
    assert_eq!(from.len(), 2);
    // It goes for good: the sessions end in time, and the port is free.
    gateway.reload(&without);
    // Another form of the address has to wait, and the error says for what.
    let other = with.replace(
        "protocol: udp, address: '127.0.0.1:0'",
        &format!("protocol: udp, address: '0.0.0.0:{}'", at.port()),
    );
    gateway.write_config(&other);
    wait_for("the problem", || {
        let (_, problems) = gateway.admin("/config/problems");
        problems.contains("that was removed has it")
    });
    ended(&gateway, "drained");
    wait_for("the port", || std::net::UdpSocket::bind(at).is_ok());
}

#[test]
fn a_process_that_ends_lets_sessions_go_on_for_its_drain_timeout() {
    let echo = UdpEcho::start("e");
    let mut gateway = Gateway::start(&yaml("", "", "", &[&echo]));
    let client = UdpClient::of(game(&gateway));
    assert_eq!(client.ask("a"), "e:a");
    let began = std::time::Instant::now();
    gateway.signal("TERM");
    assert_eq!(client.ask("b"), "e:b");
    ended(&gateway, "drained");
    assert!(gateway.wait().success());
    assert!(began.elapsed() >= std::time::Duration::from_millis(1500));
}

#[test]
fn an_address_of_udp_is_another_than_that_of_tcp() {
    let echo = UdpEcho::start("e");
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = tcp.local_addr().expect("bound").port();
    drop(tcp);
    let text = yaml("", "", "", &[&echo]).replace("127.0.0.1:0", &format!("127.0.0.1:{port}"));
    let gateway = Gateway::start(&text);
    assert_eq!(game(&gateway), gateway.http());
    assert_eq!(UdpClient::of(game(&gateway)).ask("a"), "e:a");
    // A second gateway may not have the same address beside it.
    let reused = std::net::UdpSocket::bind(game(&gateway));
    assert!(reused.is_err());
}
