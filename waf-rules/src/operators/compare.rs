//! `@eq`, `@ge`, `@gt`, `@le`, `@lt`.

/// How two numbers compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    GreaterOrEqual,
    Greater,
    LessOrEqual,
    Less,
}

impl Comparison {
    /// Compares the numbers that two texts begin with.
    pub(super) fn holds(self, value: &[u8], other: &[u8]) -> bool {
        self.compares(number(value), number(other))
    }

    /// Compares two numbers.
    pub(crate) fn compares(self, value: i64, other: i64) -> bool {
        match self {
            Self::Equal => value == other,
            Self::GreaterOrEqual => value >= other,
            Self::Greater => value > other,
            Self::LessOrEqual => value <= other,
            Self::Less => value < other,
        }
    }
}

/// Reads the number a text begins with, as C's `atoi` does: 0 where there is
/// none. Saturates.
pub(crate) fn number(text: &[u8]) -> i64 {
    let text = text.trim_ascii_start();
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let value =
        digits
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .fold(0_i64, |value, digit| {
                value
                    .saturating_mul(10)
                    .saturating_add(i64::from(digit - b'0'))
            });
    if negative { -value } else { value }
}

/// Tells whether a text is a whole number and nothing else.
pub(super) fn is_number(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| text.trim().parse::<i64>().is_ok())
}
