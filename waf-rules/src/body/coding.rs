//! Content codings of a request body, undone for inspection (RFC 9110, section 8.4).
//!
//! ```text
//! Content-Encoding --codings--> [gzip, br] --decode--> Decoded { bytes, is_cut } | Undecodable
//! ```
//!
//! The backend gets the bytes as they came. What they decode to is bounded by
//! the limit of a body and by a multiple of what was sent, so that a bomb costs
//! no more than a body that is no bomb.

use std::io::Read;

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::{Decompress, FlushDecompress, Status, bufread::GzDecoder};

use crate::limits::Limits;

/// A coding that can be undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Gzip,
    Deflate,
    Brotli,
}

/// Why a body cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Undecodable {
    /// A coding is not known, or there are too many of them.
    Unknown,
    /// The bytes are not what the coding makes.
    Broken,
}

/// What a body decodes to.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) bytes: Vec<u8>,
    /// There is more than the bounds allow.
    pub(crate) is_cut: bool,
}

/// Codings of one body. Nobody sends more; each is a pass over the whole body.
const MAX_CODINGS: usize = 2;

/// What any body may decode to, whatever its ratio: short texts that repeat
/// themselves shrink well.
const FREE_BYTES: usize = 64 << 10;

/// Members of a gzip body. Each needs a decoder of its own, which costs far more
/// than the twenty bytes that one may have.
const MAX_MEMBERS: usize = 1000;

/// Bytes that a decoder gives at once.
const CHUNK_BYTES: usize = 16 << 10;

/// Reads the codings out of the values of `Content-Encoding`, in the order in
/// which they were applied.
pub(crate) fn codings<'a>(
    headers: impl Iterator<Item = &'a [u8]>,
) -> Result<Vec<Coding>, Undecodable> {
    let mut codings = Vec::new();
    for name in headers.flat_map(|header| header.split(|byte| *byte == b',')) {
        let coding = match name.trim_ascii().to_ascii_lowercase().as_slice() {
            b"" | b"identity" => continue,
            b"gzip" | b"x-gzip" => Coding::Gzip,
            b"deflate" => Coding::Deflate,
            b"br" => Coding::Brotli,
            _ => return Err(Undecodable::Unknown),
        };
        if codings.len() == MAX_CODINGS {
            return Err(Undecodable::Unknown);
        }
        codings.push(coding);
    }
    Ok(codings)
}

/// Undoes codings. `is_cut` tells that the body goes on beyond what is given.
pub(crate) fn decode(
    body: &[u8],
    codings: &[Coding],
    is_cut: bool,
    limits: &Limits,
) -> Result<Decoded, Undecodable> {
    let most = body
        .len()
        .saturating_mul(limits.max_decoding_ratio)
        .max(FREE_BYTES)
        .min(limits.max_request_body_bytes);
    let mut decoded = Decoded {
        bytes: body.to_vec(),
        is_cut,
    };
    for coding in codings.iter().rev() {
        let stage = Stage {
            input: &decoded.bytes,
            is_cut: decoded.is_cut,
            output: Vec::new(),
            most,
        };
        decoded = match coding {
            Coding::Gzip => stage.gzip()?,
            Coding::Deflate => stage.deflate()?,
            Coding::Brotli => stage.brotli()?,
        };
    }
    Ok(decoded)
}

/// One coding of one body.
struct Stage<'a> {
    input: &'a [u8],
    is_cut: bool,
    output: Vec<u8>,
    most: usize,
}

impl Stage<'_> {
    /// Takes what a decoder gave; returns `false` when that is more than enough.
    fn take(&mut self, bytes: &[u8]) -> bool {
        let room = self.most - self.output.len();
        self.output
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
        let fits = bytes.len() <= room;
        self.is_cut |= !fits;
        fits
    }

    fn end(self) -> Decoded {
        Decoded {
            bytes: self.output,
            is_cut: self.is_cut,
        }
    }

    /// The input ended before the coding did.
    fn early_end(self) -> Result<Decoded, Undecodable> {
        match self.is_cut {
            true => Ok(self.end()),
            false => Err(Undecodable::Broken),
        }
    }

    /// One member after the other, as RFC 1952 allows.
    fn gzip(mut self) -> Result<Decoded, Undecodable> {
        let mut rest = self.input;
        let mut chunk = vec![0; CHUNK_BYTES];
        for _ in 0..MAX_MEMBERS {
            let mut member = GzDecoder::new(rest);
            loop {
                match member.read(&mut chunk) {
                    Ok(0) => break,
                    Ok(read) if self.take(&chunk[..read]) => {}
                    Ok(_) => return Ok(self.end()),
                    Err(_) => return self.early_end(),
                }
            }
            rest = member.into_inner();
            if rest.is_empty() {
                return Ok(self.end());
            }
        }
        Err(Undecodable::Broken)
    }

    /// With the frame of zlib, as the RFC says, or without, as some clients do.
    fn deflate(mut self) -> Result<Decoded, Undecodable> {
        let has_frame = matches!(
            self.input,
            [first, second, ..] if first & 0x0f == 8
                && (u16::from(*first) << 8 | u16::from(*second)) % 31 == 0
        );
        let mut decoder = Decompress::new(has_frame);
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let (consumed, produced) = (decoder.total_in(), decoder.total_out());
            let rest = usize::try_from(consumed)
                .ok()
                .and_then(|consumed| self.input.get(consumed..))
                .unwrap_or_default();
            let status = decoder
                .decompress(rest, &mut chunk, FlushDecompress::None)
                .map_err(|_| Undecodable::Broken)?;
            let new = usize::try_from(decoder.total_out() - produced).unwrap_or(usize::MAX);
            if !self.take(chunk.get(..new).unwrap_or_default()) {
                return Ok(self.end());
            }
            let is_idle = decoder.total_in() == consumed && new == 0;
            match status {
                Status::StreamEnd if decoder.total_in() == self.input.len() as u64 => {
                    return Ok(self.end());
                }
                Status::StreamEnd => return Err(Undecodable::Broken),
                _ if is_idle => return self.early_end(),
                _ => {}
            }
        }
    }

    fn brotli(mut self) -> Result<Decoded, Undecodable> {
        let alloc = StandardAlloc::default;
        // Strict, because a large window would let a few bytes ask for a gigabyte.
        let mut state = BrotliState::new_strict(alloc(), alloc(), alloc());
        let (mut left, mut at, mut total) = (self.input.len(), 0, 0);
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let (mut room, mut written) = (chunk.len(), 0);
            let result = BrotliDecompressStream(
                &mut left,
                &mut at,
                self.input,
                &mut room,
                &mut written,
                &mut chunk,
                &mut total,
                &mut state,
            );
            if !self.take(&chunk[..written]) {
                return Ok(self.end());
            }
            match result {
                BrotliResult::NeedsMoreOutput => {}
                BrotliResult::ResultSuccess if left == 0 => return Ok(self.end()),
                // What is decoded already may not have fitted into the chunk.
                BrotliResult::NeedsMoreInput if written > 0 => {}
                BrotliResult::NeedsMoreInput => return self.early_end(),
                BrotliResult::ResultSuccess | BrotliResult::ResultFailure => {
                    return Err(Undecodable::Broken);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
