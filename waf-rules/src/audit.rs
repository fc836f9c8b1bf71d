//! The record of one transaction. Data only.
//!
//! Text from the client is truncated, escaped and without its secrets before it gets
//! here: what is in a record can be written to a log as it is.

use std::{net::IpAddr, sync::Arc};

use serde::{Serialize, Serializer};

use crate::verdict::{EngineMode, Interruption};

/// Everything the engine has to say about one transaction.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditRecord {
    /// Identifier given by the caller.
    pub unique_id: String,
    /// Beginning of the transaction, in milliseconds since 1970.
    pub time_unix_ms: u64,
    /// Address of the client.
    pub client: Option<IpAddr>,
    /// Port of the client.
    pub client_port: Option<u16>,
    /// Address that was connected to.
    pub server: Option<IpAddr>,
    /// Port that was connected to.
    pub server_port: Option<u16>,
    /// Request method.
    pub method: String,
    /// Request target, with its query, in which the values of secrets are masked.
    pub uri: String,
    /// Path as rules see it in `REQUEST_FILENAME`. Like the headers and the components
    /// only there where the record is worth writing, see [`Self::is_notable`].
    pub path: String,
    /// Fields of the request, unless `SecAuditLogParts` leaves them out (no `B`).
    pub request_headers: Vec<(String, String)>,
    /// Fields of the response, unless `SecAuditLogParts` leaves them out (no `F`).
    pub response_headers: Vec<(String, String)>,
    /// Protocol of the request.
    pub protocol: String,
    /// Status of the response, if there was one.
    pub response_status: Option<u16>,
    /// What `SecComponentSignature` says: which rules these are, with their versions.
    pub components: Vec<String>,
    /// Whether producer and messages are written (`H` in `SecAuditLogParts`).
    pub has_messages: bool,
    /// Mode the transaction ended in.
    pub mode: EngineMode,
    /// What stopped the transaction.
    pub interruption: Option<Interruption>,
    /// What would have stopped it, had the mode been [`EngineMode::On`].
    pub would_interrupt: Option<Interruption>,
    /// `tx.inbound_anomaly_score`, or `tx.blocking_inbound_anomaly_score`
    /// where the rules set that one (CRS 4), at the end.
    pub inbound_anomaly_score: i64,
    /// The same for outbound.
    pub outbound_anomaly_score: i64,
    /// What the rules have set themselves to.
    pub level: Level,
    /// What the rules did not see, and why.
    pub not_inspected: Vec<NotInspected>,
    /// Whether a rule asked for an audit entry (`auditlog`, the default of
    /// `log`), or the engine refused; `ctl:auditEngine` overrides both.
    pub relevant: bool,
    /// Rules with `log` that matched, in order.
    pub matches: Vec<Match>,
    /// Matches left out because of [`crate::Limits::max_audit_matches`].
    pub matches_dropped: usize,
}

impl AuditRecord {
    /// Tells whether there is something to write down.
    pub fn is_notable(&self) -> bool {
        self.relevant && !self.matches.is_empty()
            || self.interruption.is_some()
            || self.would_interrupt.is_some()
    }
}

/// What rules with anomaly scores have set themselves to, as far as they say it in the
/// variables that the CRS (4) and the baseline use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Level {
    /// `tx.blocking_paranoia_level`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paranoia: Option<i64>,
    /// `tx.detection_paranoia_level`: rules up to this one are recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detection: Option<i64>,
    /// `tx.inbound_anomaly_score_threshold`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inbound_threshold: Option<i64>,
    /// `tx.outbound_anomaly_score_threshold`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outbound_threshold: Option<i64>,
    /// `tx.crs_setup_version`, such as 4280 for CRS 4.28.0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crs_setup_version: Option<i64>,
}

/// Something that no rule has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct NotInspected {
    /// What.
    pub part: Part,
    /// Why.
    pub reason: Reason,
}

/// A part of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// Head and body of the request.
    Request,
    /// The body of the request.
    RequestBody,
    /// The body of the response.
    ResponseBody,
}

impl Part {
    /// The name in records and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::RequestBody => "request-body",
            Self::ResponseBody => "response-body",
        }
    }
}

/// Why something was not inspected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// A rule with `allow` ended the inspection.
    Allowed,
    /// A rule, or `SecRuleEngine`, switched it off.
    SwitchedOff,
    /// It exceeds a limit of the engine, which a transaction that only detects goes past.
    LimitExceeded,
    /// It is longer than what is inspected; only its beginning was.
    PrefixOnly,
    /// It is longer than what is inspected; nothing of it was.
    OverLimit,
    /// Its content coding could not be undone; the coded bytes were inspected.
    Coded,
    /// There was no memory left to hold it.
    NoMemory,
    /// It has no end that could be waited for: a stream of gRPC, an upgraded connection.
    Stream,
}

impl Reason {
    /// The name in records and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::SwitchedOff => "switched-off",
            Self::LimitExceeded => "limit-exceeded",
            Self::PrefixOnly => "prefix-only",
            Self::OverLimit => "over-limit",
            Self::Coded => "coded",
            Self::NoMemory => "no-memory",
            Self::Stream => "stream",
        }
    }
}

/// One rule that matched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Match {
    /// Id of the rule, or of the head of its chain.
    pub rule: Option<u64>,
    /// Phase, 1 to 5.
    pub phase: u8,
    /// `msg`, expanded.
    pub message: String,
    /// `logdata`, expanded; the matched value where the rule has none.
    pub data: String,
    /// `severity`, 0 (emergency) to 7 (debug).
    pub severity: Option<u8>,
    /// `tag`s, expanded. Those that are the same for every request are shared.
    #[serde(serialize_with = "as_list")]
    pub tags: Arc<[String]>,
    /// Name of the variable that matched, such as `ARGS:id`; the last one of a chain.
    pub variable: String,
    /// Its value as the operator read it, transformed.
    pub value: String,
    /// Name and argument of the operator that read it, such as `@rx ^a`, cut after 200 bytes.
    pub operator: String,
    /// What the value went through before.
    pub transformations: Vec<&'static str>,
    /// Every variable that matched, in the order of the chain.
    pub found: Vec<Found>,
    /// Those left out of `found`, which has 16 at most, and 64 KiB in a whole record.
    pub found_dropped: usize,
    /// What the match added to the anomaly scores, inbound and outbound.
    pub score: i64,
    /// `ver`.
    pub version: Option<String>,
    /// `rev`.
    pub revision: Option<String>,
    /// `maturity`, 0 where the rule has none.
    pub maturity: u8,
    /// `accuracy`, 0 where the rule has none.
    pub accuracy: u8,
    /// Text of the rule.
    pub file: String,
    /// Line in that text.
    pub line: u32,
}

/// A variable that matched, with its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Found {
    /// The link of the chain, from 0.
    pub link: usize,
    /// Its name, such as `ARGS:id`.
    pub variable: String,
    /// Its value, transformed.
    pub value: String,
}

fn as_list<S: Serializer>(tags: &Arc<[String]>, serializer: S) -> Result<S::Ok, S::Error> {
    tags[..].serialize(serializer)
}

/// Makes text of bytes from a client: at most `most` bytes of them, with
/// control characters, backslashes and what is not UTF-8 as `\xHH`.
pub(crate) fn escaped(bytes: &[u8], most: usize) -> String {
    let cut = &bytes[..bytes.len().min(most)];
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && *byte != b'\\';
    // Nearly all texts are, and stay as they are.
    if cut.len() == bytes.len()
        // Without a way out, so that many bytes are asked at once.
        && cut.iter().fold(true, |plain, byte| plain & is_plain(byte))
        && let Ok(text) = std::str::from_utf8(cut)
    {
        return text.to_owned();
    }
    let mut output = String::with_capacity(cut.len() + 8);
    for chunk in cut.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => output.push_str("\\\\"),
                // Besides control characters: those that reorder or hide text in a terminal.
                c if c.is_control()
                    || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}') =>
                {
                    let mut buffer = [0; 4];
                    c.encode_utf8(&mut buffer)
                        .bytes()
                        .for_each(|byte| output.push_str(&format!("\\x{byte:02x}")));
                }
                c => output.push(c),
            }
        }
        chunk
            .invalid()
            .iter()
            .for_each(|byte| output.push_str(&format!("\\x{byte:02x}")));
    }
    if bytes.len() > most {
        output.push_str("...");
    }
    output
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn text_of_a_client_is_cut_and_escaped() {
        assert_eq!(
            escaped("a\n\\é\u{202e}".as_bytes(), 99),
            "a\\x0a\\\\é\\xe2\\x80\\xae"
        );
        assert_eq!(escaped(b"\xffabc", 2), "\\xffa...");
    }
}
