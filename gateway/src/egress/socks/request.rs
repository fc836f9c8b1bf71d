//! What a client of SOCKS5 asks for (RFC 1928 sections 3 to 6).

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use bytes::{Buf, BytesMut};
use portcullis_config::egress::{Authority, AuthorityError, Host};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const NO_METHOD: u8 = 0xff;
const CONNECT: u8 = 1;

/// Replies (RFC 1928 section 6).
pub(crate) mod reply {
    pub(crate) const SUCCEEDED: u8 = 0;
    pub(crate) const FAILURE: u8 = 1;
    pub(crate) const NOT_ALLOWED: u8 = 2;
    pub(crate) const HOST_UNREACHABLE: u8 = 4;
    pub(crate) const CONNECTION_REFUSED: u8 = 5;
    pub(crate) const TTL_EXPIRED: u8 = 6;
    pub(crate) const COMMAND: u8 = 7;
    pub(crate) const ADDRESS_TYPE: u8 = 8;
}

/// What is no request for a tunnel, and what its client is told.
pub(crate) struct Bad {
    pub(crate) reason: &'static str,
    pub(crate) answer: Vec<u8>,
}

impl Bad {
    fn reply(reason: &'static str, code: u8) -> Self {
        Self {
            reason,
            answer: reply_of(code).to_vec(),
        }
    }
}

/// Agrees on a method and reads what is asked for; what follows it stays in the buffer.
pub(crate) async fn ask(
    client: &mut (impl AsyncRead + AsyncWrite + Unpin),
    buffer: &mut BytesMut,
) -> io::Result<Result<Authority, Bad>> {
    fill(client, buffer, 2).await?;
    if buffer[0] != VERSION {
        return Ok(Err(another_version(buffer[0])));
    }
    let methods = usize::from(buffer[1]);
    fill(client, buffer, 2 + methods).await?;
    let has_none = buffer[2..2 + methods].contains(&NO_AUTHENTICATION);
    buffer.advance(2 + methods);
    if !has_none {
        return Ok(Err(Bad {
            reason: "socks_method",
            answer: vec![VERSION, NO_METHOD],
        }));
    }
    client.write_all(&[VERSION, NO_AUTHENTICATION]).await?;
    client.flush().await?;

    // Up to the length of a name, which every kind of address is longer than.
    fill(client, buffer, 5).await?;
    let [version, command, reserved, kind, length] = [0, 1, 2, 3, 4].map(|at| buffer[at]);
    if version != VERSION || reserved != 0 {
        return Ok(Err(Bad::reply("socks_request", reply::FAILURE)));
    }
    let end = match kind {
        1 => 4 + 4,
        3 => 5 + usize::from(length),
        4 => 4 + 16,
        _ => return Ok(Err(Bad::reply("socks_address_type", reply::ADDRESS_TYPE))),
    };
    fill(client, buffer, end + 2).await?;
    let message = buffer.split_to(end + 2);
    if command != CONNECT {
        return Ok(Err(Bad::reply("socks_command", reply::COMMAND)));
    }
    let host = match kind {
        3 => name(&message[5..end]),
        _ => Ok(Host::Address(literal(&message[4..end]))),
    };
    let port = u16::from_be_bytes([message[end], message[end + 1]]);
    Ok(match host {
        // The message itself is broken where there is no name at all.
        Err(error) if kind == 3 && length == 0 => Err(Bad::reply(error.reason(), reply::FAILURE)),
        Err(error) => Err(Bad::reply(error.reason(), reply::NOT_ALLOWED)),
        Ok(_) if port == 0 => {
            let reason = AuthorityError::Port.reason();
            Err(Bad::reply(reason, reply::NOT_ALLOWED))
        }
        Ok(host) => Ok(Authority { host, port }),
    })
}

/// A name field: it may hold any bytes, an address among them.
fn name(bytes: &[u8]) -> Result<Host, AuthorityError> {
    let text = std::str::from_utf8(bytes).map_err(|_| AuthorityError::NonAscii)?;
    Host::parse(text)
}

/// Four bytes, or sixteen.
fn literal(bytes: &[u8]) -> IpAddr {
    match <[u8; 4]>::try_from(bytes) {
        Ok(bytes) => Ipv4Addr::from(bytes).into(),
        Err(_) => {
            let mut all = [0; 16];
            for (to, from) in all.iter_mut().zip(bytes) {
                *to = *from;
            }
            Ipv6Addr::from(all).into()
        }
    }
}

/// Whoever speaks something else is told so in their own words.
fn another_version(first: u8) -> Bad {
    let answer = match first {
        4 => vec![0, 0x5b, 0, 0, 0, 0, 0, 0],
        b'A'..=b'Z' => {
            b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n\
            This port speaks SOCKS5; HTTP has a port of its own.\n"
                .to_vec()
        }
        _ => Vec::new(),
    };
    Bad {
        reason: "socks_version",
        answer,
    }
}

/// A reply without an address: that of our own socket is nobody's business.
pub(crate) fn reply_of(code: u8) -> [u8; 10] {
    [VERSION, code, 0, 1, 0, 0, 0, 0, 0, 0]
}

/// Reads until so many bytes are there.
async fn fill(
    client: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
    length: usize,
) -> io::Result<()> {
    while buffer.len() < length {
        if client.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}
