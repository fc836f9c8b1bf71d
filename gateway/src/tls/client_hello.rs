//! The server name in a TLS ClientHello that may come in many pieces.

use bytes::BytesMut;

/// What the first bytes of a connection say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FirstBytes {
    /// More bytes are needed.
    Incomplete,
    /// Not a TLS handshake.
    NotTls,
    /// A whole ClientHello and the name it asks for, lower case.
    Hello(Option<String>),
}

/// `server_name` (RFC 6066 section 3), and its one type of names.
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;
/// `encrypted_client_hello` (RFC 9849 section 5).
const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// Largest fragment of a record (RFC 8446 section 5.1).
const MAX_FRAGMENT: usize = 1 << 14;

/// Reads a ClientHello from bytes that come in pieces. Fragments of one handshake
/// message are put together across records, each of them once: a client that sends
/// byte by byte, or records of one byte, costs no more than another.
#[derive(Debug, Default)]
pub(crate) struct HelloReader {
    /// The message so far.
    message: BytesMut,
    /// Bytes of the whole records that it was taken from.
    taken: usize,
    hides_no_name: bool,
}

impl HelloReader {
    /// Judges the bytes that came so far, those of the calls before included.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> FirstBytes {
        loop {
            let fragment = match &bytes[self.taken..] {
                [] | [HANDSHAKE] | [HANDSHAKE, 3] => return FirstBytes::Incomplete,
                [HANDSHAKE, 3, _] | [HANDSHAKE, 3, _, _] => return FirstBytes::Incomplete,
                [HANDSHAKE, 3, _, high, low, fragment @ ..] => {
                    let length = usize::from(*high) << 8 | usize::from(*low);
                    if length == 0 || length > MAX_FRAGMENT {
                        return FirstBytes::NotTls;
                    }
                    match fragment.get(..length) {
                        Some(whole) => whole,
                        None => return self.unfinished(fragment),
                    }
                }
                _ => {
                    // What begins as no record is none to any server.
                    self.hides_no_name = self.taken == 0 && bytes[0] != HANDSHAKE;
                    return FirstBytes::NotTls;
                }
            };
            self.message.extend_from_slice(fragment);
            self.taken += 5 + fragment.len();
            if self.message[0] != CLIENT_HELLO {
                return FirstBytes::NotTls;
            }
            let [_, a, b, c, ..] = self.message[..] else {
                continue;
            };
            let length = 4 + (usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c));
            if self.message.len() >= length {
                // Nothing stands behind a ClientHello in its record (RFC 8446 section 5.1), least of
                // all a second one.
                let hello = self
                    .message
                    .get(4..)
                    .filter(|body| body.len() == length - 4);
                let Some(hello) = hello.and_then(ClientHello::read) else {
                    return FirstBytes::NotTls;
                };
                self.hides_no_name = !hello.is_encrypted;
                return FirstBytes::Hello(hello.name);
            }
        }
    }

    /// Bytes of the whole records that were read.
    pub(crate) fn taken(&self) -> usize {
        self.taken
    }

    /// Whether another host may be named than is shown: by a ClientHello that has the extension
    /// `encrypted_client_hello`, and by one that could not be read, or not yet. What is in the extension
    /// cannot be told from chance, which is what it is where a client has nothing to hide (GREASE,
    /// RFC 9849 section 6.2).
    pub(crate) fn may_hide_a_name(&self) -> bool {
        !self.hides_no_name
    }

    /// Judges a record that is not whole by the first byte of its message.
    fn unfinished(&self, fragment: &[u8]) -> FirstBytes {
        match self.message.first().or(fragment.first()) {
            Some(&kind) if kind != CLIENT_HELLO => FirstBytes::NotTls,
            _ => FirstBytes::Incomplete,
        }
    }
}

/// What a ClientHello shows (RFC 8446 section 4.1.2).
struct ClientHello {
    /// The name that is asked for, in lower case.
    name: Option<String>,
    is_encrypted: bool,
}

impl ClientHello {
    /// Reads all of it, to the last byte; `None` where a byte is wrong. Parsers of TLS leave out what
    /// they do not know or cannot read, which is right for what is to be served: here another server
    /// may read what was left out.
    fn read(body: &[u8]) -> Option<Self> {
        let mut hello = Self {
            name: None,
            is_encrypted: false,
        };
        let mut rest = body;
        // Version and random; session id, cipher suites and compression methods.
        take(&mut rest, 2 + 32)?;
        vector::<1>(&mut rest)?;
        vector::<2>(&mut rest)?;
        vector::<1>(&mut rest)?;
        // Older ones end here.
        if rest.is_empty() {
            return Some(hello);
        }
        let mut extensions = vector::<2>(&mut rest)?;
        if !rest.is_empty() {
            return None;
        }
        while !extensions.is_empty() {
            let kind = number(take(&mut extensions, 2)?);
            let content = vector::<2>(&mut extensions)?;
            if kind == usize::from(SERVER_NAME) {
                // Two would be read differently by different servers.
                if hello.name.replace(server_name(content)?).is_some() {
                    return None;
                }
            }
            hello.is_encrypted |= kind == usize::from(ENCRYPTED_CLIENT_HELLO);
        }
        Some(hello)
    }
}

/// The one name of a list (RFC 6066 section 3).
fn server_name(mut content: &[u8]) -> Option<String> {
    let mut list = vector::<2>(&mut content)?;
    let kind = take(&mut list, 1)?;
    let name = vector::<2>(&mut list)?;
    let is_whole = kind == [HOST_NAME] && list.is_empty() && content.is_empty();
    let name = std::str::from_utf8(name).ok().filter(|_| is_whole)?;
    Some(name.to_ascii_lowercase())
}

/// So many bytes from the front.
fn take<'b>(bytes: &mut &'b [u8], length: usize) -> Option<&'b [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

/// A vector whose length stands before it, in `N` bytes (RFC 8446 section 3.4).
fn vector<'b, const N: usize>(bytes: &mut &'b [u8]) -> Option<&'b [u8]> {
    let length = number(take(bytes, N)?);
    take(bytes, length)
}

fn number(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | usize::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_bytes(bytes: &[u8]) -> FirstBytes {
        HelloReader::default().read(bytes)
    }

    /// A ClientHello as rustls sends it.
    fn hello(name: &str) -> Vec<u8> {
        let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let name = rustls_pki_types::ServerName::try_from(name.to_owned()).unwrap();
        let mut connection =
            rustls::ClientConnection::new(std::sync::Arc::new(config), name).unwrap();
        let mut bytes = Vec::new();
        connection.write_tls(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn the_name_is_found_however_the_bytes_are_cut() {
        let bytes = hello("Api.Example.com");
        for end in 0..bytes.len() {
            assert_eq!(first_bytes(&bytes[..end]), FirstBytes::Incomplete, "{end}");
        }
        assert_eq!(
            first_bytes(&bytes),
            FirstBytes::Hello(Some("api.example.com".into()))
        );
        let mut cut = Vec::new();
        for piece in bytes[5..].chunks(7) {
            cut.extend_from_slice(&[22, 3, 1, 0, u8::try_from(piece.len()).unwrap()]);
            cut.extend_from_slice(piece);
        }
        assert_eq!(
            first_bytes(&cut),
            FirstBytes::Hello(Some("api.example.com".into()))
        );
        // The same, as the bytes come one by one.
        for bytes in [&bytes, &cut] {
            let mut reader = HelloReader::default();
            for end in 0..bytes.len() {
                assert_eq!(reader.read(&bytes[..end]), FirstBytes::Incomplete, "{end}");
            }
            let found = FirstBytes::Hello(Some("api.example.com".into()));
            assert_eq!(reader.read(bytes), found);
        }
        assert_eq!(first_bytes(&hello("10.0.0.1")), FirstBytes::Hello(None));
    }

    /// A whole hello with an extension put before the others, its length as given.
    fn with_extension(mut bytes: Vec<u8>, kind: u16, length: u16) -> Vec<u8> {
        let mut at = 5 + 4 + 2 + 32;
        at += 1 + usize::from(bytes[at]);
        at += 2 + usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
        at += 1 + usize::from(bytes[at]);
        let extension = [&kind.to_be_bytes()[..], &length.to_be_bytes(), &[7; 8]].concat();
        for length in [3, 7, at] {
            let before = u16::from_be_bytes([bytes[length], bytes[length + 1]]);
            bytes[length..length + 2].copy_from_slice(&(before + 12).to_be_bytes());
        }
        bytes.splice(at + 2..at + 2, extension);
        bytes
    }

    #[test]
    fn a_hello_that_may_hide_a_name_is_known_in_any_pieces() {
        let told = |bytes: &[u8]| {
            let mut reader = HelloReader::default();
            let first = reader.read(bytes);
            (first, reader.may_hide_a_name())
        };
        let name = FirstBytes::Hello(Some("api.example.com".into()));
        let plain = hello("api.example.com");
        assert_eq!(told(&plain), (name.clone(), false));
        // RFC 8701 reserves 0x0a0a for what means nothing.
        let greased = with_extension(plain.clone(), 0x0a0a, 8);
        assert_eq!(told(&greased), (name.clone(), false));
        let hiding = with_extension(plain.clone(), ENCRYPTED_CLIENT_HELLO, 8);
        assert_eq!(told(&hiding), (name.clone(), true));
        let mut cut = Vec::new();
        for piece in hiding[5..].chunks(7) {
            cut.extend_from_slice(&[22, 3, 1, 0, u8::try_from(piece.len()).unwrap()]);
            cut.extend_from_slice(piece);
        }
        assert_eq!(told(&cut), (name, true));
        // Nor what is not read.
        let broken = with_extension(plain.clone(), 0x0a0a, 0xffff);
        assert_eq!(told(&broken), (FirstBytes::NotTls, true));
        assert_eq!(told(&plain[..99]), (FirstBytes::Incomplete, true));
        assert_eq!(told(&[22, 3, 1, 0, 0]), (FirstBytes::NotTls, true));
        assert_eq!(told(b"SSH-2.0-x"), (FirstBytes::NotTls, false));
    }

    #[test]
    fn a_name_stands_out_whatever_is_before_it() {
        let evil = hello("evil.example");
        // Extensions of 8 bytes that some parsers stop at: an old name for encrypted names, a
        // heartbeat, a list of names that is none.
        for (kind, expected) in [
            (0xffce, FirstBytes::Hello(Some("evil.example".into()))),
            (15, FirstBytes::Hello(Some("evil.example".into()))),
            (SERVER_NAME, FirstBytes::NotTls),
        ] {
            let told = first_bytes(&with_extension(evil.clone(), kind, 8));
            assert_eq!(told, expected, "{kind}");
        }
    }

    #[test]
    fn nothing_stands_behind_a_hello_in_its_record() {
        let (good, evil) = (hello("api.example.com"), hello("evil.example"));
        let message = [&good[5..], &evil[5..]].concat();
        let length = u16::try_from(message.len()).unwrap().to_be_bytes();
        let record = [&[22, 3, 1][..], &length, &message].concat();
        assert_eq!(first_bytes(&record), FirstBytes::NotTls);
        // Nor inside its length, behind the extensions.
        let mut longer = good.clone();
        longer.extend_from_slice(b"xx");
        longer[4] += 2;
        longer[8] += 2;
        assert_eq!(first_bytes(&longer), FirstBytes::NotTls);
        let behind = [&good[..], &evil].concat();
        let mut reader = HelloReader::default();
        let name = FirstBytes::Hello(Some("api.example.com".into()));
        assert_eq!((reader.read(&behind), reader.taken()), (name, good.len()));
    }

    #[test]
    fn one_name_is_read_in_lower_case_and_two_are_none() {
        let names = |names: &[(u8, &[u8])], behind: &[u8]| {
            let name = |(kind, name): &(u8, &[u8])| {
                let length = u16::try_from(name.len()).unwrap().to_be_bytes();
                [&[*kind][..], &length, name].concat()
            };
            let list: Vec<u8> = names.iter().flat_map(name).collect();
            let length = u16::try_from(list.len()).unwrap().to_be_bytes();
            server_name(&[&length, &list[..], behind].concat())
        };
        let one = (HOST_NAME, &b"API.Example.com"[..]);
        assert_eq!(names(&[one], b"").as_deref(), Some("api.example.com"));
        for (list, behind) in [
            (&[][..], &b""[..]),
            (&[one, (HOST_NAME, b"evil.example")], b""),
            (&[one, (1, b"evil.example")], b""),
            (&[(1, b"api.example.com")], b""),
            (&[(HOST_NAME, b"\xff")], b""),
            (&[one], b"x"),
        ] {
            assert_eq!(names(list, behind), None, "{list:?}");
        }
        assert_eq!(server_name(b""), None);
    }

    #[test]
    fn other_protocols_are_not_tls() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"SSH-2.0-x\r\n",
            &[22, 3, 1, 0, 0],
            &[22, 3, 1, 0, 1, 2],
            &[21, 3, 3, 0, 2],
            &[22, 2],
        ] {
            assert_eq!(first_bytes(bytes), FirstBytes::NotTls, "{bytes:?}");
        }
    }

    #[test]
    fn mutated_hellos_are_judged_without_a_panic() {
        let bytes = hello("api.example.com");
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut mutated = bytes.clone();
                mutated[at] = value;
                let _ = first_bytes(&mutated);
            }
        }
    }
}
