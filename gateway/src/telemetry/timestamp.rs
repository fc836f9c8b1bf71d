//! Times as the logs write them.

use std::{
    cell::Cell,
    time::{SystemTime, UNIX_EPOCH},
};

use chrono::{DateTime, SecondsFormat, Utc};

/// `2026-01-31T12:34:56.789Z`.
const LENGTH: usize = 24;
const MILLIS: std::ops::Range<usize> = 20..23;

thread_local! {
    /// The last second that was formatted: lines of one second differ in their
    /// milliseconds only, and a calendar costs more than the rest of a line.
    static LAST: Cell<(u64, [u8; LENGTH])> = const { Cell::new((u64::MAX, [0; LENGTH])) };
}

/// Formats a time as RFC 3339 in UTC with milliseconds.
pub(super) fn timestamp(time: SystemTime) -> String {
    with_timestamp(time, str::to_owned)
}

/// The same, without a string of its own.
pub(super) fn with_timestamp<T>(time: SystemTime, then: impl FnOnce(&str) -> T) -> T {
    let cached = time.duration_since(UNIX_EPOCH).ok().and_then(|since| {
        let mut text = whole_second(since.as_secs(), time)?;
        let millis = since.subsec_millis();
        for (digit, unit) in text[MILLIS].iter_mut().zip([100, 10, 1]) {
            *digit = b'0' + u8::try_from(millis / unit % 10).unwrap_or_default();
        }
        Some(text)
    });
    match cached.as_ref().map(|text| std::str::from_utf8(text)) {
        Some(Ok(text)) => then(text),
        _ => then(&formatted(time)),
    }
}

/// The text of a second; `None` where it has another length, as after the year 9999.
fn whole_second(second: u64, time: SystemTime) -> Option<[u8; LENGTH]> {
    let (last, text) = LAST.get();
    if last == second {
        return Some(text);
    }
    let text = formatted(time).into_bytes().try_into().ok()?;
    LAST.set((second, text));
    Some(text)
}

fn formatted(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_cached_second_says_what_the_calendar_says() {
        let at = |millis| UNIX_EPOCH + Duration::from_millis(millis);
        for millis in [
            0,
            7,
            999,
            1000,
            1_700_000_000_123,
            1_700_000_000_456,
            1_700_000_001_000,
            253_402_300_800_000,
        ] {
            assert_eq!(timestamp(at(millis)), formatted(at(millis)));
        }
        assert_eq!(timestamp(at(1_700_000_000_078)), "2023-11-14T22:13:20.078Z");
        let before = UNIX_EPOCH - Duration::from_millis(1500);
        assert_eq!(timestamp(before), formatted(before));
    }
}
