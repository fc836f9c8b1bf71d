//! A DNS server whose answers a test sets.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{RData, Record, RecordType},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
};

/// Largest answer over UDP; a client asks again over TCP for more.
const MAX_UDP: usize = 512;

/// A DNS server over UDP and TCP.
pub struct Dns {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    zone: Mutex<HashMap<String, Zone>>,
    queries: AtomicUsize,
}

/// What is answered for a name; one that is not there does not exist.
#[derive(Clone)]
enum Zone {
    Addresses(Vec<IpAddr>, u32),
    Fails,
    Silent,
}

impl Dns {
    /// Starts a server that knows no name.
    pub async fn start() -> Self {
        let (tcp, udp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let address = tcp.local_addr().expect("an address");
            if let Ok(udp) = UdpSocket::bind(address).await {
                break (tcp, udp);
            }
        };
        let address = tcp.local_addr().expect("an address");
        let shared = Arc::new(Shared::default());
        tokio::spawn(over_udp(udp, Arc::clone(&shared)));
        let accepting = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((stream, _)) = tcp.accept().await {
                tokio::spawn(over_tcp(stream, Arc::clone(&accepting)));
            }
        });
        Self { address, shared }
    }

    /// Gives a name these addresses, for so many seconds.
    pub fn set(&self, name: &str, addresses: &[&str], ttl: u32) {
        let addresses = addresses
            .iter()
            .map(|text| text.parse().expect("an address"));
        self.put(name, Zone::Addresses(addresses.collect(), ttl));
    }

    /// Has look-ups of a name fail.
    pub fn fail(&self, name: &str) {
        self.put(name, Zone::Fails);
    }

    /// Has look-ups of a name stay without an answer.
    pub fn silence(&self, name: &str) {
        self.put(name, Zone::Silent);
    }

    /// Takes a name away.
    pub fn remove(&self, name: &str) {
        self.shared.zone().remove(name);
    }

    /// Queries so far.
    pub fn queries(&self) -> usize {
        self.shared.queries.load(Ordering::Relaxed)
    }

    fn put(&self, name: &str, zone: Zone) {
        self.shared.zone().insert(name.to_owned(), zone);
    }
}

impl Shared {
    fn zone(&self) -> MutexGuard<'_, HashMap<String, Zone>> {
        self.zone.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, query: &[u8]) -> Option<Message> {
        let query = Message::from_vec(query).ok()?;
        self.queries.fetch_add(1, Ordering::Relaxed);
        let question = query.queries.first()?.clone();
        let name = question.name.to_ascii().to_lowercase();
        let zone = self.zone().get(name.trim_end_matches('.')).cloned();
        let mut answer = Message::response(query.metadata.id, query.metadata.op_code);
        answer.metadata.recursion_desired = true;
        answer.metadata.recursion_available = true;
        answer.add_query(question.clone());
        match zone {
            None => answer.metadata.response_code = ResponseCode::NXDomain,
            Some(Zone::Fails) => answer.metadata.response_code = ResponseCode::ServFail,
            Some(Zone::Silent) => return None,
            Some(Zone::Addresses(addresses, ttl)) => {
                for address in addresses {
                    let data = match address {
                        IpAddr::V4(address) => RData::A(address.into()),
                        IpAddr::V6(address) => RData::AAAA(address.into()),
                    };
                    let wanted = matches!(
                        (&data, question.query_type),
                        (RData::A(_), RecordType::A) | (RData::AAAA(_), RecordType::AAAA)
                    );
                    if wanted {
                        let name = question.name.clone();
                        answer.add_answer(Record::from_rdata(name, ttl, data));
                    }
                }
            }
        }
        Some(answer)
    }
}

async fn over_udp(socket: UdpSocket, shared: Arc<Shared>) {
    let mut query = [0; 4096];
    while let Ok((length, client)) = socket.recv_from(&mut query).await {
        let Some(answer) = shared.answer(&query[..length]) else {
            continue;
        };
        let mut bytes = answer.to_vec().expect("an answer has a form");
        if bytes.len() > MAX_UDP {
            bytes = answer.truncate().to_vec().expect("an answer has a form");
        }
        let _ = socket.send_to(&bytes, client).await;
    }
}

async fn over_tcp(mut stream: TcpStream, shared: Arc<Shared>) {
    while let Ok(length) = stream.read_u16().await {
        let mut query = vec![0; length.into()];
        if stream.read_exact(&mut query).await.is_err() {
            return;
        }
        let Some(answer) = shared.answer(&query) else {
            continue;
        };
        let bytes = answer.to_vec().expect("an answer has a form");
        let length = u16::try_from(bytes.len()).expect("an answer fits");
        if stream.write_u16(length).await.is_err() || stream.write_all(&bytes).await.is_err() {
            return;
        }
    }
}
