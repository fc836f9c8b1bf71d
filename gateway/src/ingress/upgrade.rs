//! Upgrades (RFC 9110 section 7.8), WebSocket (RFC 6455) before all: after the
//! backend's 101 both connections are one stream.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, header};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{RequestContext, Session, finish::Answer};
use crate::upstream::{Connection, OpenStream};

/// Bytes that are passed on at once, each way.
const CHUNK: usize = 8 << 10;
/// How often a quiet connection is looked at.
const TICK: Duration = Duration::from_millis(500);

/// Tells whether a request asks for an upgrade that may pass.
///
/// One with a body is an ordinary request: what follows it would be read
/// otherwise by the two sides. HTTP/2 in clear is not passed on, or requests
/// could be sent inside that nobody has looked at.
pub(super) fn is_asked(session: &Session) -> bool {
    let headers = &session.req_header().headers;
    let one = |line: &http::HeaderValue| {
        line.to_str().is_ok_and(|line| {
            line.split(',').all(|protocol| {
                let name = protocol.trim().split('/').next().unwrap_or_default();
                !name.is_empty()
                    && !name.eq_ignore_ascii_case("h2c")
                    && !name.eq_ignore_ascii_case("http")
            })
        })
    };
    session.is_upgrade_req()
        && named_in_connection(headers)
        && headers.get_all(header::UPGRADE).iter().all(one)
        && !headers.contains_key(header::CONTENT_LENGTH)
        && !headers.contains_key(header::TRANSFER_ENCODING)
}

/// Whether `Connection` names the upgrade; without that the field is meant for
/// somebody else (RFC 9110 section 7.8).
fn named_in_connection(headers: &HeaderMap) -> bool {
    headers.get_all(header::CONNECTION).iter().any(|line| {
        line.as_bytes()
            .split(|&byte| byte == b',')
            .any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
    })
}

/// Relays until both sides have ended, or both are silent for the rule's
/// `timeouts.read`; the 101 has been written.
pub(super) async fn relay(
    mut session: Session,
    backend: Connection,
    ctx: &mut RequestContext,
) -> Answer {
    let mut answer = Answer::of(&session);
    // What came behind the head already was meant for the backend.
    let early = session
        .read_request_body()
        .now_or_never()
        .and_then(Result::ok)
        .flatten();
    let (Session::H1(client), Some((backend, late))) = (session, backend.into_upgraded()) else {
        return answer;
    };
    let quiet = ctx
        .rule
        .as_ref()
        .map_or(Duration::MAX, |rule| rule.rule.policies.timeouts.read);
    let late = late.freeze();
    let OpenStream { stream, open } = backend;
    let traffic = both_ways(client.into_inner(), stream, early, late, quiet).await;
    drop(open);
    ctx.body_bytes += traffic.up.into_inner();
    answer.bytes += traffic.down.into_inner();
    answer
}

#[derive(Default)]
struct Traffic {
    up: AtomicU64,
    down: AtomicU64,
}

async fn both_ways(
    client: impl AsyncRead + AsyncWrite,
    backend: impl AsyncRead + AsyncWrite,
    early: Option<Bytes>,
    late: Bytes,
    quiet: Duration,
) -> Traffic {
    let traffic = Traffic::default();
    let (client_read, client_write) = tokio::io::split(client);
    let (backend_read, backend_write) = tokio::io::split(backend);
    let early = io::Cursor::new(early.unwrap_or_default());
    let late = io::Cursor::new(late);
    {
        let both = async {
            tokio::join!(
                copy(early.chain(client_read), backend_write, &traffic.up),
                copy(late.chain(backend_read), client_write, &traffic.down),
            )
        };
        tokio::pin!(both);
        let (mut seen, mut quiet_since) = (0, Instant::now());
        loop {
            tokio::select! {
                _ = &mut both => break,
                () = tokio::time::sleep(TICK) => {}
            }
            let now = traffic.up.load(Ordering::Relaxed) + traffic.down.load(Ordering::Relaxed);
            if now != seen {
                (seen, quiet_since) = (now, Instant::now());
            }
            if quiet_since.elapsed() >= quiet {
                break;
            }
        }
    }
    traffic
}

/// Copies one way; the end of the source closes the sink's direction alone.
async fn copy(from: impl AsyncRead, to: impl AsyncWrite, count: &AtomicU64) -> io::Result<()> {
    tokio::pin!(from, to);
    let mut chunk = vec![0; CHUNK];
    let copied = async {
        loop {
            let read = from.read(&mut chunk).await?;
            if read == 0 {
                return Ok(());
            }
            to.write_all(&chunk[..read]).await?;
            to.flush().await?;
            count.fetch_add(read as u64, Ordering::Relaxed);
        }
    };
    let result = copied.await;
    // The other side may be gone already.
    let _ = to.shutdown().await;
    result
}
