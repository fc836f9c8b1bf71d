//! One client of the egress proxy that speaks SOCKS5 (RFC 1928).
//!
//! CONNECT alone: what UDP carries cannot be judged. A client is known by its address, since
//! a token does not fit the password of RFC 1929; so no method but "none" is taken, and where a
//! token is required every client is refused. Names are looked up here, after the policy has allowed them.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::SystemTime,
};

use bytes::{Buf, BytesMut};
use portcullis_config::egress::{Authority, AuthorityError, Host, Request};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{
    answer::Refusal,
    audit::Record,
    client::ClientStream,
    credentials::Credentials,
    decide::{Proxy, open},
    peer::Peer,
    servers::{EgressServices, State},
    tunnel::Tunnel,
};

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const NO_METHOD: u8 = 0xff;
const CONNECT: u8 = 1;

/// Replies (RFC 1928 section 6).
pub(super) mod reply {
    pub(in crate::egress) const SUCCEEDED: u8 = 0;
    pub(super) const FAILURE: u8 = 1;
    pub(super) const NOT_ALLOWED: u8 = 2;
    pub(super) const HOST_UNREACHABLE: u8 = 4;
    pub(super) const CONNECTION_REFUSED: u8 = 5;
    pub(super) const TTL_EXPIRED: u8 = 6;
    pub(super) const COMMAND: u8 = 7;
    pub(super) const ADDRESS_TYPE: u8 = 8;
}

/// What is no request for a tunnel, and what its client is told.
pub(super) struct Bad {
    reason: &'static str,
    pub(super) answer: Vec<u8>,
}

impl Bad {
    fn reply(reason: &'static str, code: u8) -> Self {
        Self {
            reason,
            answer: reply_of(code).to_vec(),
        }
    }
}

/// Serves a client until its one tunnel ends, or it is refused.
pub(super) async fn serve(
    mut client: ClientStream,
    (address, peer): (SocketAddr, Arc<Peer>),
    services: &Arc<EgressServices>,
    state: &Arc<State>,
) {
    let Some(limit) = state.egress().map(|egress| egress.limits.head_timeout) else {
        return;
    };
    let mut buffer = BytesMut::with_capacity(512);
    let asked = tokio::time::timeout(limit, ask(&mut client, &mut buffer)).await;
    let asked = asked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let asked = match asked {
        Ok(asked) => asked,
        Err(error) => return tracing::debug!(client = %address, %error, "egress client closed"),
    };
    // It may have been long in coming: it is decided on what holds now.
    let Some(egress) = state.egress().filter(|_| !state.is_draining()) else {
        return;
    };
    let mut record = Record::new(address, peer);
    record.describe("SOCKS5", asked.as_ref().ok());
    let authority = match asked {
        Ok(authority) => authority,
        Err(bad) => {
            let refusal = Refusal::new(400, bad.reason);
            return refuse(client, &refusal, &bad.answer, record, services).await;
        }
    };
    let request = Request {
        authority: &authority,
        http: None,
        now: SystemTime::now(),
    };
    let proxy = Proxy {
        egress: &egress,
        services,
        state,
    };
    match open(proxy, request, Credentials::Impossible, &mut record).await {
        Err(refusal) => {
            let answer = reply_of(code_of(refusal.status, refusal.reason));
            refuse(client, &refusal, &answer, record, services).await;
        }
        Ok(opened) => {
            let tunnel = Tunnel::new(client, buffer, opened, authority, record, proxy);
            tunnel.run(&reply_of(reply::SUCCEEDED)).await;
        }
    }
}

async fn refuse(
    mut client: ClientStream,
    refusal: &Refusal,
    answer: &[u8],
    mut record: Record,
    services: &EgressServices,
) {
    record.refused(refusal);
    // The client may be gone already.
    let _ = client.write_all(answer).await;
    let _ = client.shutdown().await;
    record.write(services);
}

/// Agrees on a method and reads what is asked for; what follows it stays in the buffer.
pub(super) async fn ask(
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

/// What a client is told of a refusal.
pub(super) fn code_of(status: u16, reason: &str) -> u8 {
    match (status, reason) {
        (504, "connect_timeout") => reply::TTL_EXPIRED,
        (502, "connect_failed") => reply::CONNECTION_REFUSED,
        (502 | 504, _) => reply::HOST_UNREACHABLE,
        (500.., _) => reply::FAILURE,
        _ => reply::NOT_ALLOWED,
    }
}

/// A reply without an address: that of our own socket is nobody's business.
pub(super) fn reply_of(code: u8) -> [u8; 10] {
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
