//! Scenarios: the traffic that a round sends.

use clap::ValueEnum;
use serde::Serialize;

/// Bytes of the request body in [`Scenario::Post`].
pub const POST_BODY_BYTES: usize = 8192;

/// One kind of request, sent again and again over kept-alive connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// `GET /` with wrk's own headers and a small response.
    Get,
    /// `POST /` with a body of [`POST_BODY_BYTES`] bytes and a small response.
    Post,
}

impl Scenario {
    /// Every scenario, in the order they run.
    pub const ALL: [Self; 2] = [Self::Get, Self::Post];

    /// Returns the title used in tables.
    pub fn title(self) -> &'static str {
        match self {
            Self::Get => "GET, keepalive, small response",
            Self::Post => "POST of 8 KiB, keepalive, small response",
        }
    }

    /// Returns the word used on the command line and in file names.
    pub fn word(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
        }
    }

    /// Returns the size of the request body in bytes.
    pub fn body_bytes(self) -> usize {
        match self {
            Self::Get => 0,
            Self::Post => POST_BODY_BYTES,
        }
    }
}
