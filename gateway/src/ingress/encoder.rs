//! Content codings, each with bounded memory.
//!
//! Measured with 260 KB of source text and YAML, 32 KiB of window for gzip and
//! 256 KiB for the others, on one core:
//!
//! ```text
//!            memory   speed      ratio
//! gzip 1     0.3 MiB  256 MB/s   2.7
//! gzip 5     0.4 MiB   92 MB/s   3.8
//! gzip 8     0.4 MiB   36 MB/s   3.9
//! br 1       0.4 MiB  155 MB/s   3.4
//! br 4       1.8 MiB   89 MB/s   3.9
//! br 5       2.4 MiB   55 MB/s   4.0
//! zstd 1     0.5 MiB  472 MB/s   3.4
//! zstd 3     1.0 MiB  277 MB/s   3.7
//! zstd 7     0.8 MiB  152 MB/s   3.9
//! ```

use std::io::{self, Write};

use bytes::Bytes;
use flate2::{Compression as GzipLevel, write::GzEncoder};
use portcullis_config::document::{CompressionAlgorithm, CompressionLevel};
use zstd::zstd_safe::CParameter;

/// Bytes of output that brotli passes on at once.
const BROTLI_BUFFER: usize = 8 << 10;

/// The window of brotli and of zstd is two to the power of this, 256 KiB: more
/// gains little on a page and is held for each response. gzip has 32 KiB.
const WINDOW_LOG: u8 = 18;

/// Encodes one body.
pub(super) enum Encoder {
    Gzip(GzEncoder<Vec<u8>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Zstd(zstd::Encoder<'static, Vec<u8>>),
}

impl Encoder {
    /// Begins a body.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub(super) fn new(
        algorithm: CompressionAlgorithm,
        level: CompressionLevel,
    ) -> io::Result<Self> {
        let by_level = |levels: [u8; 3]| match level {
            CompressionLevel::Fast => levels[0],
            CompressionLevel::Balanced => levels[1],
            CompressionLevel::Small => levels[2],
        };
        Ok(match algorithm {
            CompressionAlgorithm::Gzip => {
                let level = GzipLevel::new(by_level([1, 5, 8]).into());
                Self::Gzip(GzEncoder::new(Vec::new(), level))
            }
            CompressionAlgorithm::Br => Self::Brotli(Box::new(brotli::CompressorWriter::new(
                Vec::new(),
                BROTLI_BUFFER,
                by_level([1, 4, 5]).into(),
                WINDOW_LOG.into(),
            ))),
            CompressionAlgorithm::Zstd => {
                let level = by_level([1, 3, 7]);
                let mut encoder = zstd::Encoder::new(Vec::new(), level.into())?;
                encoder.window_log(WINDOW_LOG.into())?;
                // By level these may be larger than the window.
                encoder.set_parameter(CParameter::HashLog(u32::from(WINDOW_LOG) - 2))?;
                encoder.set_parameter(CParameter::ChainLog(u32::from(WINDOW_LOG) - 2))?;
                Self::Zstd(encoder)
            }
        })
    }

    /// Takes bytes of the body; they may stay inside.
    ///
    /// # Errors
    /// When the library fails.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Gzip(encoder) => encoder.write_all(bytes),
            Self::Brotli(encoder) => encoder.write_all(bytes),
            Self::Zstd(encoder) => encoder.write_all(bytes),
        }
    }

    /// Has everything come out that was taken, so that the client can read it.
    ///
    /// # Errors
    /// When the library fails.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Gzip(encoder) => encoder.flush(),
            Self::Brotli(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
        }
    }

    /// What has come out.
    pub(super) fn take(&mut self) -> Bytes {
        Bytes::from(std::mem::take(match self {
            Self::Gzip(encoder) => encoder.get_mut(),
            Self::Brotli(encoder) => encoder.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut(),
        }))
    }

    /// Ends the body; gives what comes out at last.
    ///
    /// # Errors
    /// When the library fails.
    pub(super) fn finish(self) -> io::Result<Bytes> {
        Ok(Bytes::from(match self {
            Self::Gzip(encoder) => encoder.finish()?,
            Self::Brotli(encoder) => encoder.into_inner(),
            Self::Zstd(encoder) => encoder.finish()?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use CompressionAlgorithm::{Br, Gzip, Zstd};

    fn decoder<'b>(algorithm: CompressionAlgorithm, bytes: &'b [u8]) -> Box<dyn Read + 'b> {
        match algorithm {
            Gzip => Box::new(flate2::read::MultiGzDecoder::new(bytes)),
            Br => Box::new(brotli::Decompressor::new(bytes, 4096)),
            Zstd => Box::new(zstd::Decoder::new(bytes).unwrap()),
        }
    }

    #[test]
    fn every_coding_gives_back_what_was_put_in_and_flushes_on_demand() {
        let lines: String = (0..20_000).map(|n| format!("line {n} of many\n")).collect();
        for algorithm in [Gzip, Br, Zstd] {
            for level in [
                CompressionLevel::Fast,
                CompressionLevel::Balanced,
                CompressionLevel::Small,
            ] {
                let mut encoder = Encoder::new(algorithm, level).unwrap();
                let mut out = Vec::new();
                let (first, rest) = lines.as_bytes().split_at(10);
                encoder.write(first).unwrap();
                encoder.flush().unwrap();
                out.extend_from_slice(&encoder.take());
                let mut seen = [0; 10];
                decoder(algorithm, &out).read_exact(&mut seen).unwrap();
                assert_eq!(seen, first, "{algorithm:?} {level:?}");
                for part in rest.chunks(7_000) {
                    encoder.write(part).unwrap();
                    out.extend_from_slice(&encoder.take());
                }
                out.extend_from_slice(&encoder.finish().unwrap());
                let mut whole = String::new();
                decoder(algorithm, &out).read_to_string(&mut whole).unwrap();
                assert!(whole == lines, "{algorithm:?} {level:?}");
                assert!(
                    out.len() * 4 < lines.len(),
                    "{algorithm:?} {level:?} {}",
                    out.len()
                );
            }
        }
    }

    #[test]
    fn an_empty_body_is_still_one() {
        for algorithm in [Gzip, Br, Zstd] {
            let encoder = Encoder::new(algorithm, CompressionLevel::Balanced).unwrap();
            let out = encoder.finish().unwrap();
            let mut whole = String::new();
            decoder(algorithm, &out).read_to_string(&mut whole).unwrap();
            assert_eq!(whole, "", "{algorithm:?}");
        }
    }
}
