//! What no real API server can be made to send: objects that are none, and answers in a
//! certain order. The rest is tried with a real one.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Service;
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::mpsc, time::timeout};

use super::*;
use crate::kube::asking::Asking;

/// What an API server is asked, and what it says then. Once it has nothing more to say it is
/// silent.
#[derive(Clone, Default)]
struct Server {
    asked: Arc<Mutex<Vec<String>>>,
    answers: Arc<Mutex<VecDeque<(u16, String)>>>,
}

impl Server {
    async fn start(answers: impl IntoIterator<Item = (u16, String)>) -> (Self, Client) {
        crate::tls::install_provider();
        let server = Self::default();
        server.answers.lock().expect("answers").extend(answers);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = serving.clone();
                let service = service_fn(move |request| server.clone().answer(request));
                let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                tokio::spawn(served);
            }
        });
        let uri = format!("http://{address}").parse().expect("a URI");
        let client = Client::try_from(Config::new(uri)).expect("a client");
        (server, client)
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, String> {
        let asked = request.uri().to_string();
        self.asked.lock().expect("asked").push(asked);
        let answer = self.answers.lock().expect("answers").pop_front();
        let Some((status, body)) = answer else {
            return std::future::pending().await;
        };
        let response = Response::builder().status(status);
        response
            .body(Full::from(body))
            .map_err(|error| error.to_string())
    }
}

fn service(name: &str, version: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "namespace": "a", "name": name, "resourceVersion": version, "managedFields": [] },
        "spec": { "ports": [{ "port": 80 }] },
    })
}

/// One that the client library cannot read.
fn broken(name: &str, version: &str) -> Value {
    let mut broken = service(name, version);
    broken["spec"]["ports"] = json!("none");
    broken
}

fn list(items: &[Value], version: &str, more: &str) -> (u16, String) {
    let list = json!({
        "apiVersion": "v1", "kind": "ServiceList",
        "metadata": { "resourceVersion": version, "continue": more },
        "items": items,
    });
    (200, list.to_string())
}

fn events(events: &[(&str, Value)]) -> (u16, String) {
    let lines = events.iter().map(|(kind, object)| {
        let line = json!({ "type": kind, "object": object });
        format!("{line}\n")
    });
    (200, lines.collect())
}

fn status(code: u16) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "metadata": {},
        "code": code, "reason": "Expired", "message": "too old",
    })
}

/// Says what came, in order.
struct Told(mpsc::UnboundedSender<String>);

impl Told {
    fn say(&self, what: String) {
        let _ = self.0.send(what);
    }

    fn say_changes(&self, what: &str, changes: &[Change<Service>]) {
        let changes: Vec<String> = changes
            .iter()
            .map(|change| match change {
                Change::Applied(service) => {
                    assert_eq!(service.metadata.managed_fields, None);
                    format!("+{}", ResourceName::of(&service.metadata))
                }
                Change::Deleted(name) => format!("-{name}"),
                Change::Broken(name, _) => format!("!{name}"),
                Change::Passed(name) => format!("~{name}"),
            })
            .collect();
        self.say(format!("{what} {}", changes.join(" ")));
    }
}

impl Feed<Service> for Told {
    fn needs(&self, name: &ResourceName) -> bool {
        name.name != "needless"
    }

    async fn replace(&self, all: Vec<Change<Service>>) {
        self.say_changes("all", &all);
    }

    async fn change(&self, changes: Vec<Change<Service>>) {
        self.say_changes("change", &changes);
    }

    fn fresh(&self) {
        self.say("fresh".into());
    }

    fn stale(&self, reason: String) {
        self.say(format!("stale: {reason}"));
    }
}

/// One of several, of which one may ask at once.
struct InTurn(Told, Arc<Asking>);

impl Feed<Service> for InTurn {
    async fn turn(&self) -> Option<Turn<'_>> {
        Some(self.1.turn("a").await)
    }

    fn needs(&self, name: &ResourceName) -> bool {
        self.0.needs(name)
    }

    async fn replace(&self, all: Vec<Change<Service>>) {
        self.0.replace(all).await;
    }

    async fn change(&self, changes: Vec<Change<Service>>) {
        self.0.change(changes).await;
    }

    fn fresh(&self) {
        self.0.fresh();
    }

    fn stale(&self, reason: String) {
        self.0.stale(reason);
    }
}

/// What a watch says until it has said so much, and what it has asked for.
async fn told(
    answers: impl IntoIterator<Item = (u16, String)>,
    count: usize,
) -> (Vec<String>, Vec<String>) {
    let (server, client) = Server::start(answers).await;
    let (sender, mut said) = mpsc::unbounded_channel();
    let (_again, again) = tokio::sync::watch::channel(0);
    let watched = watch::<Service>(Api::all(client), None, Told(sender), again);
    let task = tokio::spawn(watched);
    let mut all = Vec::new();
    while all.len() < count {
        match timeout(Duration::from_secs(20), said.recv()).await {
            Ok(Some(next)) => all.push(next),
            _ => panic!("nothing more after {all:?}"),
        }
    }
    task.abort();
    let asked = server.asked.lock().expect("asked").clone();
    (all, asked)
}

#[tokio::test]
async fn one_object_that_cannot_be_read_hurts_no_other() {
    let (said, _) = told(
        [
            list(&[service("one", "1"), broken("two", "2")], "2", ""),
            events(&[
                ("ADDED", broken("three", "3")),
                ("MODIFIED", service("two", "4")),
                ("DELETED", broken("three", "5")),
            ]),
        ],
        4,
    )
    .await;
    let expected = [
        "all +a/one !a/two",
        "fresh",
        "fresh",
        "change !a/three +a/two -a/three",
    ];
    assert_eq!(said, expected);
}

#[tokio::test]
async fn a_list_comes_whole_and_without_what_nobody_needs() {
    let (said, asked) = told(
        [
            list(&[service("one", "1")], "7", "more"),
            list(&[service("needless", "2")], "7", ""),
        ],
        2,
    )
    .await;
    assert_eq!(said, ["all +a/one ~a/needless", "fresh"]);
    assert!(asked[1].contains("continue=more"), "{asked:?}");
}

#[tokio::test]
async fn a_watch_goes_on_from_the_last_version_and_lists_again_when_that_is_too_old() {
    let bookmark = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "resourceVersion": "9" },
    });
    let (said, asked) = told(
        [
            list(&[], "5", ""),
            events(&[("ADDED", service("one", "6")), ("BOOKMARK", bookmark)]),
            (500, status(500).to_string()),
            events(&[("ERROR", status(410))]),
            list(&[service("two", "11")], "12", ""),
            (410, status(410).to_string()),
            list(&[service("two", "11")], "13", ""),
        ],
        10,
    )
    .await;
    let expected = [
        "all ",
        "fresh",
        "fresh",
        "change +a/one",
        "stale: too old",
        "fresh",
        "all +a/two",
        "fresh",
        "all +a/two",
        "fresh",
    ];
    assert_eq!(said, expected);
    let versions: Vec<&str> = asked
        .iter()
        .filter_map(|asked| asked.split_once("resourceVersion=").map(|(_, rest)| rest))
        .map(|rest| rest.split('&').next().unwrap_or_default())
        .collect();
    assert_eq!(versions[..4], ["5", "9", "9", "12"], "{asked:?}");
}

#[tokio::test]
async fn a_line_that_is_no_event_has_all_listed_again() {
    let (said, _) = told(
        [
            list(&[], "5", ""),
            (
                200,
                "{\"type\":\"ADDED\",\"object\":{\"metadata\":7}}\n".into(),
            ),
            list(&[service("one", "6")], "6", ""),
        ],
        6,
    )
    .await;
    assert_eq!(said[..3], ["all ", "fresh", "fresh"]);
    assert_eq!(said[3], "stale: what came is no event");
    assert_eq!(said[4..], ["all +a/one", "fresh"]);
}

#[test]
fn pauses_grow_and_have_a_bound() {
    let mut pauses = Pauses::default();
    let all: Vec<Duration> = (0..20).map(|_| pauses.next()).collect();
    assert!(all[0] <= FIRST_PAUSE && all[0] >= FIRST_PAUSE / 2);
    assert!(all.iter().all(|pause| *pause <= LAST_PAUSE));
    assert!(all[19] >= LAST_PAUSE / 2);
}

#[tokio::test]
async fn of_many_watches_only_some_ask_at_once_and_none_waits_for_one_that_is_open() {
    // Three lists; the first watch that is opened gets no answer.
    let lists = (1..=3).map(|version| list(&[], &version.to_string(), ""));
    let (server, client) = Server::start(lists).await;
    let (sender, mut told) = mpsc::unbounded_channel();
    let turns = Arc::new(Asking::new(1, 1));
    let again = tokio::sync::watch::Sender::new(0);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let feed = InTurn(Told(sender.clone()), Arc::clone(&turns));
        let api = Api::all(client.clone());
        tasks.spawn(watch::<Service>(api, None, feed, again.subscribe()));
    }
    for expected in ["all ", "fresh", "all ", "fresh", "all ", "fresh"] {
        let said = timeout(Duration::from_secs(10), told.recv()).await;
        assert_eq!(said.expect("in time").as_deref(), Some(expected));
    }
    let watches = || {
        let asked = server.asked.lock().expect("asked");
        asked.iter().filter(|uri| uri.contains("watch=")).count()
    };
    while watches() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Three would ask, and one has the turn.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(watches(), 1);
}

#[tokio::test]
async fn what_comes_while_changes_are_taken_is_taken_together() {
    let yields = async |count| {
        for _ in 0..count {
            tokio::task::yield_now().await;
        }
    };
    let one_by_one = futures_util::stream::iter(0..3).then(async |number| {
        yields(1).await;
        vec![number]
    });
    let mut stream = pin!(one_by_one);
    let came = meanwhile(yields(2), stream.as_mut()).await;
    assert!(
        came.len() < 3,
        "{came:?}: it waits for no more than it must"
    );
    let rest = meanwhile(yields(50), stream.as_mut()).await;
    assert_eq!([came, rest].concat(), [0, 1, 2]);
}
