//! Steady load over kept connections, and what became of each request.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use http::Request;
use http_body_util::Full;
use portcullis_tests::Client;

pub(crate) const CLIENTS: u64 = 10;

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Traffic {
    Gets,
    /// Every other request is a POST with an id of its own.
    GetsAndPosts,
}

/// A request, and how it ended.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    /// The id of a POST.
    pub(crate) id: Option<String>,
    /// The status; 0 where there was no answer.
    pub(crate) status: u16,
}

pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<Mutex<Vec<Sent>>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    /// Starts so many requests a second, over all clients.
    pub(crate) fn start(gateway: SocketAddr, traffic: Traffic, rate: u64) -> Self {
        let stop: Arc<AtomicBool> = Arc::default();
        let sent: Arc<Mutex<Vec<Sent>>> = Arc::default();
        let ids: Arc<AtomicU64> = Arc::default();
        let tasks = (0..CLIENTS)
            .map(|_| {
                let (stop, sent, ids) = (Arc::clone(&stop), Arc::clone(&sent), Arc::clone(&ids));
                tokio::spawn(async move {
                    let mut client = Client::h1(gateway).await;
                    let mut tick =
                        tokio::time::interval(Duration::from_millis(1000 * CLIENTS / rate));
                    while !stop.load(Ordering::Relaxed) {
                        tick.tick().await;
                        let number = ids.fetch_add(1, Ordering::Relaxed);
                        let posts = traffic == Traffic::GetsAndPosts && number % 2 == 1;
                        let id = posts.then(|| number.to_string());
                        let answer = client.send(request(id.as_deref())).await;
                        if !answer.as_ref().is_ok_and(|answer| answer.status() == 200) {
                            eprintln!("{id:?} failed: {answer:?}");
                        }
                        let status = answer.map_or(0, |answer| answer.status().as_u16());
                        sent.lock().expect("no panic").push(Sent { id, status });
                        if client.is_closed() {
                            client = Client::h1(gateway).await;
                        }
                    }
                })
            })
            .collect();
        Self { stop, sent, tasks }
    }

    /// Ends it; every request that was sent.
    pub(crate) async fn stop(self) -> Vec<Sent> {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.expect("no panic");
        }
        let sent = self.sent.lock().expect("no panic");
        sent.clone()
    }
}

fn request(id: Option<&str>) -> Request<Full<bytes::Bytes>> {
    let (method, body) = match id {
        Some(_) => ("POST", "a=1"),
        None => ("GET", ""),
    };
    Request::builder()
        .method(method)
        .uri("/")
        .header("host", "a.example")
        .header("x-id", id.unwrap_or_default())
        .body(Full::from(body))
        .expect("a request")
}
