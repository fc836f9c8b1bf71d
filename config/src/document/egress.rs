//! The egress proxy.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The egress section.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Egress {}
