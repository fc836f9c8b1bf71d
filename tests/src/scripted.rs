//! A backend that does just what a test says, byte by byte.

use std::{
    future::Future,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// A backend whose connections a test scripts.
pub struct Scripted {
    /// Where it listens.
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
    heads: Arc<Mutex<Vec<String>>>,
}

/// A connection of a [`Scripted`] backend.
pub struct Line {
    /// The connection.
    pub stream: TcpStream,
    /// Which it is, from 0.
    pub index: usize,
    read: Vec<u8>,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    /// Starts one; `script` is run for each connection.
    pub async fn start<F, S>(script: S) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
        S: Fn(Line) -> F + Send + Sync + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let connections = Arc::new(AtomicUsize::new(0));
        let heads = Arc::default();
        let (counted, seen) = (Arc::clone(&connections), Arc::clone(&heads));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let line = Line {
                    stream,
                    index: counted.fetch_add(1, Ordering::Relaxed),
                    read: Vec::new(),
                    heads: Arc::clone(&seen),
                };
                tokio::spawn(script(line));
            }
        });
        Self {
            address,
            connections,
            heads,
        }
    }

    /// Answers each request with these bytes, and keeps the connection.
    pub async fn answering(answer: &'static str) -> Self {
        Self::start(move |mut line| async move {
            while !line.head().await.is_empty() {
                line.send(answer.as_bytes()).await;
            }
        })
        .await
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Request heads so far.
    pub fn heads(&self) -> Vec<String> {
        self.heads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Line {
    /// Reads a request head; empty at the end of the connection.
    pub async fn head(&mut self) -> String {
        loop {
            if let Some(end) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                let head: Vec<u8> = self.read.drain(..end + 4).collect();
                let head = String::from_utf8_lossy(&head).into_owned();
                self.heads
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(head.clone());
                return head;
            }
            if self.more().await == 0 {
                return String::new();
            }
        }
    }

    /// Reads so many bytes behind the head, or fewer at the end of the connection.
    pub async fn body(&mut self, length: usize) -> Vec<u8> {
        while self.read.len() < length {
            if self.more().await == 0 {
                break;
            }
        }
        let length = length.min(self.read.len());
        self.read.drain(..length).collect()
    }

    /// Sends bytes; a gateway that is gone already is no failure here.
    pub async fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    async fn more(&mut self) -> usize {
        self.stream.read_buf(&mut self.read).await.unwrap_or(0)
    }
}
