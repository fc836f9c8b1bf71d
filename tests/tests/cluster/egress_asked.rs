//! What pods get when they ask an egress proxy.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::egress_bed::Bed;

impl Bed {
    /// Asks for the destination from a network namespace; a pod is named by its UID. The status
    /// and the reason.
    pub(crate) fn ask(&self, from: &str, token: &str) -> String {
        told(&self.answer(from, token))
    }

    /// The same, and all of the answer.
    pub(crate) fn answer(&self, from: &str, token: &str) -> String {
        let asked = self.asking(token);
        self.cluster
            .within(from, move || async move { asked.await.0 })
    }

    /// The same, with the tunnel that is open then.
    pub(crate) fn asking(
        &self,
        token: &str,
    ) -> impl Future<Output = (String, Option<TcpStream>)> + Send + 'static {
        let (proxy, destination) = (self.proxy.clone(), self.destination.clone());
        let credentials = match token {
            "" => String::new(),
            token => format!("Proxy-Authorization: Bearer {token}\r\n"),
        };
        async move {
            let asked = async {
                let mut stream = TcpStream::connect(format!("{proxy}:3128")).await.ok()?;
                let head = format!("CONNECT {destination}:8080 HTTP/1.1\r\n{credentials}\r\n");
                stream.write_all(head.as_bytes()).await.ok()?;
                let mut answer = vec![0; 4096];
                let length = stream.read(&mut answer).await.ok()?;
                let answer = String::from_utf8_lossy(answer.get(..length)?).into_owned();
                Some((answer, Some(stream)))
            };
            let asked = tokio::time::timeout(Duration::from_secs(5), asked).await;
            asked.ok().flatten().unwrap_or_default()
        }
    }

    /// Waits until somebody gets what is expected.
    pub(crate) fn wait(&self, from: &str, token: &str, expected: &str) {
        let mut last = String::new();
        self.cluster.wait(&format!("{from} gets {expected}"), || {
            let now = self.ask(from, token);
            if now != last {
                eprintln!("{from}: {now}");
            }
            last = now;
            last == expected
        });
    }

    /// Asks again and again from a pod, and holds a tunnel open meanwhile.
    pub(crate) fn keep_asking(&self, from: &str) -> Asking {
        let ends = Arc::new(AtomicBool::new(false));
        let (bed, from, until) = (self.clone(), from.to_owned(), Arc::clone(&ends));
        let thread = std::thread::spawn(move || {
            let cluster = bed.cluster;
            cluster.within(&from, move || async move {
                let (_, mut held) = bed.asking("").await;
                let mut asked = Asked::default();
                while !until.load(Ordering::Relaxed) {
                    let (answer, _) = bed.asking("").await;
                    asked.count += 1;
                    let answer = told(&answer);
                    if answer != "200 -" {
                        asked.others.push(answer);
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                if let Some(tunnel) = &mut held {
                    let mut byte = [0];
                    let read = tunnel.read(&mut byte);
                    let read = tokio::time::timeout(Duration::from_secs(3), read).await;
                    // Nobody says anything in it: what is read is its end.
                    asked.is_held = read.is_err();
                }
                asked
            })
        });
        Asking { ends, thread }
    }
}

/// The status and the reason of an answer.
fn told(answer: &str) -> String {
    let Some(status) = answer.split(' ').nth(1) else {
        return String::new();
    };
    let reason = answer
        .lines()
        .find_map(|line| line.strip_prefix("x-portcullis-reason: egress/"));
    format!("{status} {}", reason.unwrap_or("-"))
}

/// Requests that go on.
pub(crate) struct Asking {
    ends: Arc<AtomicBool>,
    thread: JoinHandle<Asked>,
}

/// What became of them.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) count: usize,
    /// Answers that were no tunnel.
    pub(crate) others: Vec<String>,
    /// Whether the tunnel that was opened first is still open.
    pub(crate) is_held: bool,
}

impl Asking {
    pub(crate) fn end(self) -> Asked {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.join().expect("it asked")
    }
}
