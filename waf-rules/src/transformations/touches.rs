//! Which bytes a transformation can change.
//!
//! Nearly every value has none of them, and then no chain needs to be applied to it: one
//! look at its bytes tells.

use super::Transformation;

/// A set of classes of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Classes(u16);

impl Classes {
    const UPPER: Self = Self(1);
    const LOWER: Self = Self(1 << 1);
    const SPACE: Self = Self(1 << 2);
    const NUL: Self = Self(1 << 3);
    /// `%` and `+`.
    const ESCAPE: Self = Self(1 << 4);
    const AMPERSAND: Self = Self(1 << 5);
    const BACKSLASH: Self = Self(1 << 6);
    const SLASH: Self = Self(1 << 7);
    /// Dots and nothing else: elsewhere a path needs a slash to be another one.
    const ONLY_DOTS: Self = Self(1 << 8);
    /// `-`, `#` and `<`, with which comments begin.
    const COMMENT: Self = Self(1 << 9);
    /// `"`, `'`, `^`, `,` and `;`.
    const SHELL: Self = Self(1 << 10);
    const HIGH: Self = Self(1 << 11);
    const ZERO: Self = Self(1 << 12);
    /// In every value.
    const ALWAYS: Self = Self(1 << 15);

    /// Nothing is known of the value.
    pub(crate) const ALL: Self = Self(u16::MAX);

    /// Letters, which comparisons without regard to case do not tell apart.
    pub(crate) const CASE: Self = Self(Self::UPPER.0 | Self::LOWER.0);

    /// The classes of a byte.
    pub(crate) const fn of_byte(byte: u8) -> Self {
        Self(TABLE[byte as usize])
    }

    /// The classes of a value that no byte of it has alone.
    pub(crate) fn of_all(value: &[u8]) -> Self {
        let is_dots = value.first() == Some(&b'.') && value.iter().all(|byte| *byte == b'.');
        match is_dots {
            true => Self::ALWAYS.and(Self::ONLY_DOTS),
            false => Self::ALWAYS,
        }
    }

    /// The set as a number.
    pub(crate) const fn bits(self) -> u16 {
        self.0
    }

    /// The set that a number is.
    pub(crate) const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// All of one and of another.
    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Without those of another.
    pub(crate) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether there is a class that both have.
    pub(crate) const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// The classes of each byte.
static TABLE: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            b'A'..=b'Z' => Classes::UPPER.0,
            b'a'..=b'z' => Classes::LOWER.0,
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => Classes::SPACE.0,
            0 => Classes::NUL.0,
            b'%' | b'+' => Classes::ESCAPE.0,
            b'&' => Classes::AMPERSAND.0,
            b'\\' => Classes::BACKSLASH.0,
            b'/' => Classes::SLASH.0,
            b'-' | b'#' | b'<' => Classes::COMMENT.0,
            b'"' | b'\'' | b'^' | b',' | b';' => Classes::SHELL.0,
            0x80..=0xff => Classes::HIGH.0,
            b'0' => Classes::ZERO.0,
            _ => 0,
        };
        byte += 1;
    }
    table
};

impl Transformation {
    /// The classes of which a value must have a byte to be changed.
    pub(crate) fn touches(self) -> Classes {
        match self {
            Self::Base64Decode
            | Self::Base64DecodeExt
            | Self::Base64Encode
            | Self::HexDecode
            | Self::HexEncode
            | Self::Length
            | Self::Md5
            | Self::ParityEven7Bit
            | Self::ParityOdd7Bit
            | Self::Sha1
            | Self::UrlEncode => Classes::ALWAYS,
            Self::CmdLine => [
                Classes::UPPER,
                Classes::SPACE,
                Classes::BACKSLASH,
                Classes::SHELL,
            ]
            .into_iter()
            .fold(Classes::default(), Classes::and),
            Self::CompressWhitespace
            | Self::RemoveWhitespace
            | Self::Trim
            | Self::TrimLeft
            | Self::TrimRight => Classes::SPACE,
            Self::CssDecode | Self::EscapeSeqDecode | Self::JsDecode => Classes::BACKSLASH,
            Self::HtmlEntityDecode => Classes::AMPERSAND,
            Self::Lowercase => Classes::UPPER,
            Self::NormalizePath
            | Self::NormalizePathOld
            | Self::NormalizePathWin
            | Self::NormalizePathWinOld => [Classes::SLASH, Classes::BACKSLASH, Classes::ONLY_DOTS]
                .into_iter()
                .fold(Classes::default(), Classes::and),
            Self::ParityZero7Bit | Self::Utf8ToUnicode => Classes::HIGH,
            Self::RemoveComments | Self::RemoveCommentsChar | Self::ReplaceComments => {
                Classes::SLASH.and(Classes::COMMENT)
            }
            Self::RemoveNulls | Self::ReplaceNulls => Classes::NUL,
            Self::SqlHexDecode => Classes::ZERO,
            Self::Uppercase => Classes::LOWER,
            Self::UrlDecode | Self::UrlDecodeUni => Classes::ESCAPE,
        }
    }
}
