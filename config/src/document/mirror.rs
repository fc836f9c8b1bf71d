//! Mirrors: copies of requests for another backend.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ByteSize;

/// A backend that gets copies of a rule's requests. Its answers are thrown away,
/// and nobody waits for them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mirror {
    /// Name of the backend.
    pub backend: String,
    /// Share of the requests, 0 to 100, in steps of 0.0001. Default 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<f64>,
    /// Whether a copy has the body of its request. Default `copy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_body: Option<MirrorBody>,
    /// A request with a larger body is not copied; 0 copies requests without a
    /// body alone. Default `64KiB`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_body_size: Option<ByteSize>,
}

/// What a mirror gets of a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MirrorBody {
    /// All of it.
    Copy,
    /// Nothing: the copy has an empty body, and does not wait for that of the request.
    Off,
}
