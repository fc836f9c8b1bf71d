//! A backend of layer 4: sends back what it gets.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// A server that greets each connection, sends everything back, and ends when its
/// client does.
#[derive(Clone)]
pub struct Echo {
    /// Where it listens.
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Echo {
    /// Starts it with a greeting, which may be empty.
    pub async fn start(greeting: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("loopback has a free port");
        let echo = Self {
            address: listener.local_addr().expect("a bound socket"),
            connections: Arc::default(),
            seen: Arc::default(),
        };
        let (this, greeting) = (echo.clone(), greeting.to_owned());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                this.connections.fetch_add(1, Ordering::Relaxed);
                let (this, greeting) = (this.clone(), greeting.clone());
                let index = {
                    let mut seen = this.seen.lock().unwrap_or_else(PoisonError::into_inner);
                    seen.push(Vec::new());
                    seen.len() - 1
                };
                tokio::spawn(async move {
                    if stream.write_all(greeting.as_bytes()).await.is_err() {
                        return;
                    }
                    let mut buffer = vec![0; 4096];
                    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                        this.seen.lock().unwrap_or_else(PoisonError::into_inner)[index]
                            .extend_from_slice(&buffer[..read]);
                        if stream.write_all(&buffer[..read]).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        echo
    }

    /// Number of connections so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// What came on each connection so far.
    pub fn seen(&self) -> Vec<Vec<u8>> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
