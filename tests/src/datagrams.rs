//! Both ends of UDP.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Longest wait for a datagram that is to come.
const PATIENCE: Duration = Duration::from_secs(10);

/// Time in which a datagram that must not come would have come.
const SILENCE: Duration = Duration::from_millis(300);

/// Where a datagram came from, and what it was.
pub type Received = (SocketAddr, Vec<u8>);

/// A server that sends each datagram back with its name before it.
///
/// `silent:` gets no answer, `twice:` two, and `large:` one of 2000 bytes.
pub struct UdpEcho {
    /// Where it listens.
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Received>>>,
    ends: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl UdpEcho {
    /// Starts one on loopback.
    pub fn start(name: &str) -> Self {
        Self::start_at(name, "127.0.0.1:0")
    }

    /// Starts one at an address.
    ///
    /// # Panics
    /// When the address cannot be bound.
    pub fn start_at(name: &str, address: &str) -> Self {
        let socket = UdpSocket::bind(address).expect("the address is free");
        let short = Some(Duration::from_millis(20));
        socket.set_read_timeout(short).expect("a timeout is taken");
        let (seen, ends) = (
            Arc::<Mutex<Vec<_>>>::default(),
            Arc::<AtomicBool>::default(),
        );
        let address = socket.local_addr().expect("a bound socket");
        let thread = {
            let (name, seen, ends) = (name.to_owned(), Arc::clone(&seen), Arc::clone(&ends));
            std::thread::spawn(move || {
                let mut buffer = vec![0; 65536];
                while !ends.load(Ordering::Relaxed) {
                    let Ok((size, from)) = socket.recv_from(&mut buffer) else {
                        continue;
                    };
                    let datagram = buffer[..size].to_vec();
                    let answer = [name.as_bytes(), b":", &datagram].concat();
                    let answers = match datagram {
                        ref silent if silent.starts_with(b"silent:") => vec![],
                        ref twice if twice.starts_with(b"twice:") => vec![answer.clone(), answer],
                        ref large if large.starts_with(b"large:") => vec![vec![b'x'; 2000]],
                        _ => vec![answer],
                    };
                    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                    seen.push((from, datagram));
                    drop(seen);
                    for answer in answers {
                        let _ = socket.send_to(&answer, from);
                    }
                }
            })
        };
        Self {
            address,
            seen,
            ends,
            thread: Some(thread),
        }
    }

    /// What came so far, and from where.
    pub fn seen(&self) -> Vec<Received> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.clone()
    }
}

impl Drop for UdpEcho {
    /// Its port is closed when this returns.
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

/// A client of UDP that talks to one server.
pub struct UdpClient {
    socket: UdpSocket,
}

impl UdpClient {
    /// A client of a server, from a free port.
    pub fn of(server: SocketAddr) -> Self {
        let any = if server.is_ipv4() {
            "127.0.0.1:0"
        } else {
            "[::1]:0"
        };
        Self::from(any, server)
    }

    /// A client of a server, from this address.
    ///
    /// # Panics
    /// When it cannot be bound.
    pub fn from(address: &str, server: SocketAddr) -> Self {
        let socket = UdpSocket::bind(address).expect("the address is free");
        // Only what comes from the server's own address is read.
        socket.connect(server).expect("an address of loopback");
        Self { socket }
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("a bound socket")
    }

    /// Sends a datagram.
    pub fn send(&self, datagram: &[u8]) -> &Self {
        // What an ICMP message said of an earlier datagram may be told here.
        if self.socket.send(datagram).is_err() {
            self.socket.send(datagram).expect("it is sent");
        }
        self
    }

    /// Waits for a datagram.
    ///
    /// # Panics
    /// When none comes.
    pub fn read(&self) -> String {
        self.read_within(PATIENCE).expect("a datagram comes")
    }

    /// Whether no datagram comes.
    pub fn hears_nothing(&self) -> bool {
        self.read_within(SILENCE).is_none()
    }

    /// Sends a datagram and waits for the answer.
    pub fn ask(&self, datagram: &str) -> String {
        self.send(datagram.as_bytes()).read()
    }

    /// Sends a datagram again and again, until there is an answer.
    ///
    /// # Panics
    /// When there is none.
    pub fn ask_again(&self, datagram: &str) -> String {
        (0..50)
            .find_map(|_| {
                self.send(datagram.as_bytes());
                self.read_within(Duration::from_millis(200))
            })
            .expect("an answer comes")
    }

    fn read_within(&self, time: Duration) -> Option<String> {
        self.socket
            .set_read_timeout(Some(time))
            .expect("a timeout is taken");
        let mut buffer = vec![0; 65536];
        let size = self.socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..size]).into_owned())
    }
}
