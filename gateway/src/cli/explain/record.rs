//! The part of an audit record that an explanation is made of.

use serde::Deserialize;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct WafRecord {
    pub(super) rule: String,
    pub(super) path: String,
    pub(super) interruption: Option<Stop>,
    pub(super) would_interrupt: Option<Stop>,
    pub(super) inbound_anomaly_score: i64,
    pub(super) outbound_anomaly_score: i64,
    pub(super) level: Level,
    pub(super) matches: Vec<Matched>,
    pub(super) matches_dropped: usize,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Stop {
    pub(super) status: u16,
    pub(super) rule: Option<u64>,
    pub(super) phase: u8,
    pub(super) message: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Level {
    pub(super) paranoia: Option<i64>,
    pub(super) inbound_threshold: Option<i64>,
    pub(super) outbound_threshold: Option<i64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Matched {
    pub(super) rule: Option<u64>,
    pub(super) phase: u8,
    pub(super) message: String,
    pub(super) operator: String,
    pub(super) tags: Vec<String>,
    pub(super) score: i64,
    pub(super) found: Vec<Found>,
    pub(super) found_dropped: usize,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Found {
    pub(super) link: usize,
    pub(super) variable: String,
    pub(super) value: String,
}
