//! Responses compressed on their way to the client.
//!
//! ```text
//! head --begin--> changed for a coding    body --write_body--> Encoder --> client
//!                                         nothing at hand --flush--> client
//! ```
//!
//! What to compress is decided in `portcullis_config::compression`. A response that
//! pauses is flushed, so that a slow backend's bytes are not kept.

use bytes::Bytes;
use http::{HeaderValue, header};
use pingora::http::{RequestHeader, ResponseHeader};
use portcullis_config::{
    compression::{Compression, CompressionDecision},
    document::CompressionAlgorithm,
};
use prometheus::IntCounter;

use super::{
    Refusal, RequestContext, Services, Session, Stage, client, encoder::Encoder, headers,
    serve::Stop, throttle,
};
use crate::slots::Slot;

/// Bytes that are encoded before others get a turn.
const SLICE: usize = 32 << 10;

/// A response body that is being compressed.
pub(super) struct Compressor {
    encoder: Encoder,
    /// Bytes may be inside that the client has not got.
    behind: bool,
    taken: IntCounter,
    given: IntCounter,
    _slot: Slot,
}

impl Compressor {
    /// Whether bytes may be inside that the client waits for.
    pub(super) fn is_behind(&self) -> bool {
        self.behind
    }

    fn encode(&mut self, bytes: &[u8]) -> Result<Bytes, Stop> {
        self.taken.inc_by(bytes.len() as u64);
        self.behind |= !bytes.is_empty();
        self.encoder.write(bytes).map_err(failed)?;
        Ok(self.come_out())
    }

    fn flush(&mut self) -> Result<Bytes, Stop> {
        self.behind = false;
        self.encoder.flush().map_err(failed)?;
        Ok(self.come_out())
    }

    fn come_out(&mut self) -> Bytes {
        let bytes = self.encoder.take();
        self.given.inc_by(bytes.len() as u64);
        bytes
    }

    fn finish(self) -> Result<Bytes, Stop> {
        let bytes = self.encoder.finish().map_err(failed)?;
        self.given.inc_by(bytes.len() as u64);
        Ok(bytes)
    }
}

/// Begins to compress a response, where it is to be; its head tells.
pub(super) fn begin(
    services: &Services,
    policy: &Compression,
    request: &RequestHeader,
    head: &mut ResponseHeader,
    known: bool,
) -> pingora::Result<Option<Box<Compressor>>> {
    let decision = policy.decide(
        (&request.method, &request.headers),
        (head.status, &head.headers),
        known,
    );
    let algorithm = match decision {
        CompressionDecision::Leave => return Ok(None),
        CompressionDecision::LeaveButVary => {
            headers::vary(head, "Accept-Encoding")?;
            return Ok(None);
        }
        CompressionDecision::NotModified => {
            headers::vary(head, "Accept-Encoding")?;
            weaken(head)?;
            return Ok(None);
        }
        CompressionDecision::Describe(algorithm) => {
            headers::vary(head, "Accept-Encoding")?;
            describe(head, algorithm)?;
            return Ok(None);
        }
        CompressionDecision::Compress(algorithm) => algorithm,
    };
    headers::vary(head, "Accept-Encoding")?;
    let metrics = &services.metrics;
    let Some(slot) = services.compressions.take() else {
        metrics.compression("over_limit");
        return Ok(None);
    };
    let encoder = match Encoder::new(algorithm, policy.level) {
        Ok(encoder) => encoder,
        Err(error) => {
            tracing::warn!(%error, "response not compressed");
            metrics.compression("failed");
            return Ok(None);
        }
    };
    metrics.compression(name(algorithm));
    describe(head, algorithm)?;
    let (taken, given) = metrics.compression_bytes();
    Ok(Some(Box::new(Compressor {
        encoder,
        behind: false,
        taken,
        given,
        _slot: slot,
    })))
}

/// Makes a head that of a compressed body.
fn describe(head: &mut ResponseHeader, algorithm: CompressionAlgorithm) -> pingora::Result<()> {
    head.insert_header(header::CONTENT_ENCODING, name(algorithm))?;
    head.remove_header(&header::CONTENT_LENGTH);
    // Ranges of what is made anew each time cannot be told.
    head.remove_header(&header::ACCEPT_RANGES);
    weaken(head)
}

/// Writes a part of a response body, and its end with the last, compressed
/// where it was begun so.
pub(super) async fn write_body(
    session: &mut Session,
    ctx: &mut RequestContext,
    bytes: Bytes,
    end: bool,
) -> Result<(), Stop> {
    if ctx.compressor.is_none() {
        return Ok(throttle::write_body(session, ctx, bytes, end).await?);
    }
    for slice in bytes.chunks(SLICE) {
        let Some(compressor) = &mut ctx.compressor else {
            break;
        };
        let part = compressor.encode(slice)?;
        write(session, ctx, part).await?;
        if bytes.len() > SLICE {
            tokio::task::yield_now().await;
        }
    }
    if end {
        finish(session, ctx).await?;
        client::write_body(session, Bytes::new(), true).await?;
    }
    Ok(())
}

/// Has the client get what the backend has sent so far.
pub(super) async fn flush(session: &mut Session, ctx: &mut RequestContext) -> Result<(), Stop> {
    match &mut ctx.compressor {
        Some(compressor) => {
            let part = compressor.flush()?;
            write(session, ctx, part).await
        }
        None => Ok(()),
    }
}

/// Ends a compressed body, where there is one; trailers may follow.
pub(super) async fn finish(session: &mut Session, ctx: &mut RequestContext) -> Result<(), Stop> {
    match ctx.compressor.take() {
        Some(compressor) => write(session, ctx, compressor.finish()?).await,
        None => Ok(()),
    }
}

async fn write(session: &mut Session, ctx: &mut RequestContext, bytes: Bytes) -> Result<(), Stop> {
    if !bytes.is_empty() {
        throttle::write_body(session, ctx, bytes, false).await?;
    }
    Ok(())
}

fn failed(error: std::io::Error) -> Stop {
    tracing::warn!(%error, "compression failed");
    Refusal::new(500, Stage::Upstream, "compression-failed").into()
}

/// The name as a content coding and in metrics.
fn name(algorithm: CompressionAlgorithm) -> &'static str {
    match algorithm {
        CompressionAlgorithm::Zstd => "zstd",
        CompressionAlgorithm::Br => "br",
        CompressionAlgorithm::Gzip => "gzip",
    }
}

/// Makes a strong entity tag weak (RFC 9110 section 8.8.1): the bytes are not
/// those that it names. One that is not well formed goes.
fn weaken(head: &mut ResponseHeader) -> pingora::Result<()> {
    let Some(tag) = head.headers.get(header::ETAG) else {
        return Ok(());
    };
    let tag = tag.as_bytes();
    if tag.starts_with(b"W/") {
        return Ok(());
    }
    let weak = [b"W/", tag].concat();
    match HeaderValue::from_bytes(&weak) {
        Ok(weak) if tag.len() > 1 && tag.starts_with(b"\"") && tag.ends_with(b"\"") => {
            head.insert_header(header::ETAG, weak)?;
        }
        _ => {
            head.remove_header(&header::ETAG);
        }
    }
    Ok(())
}
