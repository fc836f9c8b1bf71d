//! Requests at an even rate, while something else happens.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crate::{Authority, cluster::Cluster};

/// A request that was not answered as it should be.
#[derive(Clone, Debug)]
pub struct Failure {
    /// When, since the load began.
    pub at: Duration,
    /// What came instead.
    pub what: String,
}

/// A load that is going on.
#[derive(Debug)]
pub struct Load {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<(usize, Vec<Failure>)>>,
}

/// What is asked, and how often.
#[derive(Clone)]
pub struct Asked {
    /// The host.
    pub host: String,
    /// Where it is.
    pub address: SocketAddr,
    /// Over TLS with this authority's certificates, and a handshake for each request.
    pub tls: Option<Arc<Authority>>,
    /// Requests in a second.
    pub rate: u32,
}

impl Load {
    /// Begins, from a network namespace of a cluster. Each request must be answered with 200.
    pub fn begin(cluster: &'static Cluster, namespace: &'static str, asked: Asked) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&ends);
        let thread = std::thread::spawn(move || {
            cluster.within(namespace, move || async move { run(asked, until).await })
        });
        Self {
            ends,
            thread: Some(thread),
        }
    }

    /// Ends, and returns how many requests there were and which failed.
    ///
    /// # Panics
    /// When the load itself has.
    pub fn end(mut self) -> (usize, Vec<Failure>) {
        self.ends.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it ends once");
        thread.join().expect("the load runs to its end")
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
    }
}

/// The longest that a load goes on.
const LONGEST: Duration = Duration::from_secs(300);

async fn run(asked: Asked, ends: Arc<AtomicBool>) -> (usize, Vec<Failure>) {
    let scheme = match asked.tls {
        Some(_) => "https",
        None => "http",
    };
    let builder = reqwest::Client::builder()
        .resolve(&asked.host, asked.address)
        .timeout(Duration::from_secs(10))
        .no_proxy()
        // At the end of a listener a connection is closed that nobody has used for two seconds, and
        // over HTTP/1 nothing tells a client that is about to use it then.
        .pool_idle_timeout(Duration::from_secs(1))
        .redirect(reqwest::redirect::Policy::none());
    let builder = match &asked.tls {
        None => builder,
        Some(authority) => builder
            .pool_max_idle_per_host(0)
            .tls_backend_preconfigured(Arc::unwrap_or_clone(authority.client(&["http/1.1"]))),
    };
    let client = builder.build().expect("a client");
    let url = format!("{scheme}://{}:{}/", asked.host, asked.address.port());
    let began = Instant::now();
    let failures = Arc::new(Mutex::new(Vec::new()));
    let mut requests = tokio::task::JoinSet::new();
    let mut count = 0;
    let mut tick = tokio::time::interval(Duration::from_secs(1) / asked.rate);
    while !ends.load(Ordering::Relaxed) && began.elapsed() < LONGEST {
        tick.tick().await;
        count += 1;
        let (request, failures) = (client.get(&url).send(), Arc::clone(&failures));
        requests.spawn(async move {
            let at = began.elapsed();
            let what = match request.await {
                Ok(response) if response.status() == 200 => match response.bytes().await {
                    Ok(_) => return,
                    Err(error) => format!("{error:?}"),
                },
                Ok(response) => {
                    let reason = response.headers().get("x-portcullis-reason").cloned();
                    format!("{} {reason:?}", response.status())
                }
                Err(error) => format!("{error:?}"),
            };
            failures
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(Failure { at, what });
        });
        while requests.try_join_next().is_some() {}
    }
    while requests.join_next().await.is_some() {}
    let failures = std::mem::take(&mut *failures.lock().unwrap_or_else(PoisonError::into_inner));
    (count, failures)
}
