//! The server name in a TLS ClientHello that may come in many pieces.

use bytes::BytesMut;
use tls_parser::{
    SNIType, TlsExtension, TlsMessage, TlsMessageHandshake, parse_tls_extensions,
    parse_tls_message_handshake,
};

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
    may_hide_a_name: bool,
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
                _ => return FirstBytes::NotTls,
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
                let (first_bytes, may_hide_a_name) = parse(&self.message[..length]);
                self.may_hide_a_name = may_hide_a_name;
                return first_bytes;
            }
        }
    }

    /// Bytes of the whole records that were read.
    pub(crate) fn taken(&self) -> usize {
        self.taken
    }

    /// Whether the ClientHello that was read has the extension `encrypted_client_hello`: it may
    /// name another host than it shows. What is in it cannot be told from chance, which is what
    /// it is where a client has nothing to hide (GREASE, RFC 9849 section 6.2).
    pub(crate) fn may_hide_a_name(&self) -> bool {
        self.may_hide_a_name
    }

    /// Judges a record that is not whole by the first byte of its message.
    fn unfinished(&self, fragment: &[u8]) -> FirstBytes {
        match self.message.first().or(fragment.first()) {
            Some(&kind) if kind != CLIENT_HELLO => FirstBytes::NotTls,
            _ => FirstBytes::Incomplete,
        }
    }
}

/// What a message says, and whether it may hide a name.
fn parse(message: &[u8]) -> (FirstBytes, bool) {
    let Ok((_, TlsMessage::Handshake(TlsMessageHandshake::ClientHello(hello)))) =
        parse_tls_message_handshake(message)
    else {
        return (FirstBytes::NotTls, false);
    };
    let Some(extensions) = hello.ext else {
        return (FirstBytes::Hello(None), false);
    };
    let may_hide_a_name = may_have(extensions, ENCRYPTED_CLIENT_HELLO);
    match parse_tls_extensions(extensions) {
        Ok((_, extensions)) => (name(&extensions), may_hide_a_name),
        Err(_) => (FirstBytes::NotTls, may_hide_a_name),
    }
}

/// Whether a list of extensions has one (RFC 8446 section 4.2). A list that is broken may: the
/// parser ends at the first extension whose content it does not take, and servers may not.
fn may_have(mut extensions: &[u8], wanted: u16) -> bool {
    loop {
        let [a, b, high, low, content @ ..] = extensions else {
            return !extensions.is_empty();
        };
        if u16::from_be_bytes([*a, *b]) == wanted {
            return true;
        }
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        match content.get(length..) {
            Some(rest) => extensions = rest,
            None => return true,
        }
    }
}

/// The one name that is asked for.
fn name(extensions: &[TlsExtension<'_>]) -> FirstBytes {
    let names: Vec<&[u8]> = extensions
        .iter()
        .filter_map(|extension| match extension {
            TlsExtension::SNI(names) => Some(names),
            _ => None,
        })
        .flatten()
        .map(|(kind, name)| {
            if *kind == SNIType::HostName {
                *name
            } else {
                &b""[..]
            }
        })
        .collect();
    match names.as_slice() {
        [] => FirstBytes::Hello(None),
        [name] => match std::str::from_utf8(name) {
            Ok(name) => FirstBytes::Hello(Some(name.to_ascii_lowercase())),
            Err(_) => FirstBytes::NotTls,
        },
        // Two names would be read differently by different servers.
        _ => FirstBytes::NotTls,
    }
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
        // What comes behind a list that is broken cannot be told.
        let broken = with_extension(plain, 0x0a0a, 0xffff);
        assert!(told(&broken).1);
    }

    #[test]
    fn one_name_is_read_in_lower_case_and_two_are_none() {
        let names = |names: &[&'static str]| {
            let named = |name: &&'static str| (SNIType::HostName, name.as_bytes());
            name(&[TlsExtension::SNI(names.iter().map(named).collect())])
        };
        let one = FirstBytes::Hello(Some("api.example.com".into()));
        assert_eq!(names(&["API.Example.com"]), one);
        let two = names(&["api.example.com", "evil.example"]);
        assert_eq!(two, FirstBytes::NotTls);
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
