//! Bytes on a socket, for what no HTTP library would send.

use std::{
    io::{ErrorKind, Read, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use socket2::{Domain, Socket, Type};

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// An open connection.
pub struct Raw {
    stream: TcpStream,
}

impl Raw {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).expect("the gateway listens"))
    }

    fn over(stream: TcpStream) -> Self {
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a time above 0");
        Self { stream }
    }

    /// Connects from an address of the loopback network.
    pub fn connect_from(source: IpAddr, address: SocketAddr) -> Self {
        let connect = || {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
            socket.bind(&SocketAddr::new(source, 0).into())?;
            socket.connect(&address.into())?;
            std::io::Result::Ok(TcpStream::from(socket))
        };
        Self::over(connect().expect("the gateway listens"))
    }

    /// Sends bytes; a peer that is gone already is no failure here.
    pub fn send(&mut self, bytes: &[u8]) -> &mut Self {
        let _ = self.stream.write_all(bytes);
        self
    }

    /// The socket, for what speaks over it.
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Waits.
    pub fn pause(&mut self, time: Duration) -> &mut Self {
        std::thread::sleep(time);
        self
    }

    /// Ends the sending direction.
    pub fn finish(&mut self) -> &mut Self {
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
        self
    }

    /// Reads until the peer closes, or has been silent for the patience of a test.
    pub fn read_all(&mut self) -> String {
        let mut bytes = Vec::new();
        let _ = self.stream.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Reads so many bytes, or what came before the end.
    pub fn read(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let _ = (&mut self.stream)
            .take(length as u64)
            .read_to_end(&mut bytes);
        bytes
    }

    /// Reads one response: its head, and the body where its length is given.
    pub fn response(&mut self) -> String {
        let mut bytes = Vec::new();
        let mut byte = [0];
        while !bytes.ends_with(b"\r\n\r\n") && matches!(self.stream.read(&mut byte), Ok(1)) {
            bytes.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())
            .unwrap_or(0);
        let mut body = vec![0; length];
        if self.stream.read_exact(&mut body).is_ok() {
            bytes.extend_from_slice(&body);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Reads what comes next; empty at the end of the connection.
    pub fn some(&mut self) -> Vec<u8> {
        let mut bytes = vec![0; 4096];
        let read = self.stream.read(&mut bytes).unwrap_or(0);
        bytes.truncate(read);
        bytes
    }

    /// Reads to the end of the connection; the error that it ends with, where it is not closed.
    pub fn end(&mut self) -> Option<std::io::ErrorKind> {
        let read = self.stream.read_to_end(&mut Vec::new());
        read.err().map(|error| error.kind())
    }

    /// Waits for the peer to close the connection; `false` when it stays open.
    pub fn ends(&mut self) -> bool {
        ends(&mut self.stream, |kind| kind == ErrorKind::ConnectionReset)
    }
}

/// Whether a stream, whose reads have a limit of time, ends while a test has patience; `is_end` says
/// so of what a read fails with. One that goes on and on stays open.
pub(crate) fn ends(stream: &mut impl Read, is_end: fn(ErrorKind) -> bool) -> bool {
    let mut bytes = [0; 4096];
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        match stream.read(&mut bytes) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return is_end(error.kind()),
        }
    }
    false
}

/// Sends bytes on a new connection and reads until the peer closes.
pub fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    Raw::connect(address).send(bytes).read_all()
}

/// The status of a response; 0 where there is none.
pub fn status_of(response: &str) -> u16 {
    response
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or(0)
}
