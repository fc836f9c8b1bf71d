//! The body of a response.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

use super::chunked::Chunked;

/// How a body is framed, and where it stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// So many bytes are to come.
    Length(u64),
    /// In chunks.
    Chunked(Chunked),
    /// To the end of the connection.
    Close,
}

/// A part of a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Bytes.
    Data {
        /// The bytes; empty only at the end.
        bytes: Bytes,
        /// Whether they are the last.
        end: bool,
    },
    /// Trailers, and the end.
    Trailers(HeaderMap),
}

impl Body {
    /// Takes the next piece from the buffer; `None` where more bytes are needed.
    pub(super) fn take(&mut self, buffer: &mut BytesMut) -> Result<Option<Piece>, &'static str> {
        match self {
            Self::Chunked(chunked) => chunked.take(buffer),
            _ if buffer.is_empty() => Ok(None),
            Self::Close => Ok(Some(Piece::Data {
                bytes: buffer.split().freeze(),
                end: false,
            })),
            Self::Length(left) => {
                let here = buffer
                    .len()
                    .min(usize::try_from(*left).unwrap_or(usize::MAX));
                let bytes = buffer.split_to(here).freeze();
                *left -= here as u64;
                Ok(Some(Piece::Data {
                    bytes,
                    end: *left == 0,
                }))
            }
        }
    }

    /// Whether the end of the connection is the end of the body.
    pub(super) fn ends_with_connection(&self) -> bool {
        matches!(self, Self::Close)
    }
}
