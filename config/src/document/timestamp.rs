//! Times of the calendar as people write them.

use std::{borrow::Cow, fmt, str::FromStr, time::SystemTime};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A time, written as RFC 3339 has it: `2026-12-01T18:00:00Z`, or with another offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub SystemTime);

impl FromStr for Timestamp {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let time: jiff::Timestamp = text.parse().map_err(|_| {
            format!(
                "{text:?} is not a time: write one with its offset, as 2026-12-01T18:00:00Z or 2026-12-01T18:00:00+01:00"
            )
        })?;
        Ok(Self(time.into()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::try_from(self.0) {
            Ok(time) => write!(f, "{time}"),
            // Years that no calendar has cannot be written, and so cannot come here.
            Err(_) => Err(fmt::Error),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Timestamp {
    fn schema_name() -> Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "date-time",
            "description": "A time with its offset: 2026-12-01T18:00:00Z.",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_says_its_offset() {
        let time: Timestamp = "2026-12-01T18:00:00+01:00".parse().expect("a time");
        assert_eq!(time.to_string(), "2026-12-01T17:00:00Z");
        for wrong in [
            "",
            "2026-12-01",
            "2026-12-01T18:00:00",
            "tomorrow",
            "1764612000",
        ] {
            let error = wrong.parse::<Timestamp>().expect_err(wrong);
            assert!(error.contains("2026-12-01T18:00:00Z"), "{error}");
        }
    }
}
