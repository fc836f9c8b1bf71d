//! Backends that come and go under load, as in a rolling update.

mod load;
mod server;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use load::{CLIENTS, Load, Sent, Traffic};
use portcullis_tests::{Gateway, installed};
use server::Server;

/// Finds a program, or prints that there is none.
fn program(name: &str) -> Option<PathBuf> {
    let found = installed(name);
    if found.is_none() {
        println!("skipped: {name} is not installed");
    }
    found
}

fn three(program: &Path, start: fn(&Path) -> Server) -> Vec<Server> {
    (0..3).map(|_| start(program)).collect()
}

fn config(backends: &[Server]) -> String {
    let endpoints: Vec<_> = backends
        .iter()
        .map(|server| format!("{{address: {}}}", server.address))
        .collect();
    format!(
        r"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
backends: [{{name: one, keepalive: 60s, ejection: {{time: 200ms}}, endpoints: [{}]}}]
routes: [{{name: any, rules: [{{backends: [{{name: one}}]}}]}}]
",
        endpoints.join(", ")
    )
}

fn failed(sent: &[Sent]) -> usize {
    sent.iter().filter(|sent| sent.status != 200).count()
}

/// Ends a server, and starts it again after this time.
fn restart(server: &mut Server, signal: &str, after: Duration) {
    tokio::task::block_in_place(|| {
        server.end(signal);
        std::thread::sleep(after);
        server.run();
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_fails_no_request() {
    let Some(nginx) = program("nginx") else {
        return;
    };
    let mut backends = three(&nginx, Server::nginx);
    let gateway = Gateway::start(&config(&backends));
    let load = Load::start(gateway.http(), Traffic::Gets, 500);
    tokio::time::sleep(Duration::from_millis(500)).await;
    for _ in 0..2 {
        for server in &mut backends {
            restart(server, "QUIT", Duration::from_millis(200));
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
    let sent = load.stop().await;
    assert!(sent.len() > 1000, "{}", sent.len());
    assert_eq!(failed(&sent), 0, "of {}: {}", sent.len(), gateway.log());
}

/// The requests inside a backend that is killed are lost, and no others: a GET is asked
/// again elsewhere, and no POST is executed twice.
#[tokio::test(flavor = "multi_thread")]
async fn ing_37_a_killed_backend_costs_what_was_inside_it_and_no_post_is_executed_twice() {
    let Some(node) = program("node") else {
        return;
    };
    let mut backends = three(&node, Server::node);
    let gateway = Gateway::start(&config(&backends));
    let load = Load::start(gateway.http(), Traffic::GetsAndPosts, 200);
    tokio::time::sleep(Duration::from_millis(500)).await;
    // One by one, and then all while others are up.
    let mut kills = 0;
    for _ in 0..2 {
        for server in &mut backends {
            restart(server, "KILL", Duration::from_millis(300));
            kills += 1;
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }
    // One that goes for good is taken from the list two seconds late.
    let mut gone = backends.remove(0);
    tokio::task::block_in_place(|| gone.end("KILL"));
    kills += 1;
    tokio::time::sleep(Duration::from_secs(2)).await;
    gateway.reload(&config(&backends));
    tokio::time::sleep(Duration::from_millis(300)).await;
    let sent = load.stop().await;

    let (posts, gets): (Vec<_>, Vec<_>) = sent.into_iter().partition(|sent| sent.id.is_some());
    assert!(posts.len() > 300 && gets.len() > 300, "{}", posts.len());
    assert_eq!(failed(&gets), 0, "of {} GETs", gets.len());
    let mut executed: BTreeMap<String, usize> = BTreeMap::new();
    for id in backends.iter().chain([&gone]).flat_map(Server::posts) {
        *executed.entry(id).or_default() += 1;
    }
    for Sent { id, status } in &posts {
        let times = id.as_ref().and_then(|id| executed.get(id)).copied();
        match (status, times.unwrap_or(0)) {
            (200, 1) | (502, 0 | 1) => {}
            other => panic!("{id:?} has the status and was executed: {other:?}"),
        }
    }
    // Each client has one request under way.
    let lost = failed(&posts);
    assert!(
        lost <= kills * CLIENTS as usize,
        "{lost} of {}",
        posts.len()
    );
}

/// A server that ends as asked finishes what it has: a POST is lost only where it was
/// sent over a kept connection at the very moment in which the server closed it.
#[tokio::test(flavor = "multi_thread")]
async fn posts_survive_a_rolling_restart_but_for_those_that_crossed_a_close() {
    let Some(nginx) = program("nginx") else {
        return;
    };
    let mut backends = three(&nginx, Server::nginx);
    let gateway = Gateway::start(&config(&backends));
    let load = Load::start(gateway.http(), Traffic::GetsAndPosts, 200);
    tokio::time::sleep(Duration::from_millis(300)).await;
    for server in &mut backends {
        restart(server, "QUIT", Duration::from_millis(200));
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let sent = load.stop().await;
    let (posts, gets): (Vec<_>, Vec<_>) = sent.into_iter().partition(|sent| sent.id.is_some());
    assert_eq!(failed(&gets), 0, "of {} GETs", gets.len());
    assert!(failed(&posts) <= 3, "{} of {}", failed(&posts), posts.len());
}
