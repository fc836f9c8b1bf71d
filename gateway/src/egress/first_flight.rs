//! What goes both ways of a TLS tunnel until no further ClientHello can come in clear.
//!
//! A server that has no key of a client's asks it to begin again (RFC 8446 section 4.1.4), and the
//! client does so in clear. Some servers go by the name in the second ClientHello then. So the
//! records of the client's handshake wait for the destination's answer; others, such as early data
//! (section 4.2.10), do not.
//!
//! ```text
//! client       hello, judged | early data ... | handshake: held
//! destination                |                | ServerHello: what is held goes on, and all behind it
//!                                             | HelloRetryRequest: the next hello is judged
//! ```

use std::{io, sync::atomic::Ordering};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::relay::Traffic;

/// Bytes that are read at once.
const CHUNK: usize = 4 << 10;
/// Bytes of the head of a record: its type, a version and a length.
const HEAD: usize = 5;
/// Types of records (RFC 8446 section 5.1).
const CHANGE_CIPHER_SPEC: u8 = 20;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
const SERVER_HELLO: u8 = 2;
/// Bytes of a ServerHello up to its random, and with it.
const BEFORE_RANDOM: usize = 1 + 3 + 2;
const WITH_RANDOM: usize = BEFORE_RANDOM + 32;
/// The random of a ServerHello that asks for another ClientHello (RFC 8446 section 4.1.3).
const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// Why it is over; nothing where a quota is.
pub(super) type Ended = Option<&'static str>;

/// The two ends, and what was read of the client and not sent.
pub(super) struct FirstFlight<'t, C, U> {
    pub(super) client: &'t mut C,
    upstream: &'t mut U,
    traffic: &'t Traffic,
    pub(super) ahead: BytesMut,
    records: Records,
}

impl<'t, C, U> FirstFlight<'t, C, U>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    pub(super) fn new(
        client: &'t mut C,
        upstream: &'t mut U,
        traffic: &'t Traffic,
        ahead: BytesMut,
    ) -> Self {
        Self {
            client,
            upstream,
            traffic,
            ahead,
            records: Records::default(),
        }
    }

    /// Sends so many bytes of what was read of the client.
    ///
    /// # Errors
    /// A destination that is gone, and a quota that is spent.
    pub(super) async fn send(&mut self, length: usize) -> Result<(), Ended> {
        if !self.traffic.may_send(length) {
            return Err(None);
        }
        let sent = async {
            self.upstream.write_all(&self.ahead[..length]).await?;
            self.upstream.flush().await
        };
        sent.await.map_err(|_| Some("upstream_closed"))?;
        self.ahead.advance(length);
        let up = &self.traffic.up;
        up.fetch_add(length as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Sends all of it.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub(super) async fn send_all(&mut self) -> Result<(), Ended> {
        self.send(self.ahead.len()).await
    }

    /// Waits for what the destination says to a ClientHello, and tells whether it asks for another one.
    /// Records of the client go on meanwhile, up to one of its handshake.
    ///
    /// # Errors
    /// As [`Self::send`], and a client that is gone.
    pub(super) async fn is_asked_again(&mut self) -> Result<bool, Ended> {
        // What the hello took is not kept while an answer is waited for.
        self.ahead = BytesMut::from(&self.ahead[..]);
        let mut answer = Answer::default();
        let mut down = BytesMut::with_capacity(CHUNK);
        self.pass().await?;
        loop {
            self.ahead.reserve(CHUNK);
            tokio::select! {
                read = self.upstream.read_buf(&mut down) => {
                    if or_end(read).map_err(|_| Some("upstream_closed"))? == 0 {
                        return Ok(false);
                    }
                    let asks_again = answer.read(&down);
                    let count = down.len() as u64;
                    let sent = async {
                        self.client.write_all_buf(&mut down).await?;
                        self.client.flush().await
                    };
                    sent.await.map_err(|_| Some("client_closed"))?;
                    self.traffic.down.fetch_add(count, Ordering::Relaxed);
                    if let Some(asks_again) = asks_again {
                        return Ok(asks_again);
                    }
                }
                read = self.client.read_buf(&mut self.ahead), if self.ahead.is_empty() => {
                    // Who has sent all asks no further time.
                    if or_end(read).map_err(|_| Some("client_closed"))? == 0 {
                        return Ok(false);
                    }
                    self.pass().await?;
                }
            }
        }
    }

    /// Sends what comes before the next record of the client's handshake, which what was read and not
    /// sent begins with then.
    ///
    /// # Errors
    /// As [`Self::send`], and a client that is gone.
    pub(super) async fn next_handshake(&mut self) -> Result<(), Ended> {
        self.pass().await?;
        while self.ahead.is_empty() {
            self.ahead.reserve(CHUNK);
            match self.client.read_buf(&mut self.ahead).await {
                Ok(0) | Err(_) => return Err(Some("client_closed")),
                Ok(_) => self.pass().await?,
            }
        }
        Ok(())
    }

    /// Sends what is no handshake.
    async fn pass(&mut self) -> Result<(), Ended> {
        match self.records.up_to_handshake(&self.ahead) {
            0 => Ok(()),
            length => self.send(length).await,
        }
    }
}

/// An end of TLS without `close_notify` is one, as for the relay.
fn or_end(read: io::Result<usize>) -> io::Result<usize> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
        read => read,
    }
}

/// Where in a stream of records its last byte stands.
#[derive(Debug, Default)]
struct Records {
    /// Bytes of the head of the record that were seen.
    head: usize,
    kind: u8,
    /// Bytes that are still to come behind the head.
    length: usize,
}

impl Records {
    /// How many of the next bytes stand before a record of a handshake. Those of a record of an unknown
    /// type, and what is none, are passed over by the length that they say they have, as servers do
    /// that ignore them.
    fn up_to_handshake(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let Some(&first) = bytes.get(at) {
            if self.is_between() && first == HANDSHAKE {
                break;
            }
            at += self.step(&bytes[at..]).len();
        }
        at
    }

    fn is_between(&self) -> bool {
        self.head == 0
    }

    /// Takes a byte of the head, or what is there behind it, which is returned.
    fn step<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let taken = match self.head {
            HEAD => &bytes[..self.length.min(bytes.len())],
            seen => {
                match seen {
                    0 => (self.kind, self.length) = (bytes[0], 0),
                    3 | 4 => self.length = self.length << 8 | usize::from(bytes[0]),
                    _ => {}
                }
                self.head += 1;
                if self.head == HEAD && self.length == 0 {
                    self.head = 0;
                }
                return &bytes[..1];
            }
        };
        self.length -= taken.len();
        if self.length == 0 {
            self.head = 0;
        }
        taken
    }
}

/// What a destination says to a ClientHello.
#[derive(Debug, Default)]
struct Answer {
    records: Records,
    /// The beginning of its first message.
    message: Vec<u8>,
}

impl Answer {
    /// Reads the next bytes; whether it asks for another ClientHello, once that is known.
    fn read(&mut self, mut bytes: &[u8]) -> Option<bool> {
        while !bytes.is_empty() {
            let in_head = self.records.head < HEAD;
            let taken = self.records.step(bytes);
            bytes = &bytes[taken.len()..];
            let is_record = (CHANGE_CIPHER_SPEC..=APPLICATION_DATA).contains(&self.records.kind);
            if !is_record {
                return Some(false);
            }
            // A warning may come before it (RFC 6066 section 3).
            if in_head || self.records.kind != HANDSHAKE {
                continue;
            }
            let wanted = WITH_RANDOM - self.message.len();
            self.message.extend(taken.iter().take(wanted));
            if self.message[0] != SERVER_HELLO {
                return Some(false);
            }
            if self.message.len() == WITH_RANDOM {
                return Some(self.message[BEFORE_RANDOM..] == RETRY);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, bytes: &[u8]) -> Vec<u8> {
        let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
        [&[kind, 3, 3][..], &length, bytes].concat()
    }

    fn server_hello(random: [u8; 32]) -> Vec<u8> {
        [&[SERVER_HELLO, 0, 0, 70, 3, 3][..], &random, &[0; 38]].concat()
    }

    /// What is known of an answer that comes in pieces of a size.
    fn told(bytes: &[u8], size: usize) -> Option<bool> {
        let mut answer = Answer::default();
        bytes.chunks(size).find_map(|piece| answer.read(piece))
    }

    #[test]
    fn an_answer_that_asks_for_another_hello_is_known_in_any_pieces() {
        let warning = record(21, &[1, 112]);
        let in_pieces = |message: &[u8]| -> Vec<u8> {
            let records = message.chunks(7).flat_map(|piece| record(HANDSHAKE, piece));
            records.collect()
        };
        let (asks, goes_on) = (server_hello(RETRY), server_hello([7; 32]));
        for size in [1, 2, 5, 6, 1000] {
            for before in [&b""[..], &warning] {
                let told = |answer: Vec<u8>| told(&[before, &answer].concat(), size);
                assert_eq!(told(record(HANDSHAKE, &asks)), Some(true), "{size}");
                assert_eq!(told(in_pieces(&asks)), Some(true), "{size}");
                assert_eq!(told(record(HANDSHAKE, &goes_on)), Some(false), "{size}");
                assert_eq!(told(in_pieces(&goes_on)), Some(false), "{size}");
                assert_eq!(told(record(HANDSHAKE, &asks[..37])), None, "{size}");
                // What is sent back as it came.
                assert_eq!(told(record(HANDSHAKE, &[1, 0])), Some(false), "{size}");
                assert_eq!(told(b"HTTP/1.1 400".to_vec()), Some(false), "{size}");
            }
            assert_eq!(told(&warning, size), None, "{size}");
        }
    }

    #[test]
    fn a_handshake_of_the_client_is_found_in_any_pieces() {
        let early = record(APPLICATION_DATA, &[HANDSHAKE; 9]);
        let change = record(CHANGE_CIPHER_SPEC, &[1]);
        let empty = record(99, b"");
        let before = [early, change, empty].concat();
        let bytes = [&before[..], &record(HANDSHAKE, b"x")].concat();
        for size in 1..bytes.len() {
            let mut records = Records::default();
            let mut passed = 0;
            for piece in bytes.chunks(size) {
                let here = records.up_to_handshake(piece);
                passed += here;
                if here < piece.len() {
                    break;
                }
            }
            assert_eq!(passed, before.len(), "{size}");
        }
    }
}
