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
                return parse(&self.message[..length]);
            }
        }
    }

    /// Judges a record that is not whole by the first byte of its message.
    fn unfinished(&self, fragment: &[u8]) -> FirstBytes {
        match self.message.first().or(fragment.first()) {
            Some(&kind) if kind != CLIENT_HELLO => FirstBytes::NotTls,
            _ => FirstBytes::Incomplete,
        }
    }
}

fn parse(message: &[u8]) -> FirstBytes {
    let Ok((_, TlsMessage::Handshake(TlsMessageHandshake::ClientHello(hello)))) =
        parse_tls_message_handshake(message)
    else {
        return FirstBytes::NotTls;
    };
    let Some(extensions) = hello.ext else {
        return FirstBytes::Hello(None);
    };
    let Ok((_, extensions)) = parse_tls_extensions(extensions) else {
        return FirstBytes::NotTls;
    };
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
