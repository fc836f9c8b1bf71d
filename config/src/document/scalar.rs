//! Durations, sizes and rates as people write them.

use std::{borrow::Cow, fmt, str::FromStr, time};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::spelling;

/// A length of time, written as `500ms`, `10s`, `5m`, `1h30m` or `2d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(pub time::Duration);

/// A number of bytes, written as `512`, `64KiB`, `10MiB` or `1GiB`, or with the
/// decimal units `kB`, `MB`, `GB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

/// A number of events in a unit of time, written as `10/s`, `300/m` or `1000/h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    /// How many events, at least 1.
    pub count: u32,
    /// In which time.
    pub per: time::Duration,
}

/// A status, or some in a row, written as `404` or `500-504`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StatusRange {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

/// The id of a rule, or of some in a row, written as `942100` or `942200-942299`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RuleIds {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
}

/// Longest duration, ten years: far below what clocks can add without an overflow.
const MAX_MILLIS: u64 = 3_650 * 86_400_000;

impl FromStr for Duration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let how = || match spelling::duration(text) {
            Some(meant) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                format!("write {meant} for seconds, or a number with ms, m, h or d")
            }
            Some(meant) => format!("write {meant}"),
            None => "write a number with ms, s, m, h or d, as in 500ms, 10s or 1h30m".into(),
        };
        if text == "0" {
            return Ok(Self(time::Duration::ZERO));
        }
        let mut total = 0u64;
        let mut rest = text;
        while !rest.is_empty() {
            let (number, after) = split_digits(rest)
                .ok_or_else(|| format!("{text:?} is not a duration: {}", how()))?;
            let end = after
                .find(|c: char| c.is_ascii_digit())
                .unwrap_or(after.len());
            let (unit, next) = after.split_at(end);
            let millis = match unit {
                "ms" => 1,
                "s" => 1_000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                "" => return Err(format!("{text:?} has no unit: {}", how())),
                _ => {
                    let how = how();
                    return Err(format!("{text:?} has the unknown unit {unit:?}: {how}"));
                }
            };
            total = number
                .checked_mul(millis)
                .and_then(|add| total.checked_add(add))
                .filter(|total| *total <= MAX_MILLIS)
                .ok_or_else(|| format!("{text:?} is too long; at most 3650d"))?;
            rest = next;
        }
        if text.is_empty() {
            return Err(format!("an empty text is not a duration: {}", how()));
        }
        Ok(Self(time::Duration::from_millis(total)))
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut millis = self.0.as_millis();
        if millis == 0 {
            return f.write_str("0s");
        }
        for (unit, length) in [
            ("d", 86_400_000),
            ("h", 3_600_000),
            ("m", 60_000),
            ("s", 1_000),
            ("ms", 1),
        ] {
            if millis >= length {
                write!(f, "{}{unit}", millis / length)?;
                millis %= length;
            }
        }
        Ok(())
    }
}

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let how = || match spelling::size(text) {
            Some(meant) => format!("write {meant}"),
            None => {
                "write bytes as a whole number with B, KiB, MiB, GiB, kB, MB or GB, as in 64KiB"
                    .into()
            }
        };
        let (number, unit) =
            split_digits(text).ok_or_else(|| format!("{text:?} is not a size: {}", how()))?;
        let factor = match unit.trim_start() {
            // Whoever comes from `20m` and writes 20 may not mean 20 bytes.
            "" if number != 0 => {
                return Err(format!(
                    "{text:?} has no unit: write {number}B for bytes, else {number}KiB or {number}MiB"
                ));
            }
            "" | "B" => 1,
            "KiB" | "Ki" => 1 << 10,
            "MiB" | "Mi" => 1 << 20,
            "GiB" | "Gi" => 1 << 30,
            "kB" | "KB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            _ => {
                let how = how();
                return Err(format!("{text:?} has the unknown unit {unit:?}: {how}"));
            }
        };
        number
            .checked_mul(factor)
            .map(Self)
            .ok_or_else(|| format!("{text:?} is too large"))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, size) in [("GiB", 1u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
            if self.0 >= size && self.0.is_multiple_of(size) {
                return write!(f, "{}{unit}", self.0 / size);
            }
        }
        write!(f, "{}B", self.0)
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let how = || match spelling::rate(text) {
            Some(meant) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                format!("write {meant} for each second, {text}/m for each minute")
            }
            Some(meant) => format!("write {meant}"),
            None => "write a count and a unit of time, as in 10/s, 300/m or 1000/h".into(),
        };
        let (count, unit) = text
            .split_once('/')
            .ok_or_else(|| format!("{text:?} is not a rate: {}", how()))?;
        let per = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => {
                let how = how();
                return Err(format!(
                    "{text:?} has the unknown unit of time {unit:?}: {how}"
                ));
            }
        };
        match split_digits(count) {
            Some((count, "")) if count > 0 => Ok(Self {
                count: u32::try_from(count).map_err(|_| format!("{text:?} is too large"))?,
                per: time::Duration::from_secs(per),
            }),
            _ => Err(format!("{text:?} is not a rate: {}", how())),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.per.as_secs() {
            60 => "m",
            3_600 => "h",
            86_400 => "d",
            _ => "s",
        };
        write!(f, "{}/{unit}", self.count)
    }
}

impl StatusRange {
    /// Whether a status is one of them.
    pub fn contains(self, status: u16) -> bool {
        (self.first..=self.last).contains(&status)
    }
}

impl FromStr for StatusRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let status = |text: &str| match text.as_bytes() {
            [b'1'..=b'5', b'0'..=b'9', b'0'..=b'9'] => text.parse().ok(),
            _ => None,
        };
        match (status(first), status(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Self { first, last }),
            _ => Err(match spelling::statuses(text) {
                Some(meant) => format!("{text:?} is not a status: write {meant}"),
                None => format!(
                    "{text:?} is not a status: write one, as 404, or the first and last of some, as 500-504"
                ),
            }),
        }
    }
}

impl fmt::Display for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => write!(f, "{}", self.first),
            false => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

impl FromStr for RuleIds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let id = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
            true => text.parse().ok().filter(|id| *id > 0),
            false => None,
        };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (id(first), id(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Self { first, last }),
            _ => Err(format!(
                "{text:?} is not the id of a rule: write one, as 942100, or the first and last of some, as 942200-942299"
            )),
        }
    }
}

impl fmt::Display for RuleIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => write!(f, "{}", self.first),
            false => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

/// Splits leading ASCII digits, as a number, from what follows.
fn split_digits(text: &str) -> Option<(u64, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    digits.parse().ok().map(|number| (number, rest))
}

macro_rules! text_scalar {
    ($name:ident, $type:tt, $pattern:literal, $description:literal) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": $type, "pattern": $pattern, "description": $description })
            }
        }
    };
}

text_scalar!(
    Duration,
    "string",
    "^(0|([0-9]+(ms|s|m|h|d))+)$",
    "A length of time: 500ms, 10s, 5m, 1h30m, 2d."
);
text_scalar!(
    ByteSize,
    "string",
    "^[0-9]+ ?(B|KiB|MiB|GiB|Ki|Mi|Gi|kB|KB|MB|GB)?$",
    "A number of bytes: 512B, 64KiB, 10MiB, 1GiB."
);
text_scalar!(
    Rate,
    "string",
    "^[0-9]+/(s|m|h|d)$",
    "Events in a unit of time: 10/s, 300/m, 1000/h."
);
text_scalar!(
    StatusRange,
    ["string", "integer"],
    "^[1-5][0-9]{2}(-[1-5][0-9]{2})?$",
    "A status or some in a row: 404, 500-504."
);
text_scalar!(
    RuleIds,
    ["string", "integer"],
    "^[0-9]+(-[0-9]+)?$",
    "The id of a rule or of some in a row: 942100, 942200-942299."
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_print() {
        for (text, millis) in [
            ("500ms", 500),
            ("10s", 10_000),
            ("1h30m", 5_400_000),
            ("2d", 172_800_000),
            ("0", 0),
        ] {
            let duration: Duration = text.parse().unwrap();
            assert_eq!(duration.0.as_millis(), millis, "{text}");
            assert_eq!(duration.to_string().parse::<Duration>().unwrap(), duration);
        }
        for text in [
            "",
            "10",
            "s",
            "10 s",
            "-1s",
            "1.5s",
            "10sec",
            "99999999999999999999s",
            "9999999999999999d",
            "3651d",
        ] {
            assert!(text.parse::<Duration>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_read_and_print() {
        for (text, bytes) in [
            ("0", 0),
            ("512B", 512),
            ("64KiB", 65_536),
            ("1MB", 1_000_000),
            ("1 GiB", 1 << 30),
        ] {
            let size: ByteSize = text.parse().unwrap();
            assert_eq!(size.0, bytes, "{text}");
            assert_eq!(size.to_string().parse::<ByteSize>().unwrap(), size);
        }
        for text in ["", "20", "KiB", "64kib", "1.5MiB", "-1", "99999999999GiB"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    #[test]
    fn statuses_read_and_print() {
        for text in ["404", "500-504", "400-599"] {
            assert_eq!(text.parse::<StatusRange>().unwrap().to_string(), text);
        }
        for text in ["", "4", "4xx", "504-500", "500-", "-500", "600", "0404"] {
            assert!(text.parse::<StatusRange>().is_err(), "{text}");
        }
    }

    #[test]
    fn ids_read_and_print() {
        for text in ["1", "942100", "942200-942299"] {
            assert_eq!(text.parse::<RuleIds>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "0",
            "a",
            "2-1",
            "1-",
            "-1",
            "+1",
            "1-2-3",
            "99999999999999999999",
        ] {
            assert!(text.parse::<RuleIds>().is_err(), "{text}");
        }
    }

    #[test]
    fn rates_read_and_print() {
        for text in ["10/s", "300/m", "1000/h", "5/d"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "10",
            "0/s",
            "/s",
            "10/w",
            "1.5/s",
            "-1/s",
            "99999999999/s",
        ] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }
}
