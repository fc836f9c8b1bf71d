//! A client inside a tunnel of the egress proxy, over TLS.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::{Raw, raw::ends, status_of};

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// TLS through a tunnel, and what is said over it.
pub struct Inside {
    stream: StreamOwned<ClientConnection, TcpStream>,
}

impl Inside {
    /// Opens a tunnel to `host:port` and speaks TLS to the host in it.
    ///
    /// # Errors
    /// Where there is no handshake.
    ///
    /// # Panics
    /// Where the tunnel is refused.
    pub fn connect(proxy: SocketAddr, target: &str, tls: Arc<ClientConfig>) -> io::Result<Self> {
        let mut tunnel = Raw::connect(proxy);
        tunnel.send(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n").as_bytes());
        let answer = tunnel.response();
        assert_eq!(status_of(&answer), 200, "{answer}");
        let mut socket = tunnel.into_stream();
        socket.set_read_timeout(Some(PATIENCE))?;
        let host = target.rsplit_once(':').map_or(target, |(host, _)| host);
        let name = rustls_pki_types::ServerName::try_from(host.to_owned()).expect("a name");
        let mut client = ClientConnection::new(tls, name).expect("a client");
        while client.is_handshaking() {
            client.complete_io(&mut socket)?;
        }
        Ok(Self {
            stream: StreamOwned::new(client, socket),
        })
    }

    /// The protocol that was agreed on.
    pub fn protocol(&self) -> String {
        let protocol = self.stream.conn.alpn_protocol().unwrap_or_default();
        String::from_utf8_lossy(protocol).into_owned()
    }

    /// The certificate that was shown.
    pub fn certificate(&self) -> Vec<u8> {
        let chain = self.stream.conn.peer_certificates().unwrap_or_default();
        chain.first().map(|leaf| leaf.to_vec()).unwrap_or_default()
    }

    /// Sends bytes; a peer that is gone already is no failure here.
    pub fn send(&mut self, bytes: &[u8]) -> &mut Self {
        let _ = self.stream.write_all(bytes);
        let _ = self.stream.flush();
        self
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

    /// Sends a request and reads its response.
    pub fn ask(&mut self, request: &str) -> String {
        self.send(request.as_bytes()).response()
    }

    /// Whether the proxy ends the connection within the patience of a test, whatever comes before.
    pub fn ends(&mut self) -> bool {
        ends(&mut self.stream, |kind| {
            ![io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut].contains(&kind)
        })
    }
}
