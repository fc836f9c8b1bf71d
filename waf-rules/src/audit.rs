//! The record of one transaction. Data only.
//!
//! Text from the client is truncated and escaped before it gets here: what is
//! in a record can be written to a log as it is.

use std::net::IpAddr;

use serde::Serialize;

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
    /// Request target, with its query.
    pub uri: String,
    /// Protocol of the request.
    pub protocol: String,
    /// Status of the response, if there was one.
    pub response_status: Option<u16>,
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
    /// Whether a rule asked for an audit entry (`auditlog`, the default of
    /// `log`), or the engine refused; `ctl:auditEngine` overrides both.
    pub relevant: bool,
    /// Rules with `log` that matched, in order.
    pub matches: Vec<Match>,
    /// Matches left out because of [`crate::Limits::max_audit_matches`].
    pub matches_dropped: usize,
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
    /// `tag`s, expanded.
    pub tags: Vec<String>,
    /// Name of the variable that matched, such as `ARGS:id`.
    pub variable: String,
    /// Text of the rule.
    pub file: String,
    /// Line in that text.
    pub line: u32,
}

/// Makes text of bytes from a client: at most `most` bytes of them, with
/// control characters, backslashes and what is not UTF-8 as `\xHH`.
pub(crate) fn escaped(bytes: &[u8], most: usize) -> String {
    let cut = &bytes[..bytes.len().min(most)];
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
