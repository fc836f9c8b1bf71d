//! Processors, as Kubernetes counts them.

use std::{fmt, str::FromStr};

/// Thousandths of a processor, at least 1: the finest that Kubernetes takes.
///
/// # Examples
/// ```
/// use portcullis_config::model::MilliCpu;
///
/// assert_eq!("0.25".parse(), Ok(MilliCpu(250)));
/// assert_eq!(MilliCpu(250).to_string(), "250m");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MilliCpu(pub u32);

impl FromStr for MilliCpu {
    type Err = String;

    /// Reads a quantity of processors: `250m`, `0.25` or `2`.
    fn from_str(text: &str) -> Result<Self, String> {
        thousandths(text)
            .filter(|thousandths| *thousandths > 0)
            .map(Self)
            .ok_or_else(|| {
                format!("{text:?} is no quantity of processors: write 250m, 0.25 or 2, and no less than 1m")
            })
    }
}

fn thousandths(text: &str) -> Option<u32> {
    let number = |digits: &str| -> Option<u32> {
        // `parse` takes a sign.
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| digits.parse().ok())?
    };
    if let Some(digits) = text.strip_suffix('m') {
        return number(digits);
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if fraction.is_empty() || fraction.len() > 3 {
        return None;
    }
    let fraction = number(&format!("{fraction:0<3}"))?;
    number(whole)?.checked_mul(1000)?.checked_add(fraction)
}

impl fmt::Display for MilliCpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}m", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_to_a_thousandth() {
        for (text, expected) in [
            ("1m", Some(1)),
            ("1500m", Some(1500)),
            ("2", Some(2000)),
            ("0.5", Some(500)),
            ("0.25", Some(250)),
            ("1.005", Some(1005)),
            ("0", None),
            ("0m", None),
            ("0.0001", None),
            ("", None),
            ("m", None),
            (".5", None),
            ("1.", None),
            ("-1", None),
            ("+1", None),
            ("1 m", None),
            ("1k", None),
            ("1e3", None),
            ("4294967296m", None),
            ("4294968", None),
        ] {
            let read = text.parse::<MilliCpu>().ok();
            assert_eq!(read, expected.map(MilliCpu), "{text:?}");
        }
    }
}
