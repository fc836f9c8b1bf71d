//! `severity`.

use crate::error::Complaint;

const NAMES: [&str; 8] = [
    "EMERGENCY",
    "ALERT",
    "CRITICAL",
    "ERROR",
    "WARNING",
    "NOTICE",
    "INFO",
    "DEBUG",
];

/// Parses a name or a number, 0 (emergency) to 7 (debug).
pub(super) fn parse(text: &str) -> Result<u8, Complaint> {
    let by_name = NAMES
        .iter()
        .position(|name| name.eq_ignore_ascii_case(text));
    let number = by_name.or_else(|| text.parse().ok().filter(|number| *number < NAMES.len()));
    let severity = number.and_then(|number| u8::try_from(number).ok());
    severity.ok_or_else(|| Complaint::unknown("severity", text, NAMES))
}
