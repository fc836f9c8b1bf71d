//! One client of the relay.

use std::io;

use bytes::BytesMut;
use portcullis_config::egress::Authority;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Shared, plain, socks, tunnel};
use crate::{
    egress::{
        answer::{About, Refusal},
        closing::close,
        head::{Ask, Head, consume, read_head},
    },
    listen::{tune, within},
};

/// What probes ask for; all else in this form is a request for an origin server.
const HEALTH: &[u8] = b"GET /healthz ";

/// Serves a client until it closes, its tunnel ends or a plain request was passed on. SOCKS is
/// told by its first byte, which is no letter.
pub(super) async fn serve(mut client: TcpStream, shared: &Shared) -> io::Result<()> {
    tune(&client)?;
    let mut buffer = BytesMut::with_capacity(2048);
    let first = client.read_buf(&mut buffer);
    within(shared.limits.head_timeout, first).await?;
    match buffer.first() {
        None => Ok(()),
        Some(first) if first.is_ascii_graphic() => serve_http(client, buffer, shared).await,
        Some(_) => socks::serve(client, buffer, shared).await,
    }
}

async fn serve_http(
    mut client: TcpStream,
    mut buffer: BytesMut,
    shared: &Shared,
) -> io::Result<()> {
    let limits = &shared.limits;
    loop {
        let head = read_head(
            &mut client,
            &mut buffer,
            limits.max_head_size,
            limits.head_timeout,
        );
        let (ask, length) = match head.await? {
            Head::Closed => return Ok(()),
            Head::Bad { .. } if buffer.starts_with(HEALTH) => {
                return tell_health(&mut client, shared).await;
            }
            Head::Bad { reason, status } => {
                return refuse(&mut client, &Refusal::new(status, reason), None, false).await;
            }
            // Whatever the client says of who it is is not for the proxy.
            Head::Ask { ask, length, .. } => (ask, length),
        };
        match ask {
            Ask::Http {
                authority, target, ..
            } => return plain::forward(client, buffer, &authority, &target, shared).await,
            Ask::Connect(authority) => {
                consume(&mut buffer, length);
                if !connect(&mut client, &mut buffer, &authority, shared).await? {
                    return Ok(());
                }
            }
        }
    }
}

/// Serves a CONNECT; tells whether the client may ask again.
async fn connect(
    client: &mut TcpStream,
    buffer: &mut BytesMut,
    authority: &Authority,
    shared: &Shared,
) -> io::Result<bool> {
    // Bytes behind a refused CONNECT were meant for the tunnel, not for us.
    let may_keep = buffer.is_empty();
    match tunnel::ask(shared, authority).await {
        Err(refusal) => {
            refuse(client, &refusal, Some(authority), may_keep).await?;
            Ok(may_keep)
        }
        Ok(answer) => {
            client.write_all(&answer.head).await?;
            if answer.is_open() {
                let ahead = std::mem::take(buffer);
                answer.carry(client, ahead, shared).await?;
                return Ok(false);
            }
            let body = answer.pass_body(client);
            let keeps = within(shared.limits.answer_timeout, body).await?;
            Ok(keeps && may_keep)
        }
    }
}

/// Answers without the proxy, in its words.
pub(super) async fn refuse(
    client: &mut TcpStream,
    refusal: &Refusal,
    authority: Option<&Authority>,
    keep_open: bool,
) -> io::Result<()> {
    let about = about(authority);
    tracing::debug!(reason = refusal.reason, request_id = %about.id, "refused");
    client
        .write_all(&refusal.response(&about, keep_open))
        .await?;
    if !keep_open {
        close(client).await;
    }
    Ok(())
}

/// A request with an id of its own: the proxy has given it none. Whom to ask is the proxy's to say.
pub(super) fn about(authority: Option<&Authority>) -> About {
    let id = uuid::Uuid::new_v4().simple().to_string();
    match authority {
        Some(authority) => About::of(&id, authority),
        None => About {
            id,
            ..About::default()
        },
    }
}

/// Says whether clients can be served: it listens, and there is a token.
async fn tell_health(client: &mut TcpStream, shared: &Shared) -> io::Result<()> {
    if let Err(refusal) = shared.token.read() {
        return refuse(client, &refusal, None, false).await;
    }
    client
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 3\r\nconnection: close\r\n\r\nok\n")
        .await?;
    client.shutdown().await
}
