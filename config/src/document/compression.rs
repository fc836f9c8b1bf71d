//! Compression of responses.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ByteSize;

/// Responses are compressed for clients that take it (RFC 9110 section 12.5.3).
/// What a backend compressed itself passes as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Compression {
    /// What may be used; of those a client likes as much, the first. Without it,
    /// and without any other key, or as an empty list, an inherited policy is lifted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub algorithms: Option<Vec<CompressionAlgorithm>>,
    /// Media types, as `text/html` or `text/*`. Default: those of text, scripts,
    /// JSON, XML, WebAssembly and SVG that `docs/compression.md` lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub types: Option<Vec<String>>,
    /// A body whose length is known and below this stays as it is. Default `1KiB`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_size: Option<ByteSize>,
    /// How much CPU time is spent. Default `balanced`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<CompressionLevel>,
    /// What is done with an answer to a request with credentials. Default `skip`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<CompressionCredentials>,
}

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CompressionAlgorithm {
    /// Zstandard (RFC 8878).
    Zstd,
    /// Brotli (RFC 7932).
    Br,
    /// gzip (RFC 1952).
    Gzip,
}

/// How much CPU time compression takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CompressionLevel {
    /// Little: zstd 1, br 1, gzip 1.
    Fast,
    /// As most servers do: zstd 3, br 4, gzip 5.
    #[default]
    Balanced,
    /// More, for slow networks: zstd 7, br 5, gzip 8.
    Small,
}

/// What is done with an answer to a request with a cookie or with
/// `Authorization`, or one that sets a cookie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CompressionCredentials {
    /// It is compressed only where its type is static by nature, or where it says
    /// `Cache-Control: public`: the length of what is compressed tells something of
    /// a secret in it to who can put text of his own beside it (BREACH).
    #[default]
    Skip,
    /// It is compressed like any other: its secrets change with each answer.
    Compress,
}
