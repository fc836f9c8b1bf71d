//! Times, sizes, rates and statuses as they are written elsewhere, and how they
//! are written here.
//!
//! There is one form of each, so that what is read, dumped and generated looks
//! the same. What is plainly meant by another is proposed, and never taken.

use std::time;

use super::{ByteSize, Duration, Rate, StatusRange};

/// A length of time, as `1min`, `1.5 hours` or `30`.
pub(super) fn duration(text: &str) -> Option<String> {
    let mut millis = 0u64;
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (thousandths, after) = thousandths(rest)?;
        let end = after.find(|c: char| c.is_ascii_digit());
        let (unit, next) = after.split_at(end.unwrap_or(after.len()));
        let unit = unit.trim().to_lowercase();
        let length = match unit.as_str() {
            "ms" | "msec" | "msecs" | "millis" | "millisecond" | "milliseconds" => 1,
            _ => 1_000 * seconds(&unit)?,
        };
        millis = millis.checked_add(exact(thousandths, length)?)?;
        rest = next;
    }
    Some(
        match text.contains('.') && millis < 60_000 && !millis.is_multiple_of(1_000) {
            true => format!("{millis}ms"),
            false => Duration(time::Duration::from_millis(millis)).to_string(),
        },
    )
}

/// A size, as `8m` or `1.5GiB`; a unit of one letter is that of nginx.
pub(super) fn size(text: &str) -> Option<String> {
    let (thousandths, unit) = thousandths(text.trim())?;
    let unit = unit.trim().to_lowercase();
    let (of_1024, of_1000, name) = match unit.as_str() {
        "b" | "byte" | "bytes" => return whole(thousandths).map(|bytes| format!("{bytes}B")),
        "k" | "kib" | "ki" | "kb" => (1 << 10, 1_000, "kB"),
        "m" | "mib" | "mi" | "mb" => (1 << 20, 1_000_000, "MB"),
        "g" | "gib" | "gi" | "gb" => (1 << 30, 1_000_000_000, "GB"),
        _ => return None,
    };
    let binary = ByteSize(exact(thousandths, of_1024)?);
    let decimal = match whole(thousandths) {
        Some(number) => format!("{number}{name}"),
        None => format!("{}B", exact(thousandths, of_1000)?),
    };
    Some(match unit.len() {
        1 => format!("{binary}, which nginx means, or {decimal}"),
        _ if unit.ends_with('b') && !unit.contains('i') => decimal,
        _ => binary.to_string(),
    })
}

/// A rate, as `10r/s`, `10/min`, `10rps` or `10`.
pub(super) fn rate(text: &str) -> Option<String> {
    let end = text.find(|c: char| !c.is_ascii_digit());
    let (count, unit) = text.split_at(end.unwrap_or(text.len()));
    let count: u32 = count.parse().ok().filter(|count| *count > 0)?;
    let unit = unit.trim().to_lowercase();
    let unit = match unit.as_str() {
        "rps" => "s",
        "rpm" => "m",
        "rph" => "h",
        unit => {
            let unit = unit
                .trim_start_matches("requests")
                .trim_start_matches("req");
            let unit = unit.trim_start_matches('r').trim_start();
            let unit = unit.strip_prefix("per ").or(unit.strip_prefix('/'));
            unit.unwrap_or_default().trim()
        }
    };
    let unit = match unit {
        "" if end.is_none() => 1,
        unit => seconds(unit.strip_prefix('1').unwrap_or(unit)).filter(|_| !unit.is_empty())?,
    };
    let per = time::Duration::from_secs(unit);
    let is_unit = [1, 60, 3_600, 86_400].contains(&unit);
    is_unit.then(|| Rate { count, per }.to_string())
}

/// Statuses, as `5xx`, `50x` or `500..504`.
pub(super) fn statuses(text: &str) -> Option<String> {
    let lower = text.to_lowercase();
    for apart in ["...", "..", " - ", ":", "\u{2013}"] {
        if let Some((first, last)) = lower.split_once(apart) {
            let range: StatusRange = format!("{first}-{last}").parse().ok()?;
            return Some(range.to_string());
        }
    }
    let digits = lower.trim_end_matches('x');
    let xs = lower.len() - digits.len();
    if lower.len() != 3 || !(1..=2).contains(&xs) {
        return None;
    }
    let ends = ["0", "9"].map(|digit| format!("{digits}{}", digit.repeat(xs)));
    let range: StatusRange = ends.join("-").parse().ok()?;
    Some(range.to_string())
}

/// The seconds in a unit of time; one that is left out is a second.
fn seconds(unit: &str) -> Option<u64> {
    Some(match unit {
        "" | "s" | "sec" | "secs" | "second" | "seconds" => 1,
        "m" | "min" | "mins" | "minute" | "minutes" => 60,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3_600,
        "d" | "day" | "days" => 86_400,
        "w" | "week" | "weeks" => 604_800,
        _ => return None,
    })
}

/// Splits a leading number, with up to three decimals, from what follows.
fn thousandths(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, rest) = text.split_at(end.unwrap_or(text.len()));
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    let decimals: u64 = match decimals.len() {
        0 => 0,
        1..=3 => format!("{decimals:0<3}").parse().ok()?,
        _ => return None,
    };
    let whole: u64 = whole.parse().ok()?;
    Some((whole.checked_mul(1_000)?.checked_add(decimals)?, rest))
}

fn whole(thousandths: u64) -> Option<u64> {
    exact(thousandths, 1)
}

/// So many thousandths of a unit, where they come to whole ones.
fn exact(thousandths: u64, unit: u64) -> Option<u64> {
    let product = thousandths.checked_mul(unit)?;
    product.is_multiple_of(1_000).then_some(product / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Proposal = fn(&str) -> Option<String>;

    #[test]
    fn what_is_plainly_meant_is_proposed() {
        let cases: [(Proposal, &[(&str, &str)]); 4] = [
            (
                duration,
                &[
                    ("30", "30s"),
                    ("1min", "1m"),
                    ("1hr", "1h"),
                    ("10 s", "10s"),
                    ("1.5s", "1500ms"),
                    ("1.5h", "1h30m"),
                    ("2 Weeks", "14d"),
                    ("1h 30min", "1h30m"),
                    ("1:30", ""),
                    ("-1s", ""),
                    ("1.2.3s", ""),
                    ("99999999999999999999s", ""),
                ],
            ),
            (
                size,
                &[
                    ("8m", "8MiB, which nginx means, or 8MB"),
                    ("1024k", "1MiB, which nginx means, or 1024kB"),
                    ("1.5G", "1536MiB, which nginx means, or 1500000000B"),
                    ("8mb", "8MB"),
                    ("64kib", "64KiB"),
                    ("1.5MiB", "1536KiB"),
                    ("10 bytes", "10B"),
                    ("8mbit", ""),
                    ("-8m", ""),
                ],
            ),
            (
                rate,
                &[
                    ("10", "10/s"),
                    ("10r/s", "10/s"),
                    ("10rps", "10/s"),
                    ("10/min", "10/m"),
                    ("100/hour", "100/h"),
                    ("300rpm", "300/m"),
                    ("10 req/s", "10/s"),
                    ("10 per minute", "10/m"),
                    ("10/1s", "10/s"),
                    ("10/", ""),
                    ("0", ""),
                    ("5/w", ""),
                    ("10s", ""),
                ],
            ),
            (
                statuses,
                &[
                    ("5xx", "500-599"),
                    ("5XX", "500-599"),
                    ("50x", "500-509"),
                    ("500..504", "500-504"),
                    ("500 - 504", "500-504"),
                    ("xxx", ""),
                    ("9xx", ""),
                    ("5x", ""),
                ],
            ),
        ];
        for (propose, cases) in cases {
            for (text, expected) in cases {
                let expected = Some(*expected).filter(|expected| !expected.is_empty());
                assert_eq!(propose(text).as_deref(), expected, "{text}");
            }
        }
    }
}
