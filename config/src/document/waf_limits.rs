//! What one transaction of the WAF may hold and compute.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ByteSize;

/// Bounds on one transaction of the WAF. A profile that only detects lets pass what exceeds
/// one, and its records tell that.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct WafLimits {
    /// Arguments of query and body together, then 400. `SecArgumentsLimit` of the rules lowers
    /// it. Default 1000, 1 to 1000000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_arguments: Option<u32>,
    /// Fields of the request, then 400, and of the response, then 502. Default 500, 1 to 1000000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_headers: Option<u32>,
    /// Cookies of the request, then 400. Default 500, 1 to 1000000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_cookies: Option<u32>,
    /// Levels of a JSON body; deeper is a broken body. `SecRequestBodyJsonDepthLimit` of the
    /// rules lowers it. Default 512, 1 to 1000000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_json_depth: Option<u32>,
    /// Bytes of the names of all fields of a JSON body, each with the keys around it; more is a
    /// broken body. Default `4MiB`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_json_names: Option<ByteSize>,
    /// Levels of an XML body; deeper is a broken body. Default 256, 1 to 1000000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_xml_depth: Option<u32>,
    /// Attributes of an XML body; more is a broken body. Default 10000, 1 to 1000000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_xml_attributes: Option<u32>,
    /// Parts of a multipart body; more is a broken body. Default 1000, 1 to 1000000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_parts: Option<u32>,
    /// Files of a multipart body; more is `MULTIPART_FILE_LIMIT_EXCEEDED`. `SecUploadFileLimit`
    /// of the rules lowers it. Default 1000, 1 to 1000000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_files: Option<u32>,
    /// Values that match in one chain of rules, then 400. Default 2000, 1 to 1000000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_matches: Option<u32>,
    /// Variables that rules keep in `TX`, then 500. Default 2000, 1 to 1000000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tx_variables: Option<u32>,
    /// Bytes that rules read in all: every value counts each time, with 16 more. Then 400.
    /// Default `1GiB`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_work: Option<ByteSize>,
    /// Rules that an audit record tells; others are counted. Default 100, 1 to 1000000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_audit_matches: Option<u32>,
    /// Bytes of each text in an audit record, which is cut there. Default `256B`, at most `1KiB`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_audit_text: Option<ByteSize>,
}
