//! A tunnel through the proxy.

use std::io;

use bytes::{BufMut, BytesMut};
use portcullis_config::egress::Authority;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_util::either::Either;

use super::{Shared, proxy::Upstream};
use crate::{
    egress::{answer::Refusal, head::head_end},
    listen::within,
    relay::{RelayLimits, Traffic, relay, relay_streams},
};

/// Header fields in the head of an answer.
const MAX_HEADERS: usize = 100;

/// What the proxy answers to CONNECT.
pub(super) struct Answer {
    /// The connection to it.
    pub(super) upstream: Upstream,
    /// The head as it came.
    pub(super) head: BytesMut,
    /// What came behind it: of the tunnel, or of the body.
    pub(super) rest: BytesMut,
    pub(super) status: u16,
    /// Reason code of a refusal.
    pub(super) reason: String,
    /// Bytes of the body of a refusal; `None` where it goes to the end of the connection.
    pub(super) length: Option<u64>,
    /// Whether a client may ask again behind it.
    pub(super) keeps: bool,
}

/// What the head of an answer says.
struct Parsed {
    status: u16,
    reason: String,
    length: Option<u64>,
    keeps: bool,
}

/// Asks the proxy for a tunnel, with the token of now.
///
/// # Errors
/// No token, no proxy, and no answer of it.
pub(super) async fn ask(shared: &Shared, authority: &Authority) -> Result<Answer, Refusal> {
    let limits = &shared.limits;
    let token = shared.token.read()?;
    let mut upstream = shared.proxy.connect(limits.connect_timeout).await?;
    let exchange = async {
        let head = format!(
            "CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\nProxy-Authorization: Bearer {token}\r\n\r\n"
        );
        upstream.write_all(head.as_bytes()).await?;
        upstream.flush().await?;
        read_answer(&mut upstream, limits.max_head_size).await
    };
    let answered = within(limits.answer_timeout, exchange).await;
    let (head, rest, parsed) = answered.map_err(|error| {
        tracing::warn!(%error, "the proxy does not answer as one");
        match error.kind() {
            io::ErrorKind::TimedOut => Refusal::new(504, "relay_answer_timeout"),
            _ => Refusal::new(502, "relay_bad_answer"),
        }
    })?;
    Ok(Answer {
        upstream,
        head,
        rest,
        status: parsed.status,
        reason: parsed.reason,
        length: parsed.length,
        keeps: parsed.keeps,
    })
}

async fn read_answer(
    upstream: &mut Upstream,
    max_bytes: usize,
) -> io::Result<(BytesMut, BytesMut, Parsed)> {
    let mut head = BytesMut::with_capacity(1024);
    let mut searched = 0;
    let end = loop {
        if let Some(end) = head_end(&head, searched) {
            break end;
        }
        if head.len() > max_bytes {
            return Err(io::Error::other("its head is too large"));
        }
        searched = head.len().saturating_sub(3);
        // No further than a head may be: the rest stays in the socket.
        let room = max_bytes + 1 - head.len();
        if upstream.read_buf(&mut (&mut head).limit(room)).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let rest = head.split_off(end);
    let parsed = parse(&head).ok_or_else(|| io::Error::other("its head is none of HTTP"))?;
    Ok((head, rest, parsed))
}

fn parse(head: &[u8]) -> Option<Parsed> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    if !response.parse(head).ok()?.is_complete() {
        return None;
    }
    // Nothing of 1xx answers a CONNECT.
    let status = response.code.filter(|code| *code >= 200)?;
    let mut parsed = Parsed {
        status,
        reason: String::new(),
        length: None,
        keeps: true,
    };
    for header in response.headers.iter() {
        let value = std::str::from_utf8(header.value).unwrap_or_default();
        if header.name.eq_ignore_ascii_case("content-length") {
            let good = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
            parsed.length = Some(good.then(|| value.parse().ok())??);
        } else if header.name.eq_ignore_ascii_case("x-portcullis-reason") {
            let (_, code) = value.split_once('/').unwrap_or_default();
            code.clone_into(&mut parsed.reason);
        } else if header.name.eq_ignore_ascii_case("connection") {
            parsed.keeps &= !value.eq_ignore_ascii_case("close");
        }
    }
    Some(parsed)
}

impl Answer {
    /// Whether there is a tunnel.
    pub(super) fn is_open(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Carries a tunnel until it ends: first what came behind the head, and what the client sent
    /// ahead.
    pub(super) async fn carry(
        mut self,
        client: &mut TcpStream,
        ahead: BytesMut,
        shared: &Shared,
    ) -> io::Result<()> {
        client.write_all(&self.rest).await?;
        self.upstream.write_all(&ahead).await?;
        self.upstream.flush().await?;
        let Self { mut upstream, .. } = self;
        drop(ahead);
        let limits = RelayLimits {
            idle: Some(shared.limits.idle_timeout),
            lifetime: None,
        };
        let traffic = Traffic::default();
        let ended = match &mut upstream {
            Either::Left(socket) => relay(client, socket, limits, &traffic, || None).await,
            Either::Right(tls) => relay_streams(client, tls, limits, &traffic, || None).await,
        };
        tracing::debug!(?ended, "tunnel ended");
        Ok(())
    }

    /// Passes the body of a refusal on; tells whether the client may ask again.
    pub(super) async fn pass_body(mut self, client: &mut TcpStream) -> io::Result<bool> {
        let body = self.rest.chain(&mut self.upstream);
        let mut body = body.take(self.length.unwrap_or(u64::MAX));
        let copied = tokio::io::copy(&mut body, client).await?;
        Ok(self.keeps && self.length == Some(copied))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_what_becomes_of_the_connection() {
        let of = |head: &str| {
            let parsed = parse(head.as_bytes())?;
            Some((parsed.status, parsed.reason, parsed.length, parsed.keeps))
        };
        let refusal = "HTTP/1.1 403 Forbidden\r\ncontent-length: 12\r\nX-Portcullis-Reason: egress/not_allowed\r\n";
        let expected = |keeps| Some((403, "not_allowed".to_owned(), Some(12), keeps));
        assert_eq!(of(&format!("{refusal}\r\n")), expected(true));
        assert_eq!(
            of(&format!("{refusal}connection: close\r\n\r\n")),
            expected(false)
        );
        assert_eq!(
            of("HTTP/1.1 200 Connection Established\r\n\r\n"),
            Some((200, String::new(), None, true))
        );
        for bad in [
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 403 No\r\ncontent-length: +1\r\n\r\n",
            "HTTP/1.1 403 No\r\ncontent-length:\r\n\r\n",
            "SSH-2.0-x\r\n\r\n",
            "\x15\x03\x03\0\x02\x02\x46\r\n\r\n",
        ] {
            assert_eq!(of(bad), None, "{bad:?}");
        }
    }
}
