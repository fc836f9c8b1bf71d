//! What happens to a value before an operator reads it.
//!
//! One enum, one match. A function of this module takes bytes and returns
//! `None` when it would change nothing, so that the common case copies nothing.
//! The source of each is the "Transformation functions" page of the ModSecurity
//! v3 reference manual; differences are on the function. All of them are total:
//! what cannot be decoded stays as it is, and no byte is dropped for being invalid.

mod base64;
mod cmd_line;
mod comments;
mod css_decode;
mod digest;
mod escape_seq_decode;
mod hex;
mod html_entity_decode;
mod js_decode;
mod normalize_path;
mod nulls;
mod parity;
mod sql_hex_decode;
mod touches;
mod trim;
mod url_decode;
mod url_decode_uni;
mod url_encode;
mod utf8_to_unicode;
mod white_space;

use std::borrow::Cow;

pub(crate) use touches::Classes;
pub(crate) use url_decode::url_decode;

use crate::error::Complaint;

macro_rules! transformations {
    ($($variant:ident $name:literal,)*) => {
        /// A transformation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(crate) enum Transformation { $($variant,)* }

        impl Transformation {
            const ALL: &[(&'static str, Self)] = &[$(($name, Self::$variant),)*];
        }
    };
}

transformations! {
    Base64Decode "base64Decode",
    Base64DecodeExt "base64DecodeExt",
    Base64Encode "base64Encode",
    CmdLine "cmdLine",
    CompressWhitespace "compressWhitespace",
    CssDecode "cssDecode",
    EscapeSeqDecode "escapeSeqDecode",
    HexDecode "hexDecode",
    HexEncode "hexEncode",
    HtmlEntityDecode "htmlEntityDecode",
    JsDecode "jsDecode",
    Length "length",
    Lowercase "lowercase",
    Md5 "md5",
    NormalizePath "normalizePath",
    NormalizePathOld "normalisePath",
    NormalizePathWin "normalizePathWin",
    NormalizePathWinOld "normalisePathWin",
    ParityEven7Bit "parityEven7bit",
    ParityOdd7Bit "parityOdd7bit",
    ParityZero7Bit "parityZero7bit",
    RemoveComments "removeComments",
    RemoveCommentsChar "removeCommentsChar",
    RemoveNulls "removeNulls",
    RemoveWhitespace "removeWhitespace",
    ReplaceComments "replaceComments",
    ReplaceNulls "replaceNulls",
    Sha1 "sha1",
    SqlHexDecode "sqlHexDecode",
    Trim "trim",
    TrimLeft "trimLeft",
    TrimRight "trimRight",
    Uppercase "uppercase",
    UrlDecode "urlDecode",
    UrlDecodeUni "urlDecodeUni",
    UrlEncode "urlEncode",
    Utf8ToUnicode "utf8toUnicode",
}

impl Transformation {
    /// Finds a transformation by its SecLang name, in any case.
    pub(crate) fn find(name: &str) -> Result<Self, Complaint> {
        if let Some((_, found)) = Self::ALL
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
        {
            return Ok(*found);
        }
        Err(Complaint::unknown(
            "transformation",
            name,
            Self::ALL.iter().map(|(known, _)| *known),
        ))
    }

    /// Returns the SecLang name.
    pub(crate) fn name(self) -> &'static str {
        let mut all = Self::ALL.iter();
        all.find(|(_, known)| *known == self)
            .map_or("", |(name, _)| name)
    }

    /// Applies the transformation.
    pub(crate) fn apply<'a>(self, input: Cow<'a, [u8]>) -> Cow<'a, [u8]> {
        match self.changed(&input) {
            Some(output) => Cow::Owned(output),
            None => input,
        }
    }

    /// Returns the transformed value, or `None` where it equals the input.
    pub(crate) fn changed(self, input: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Base64Decode => base64::decode(input),
            Self::Base64DecodeExt => base64::decode_ext(input),
            Self::Base64Encode => Some(base64::encode(input)),
            Self::CmdLine => cmd_line::cmd_line(input),
            Self::CompressWhitespace => white_space::compress(input),
            Self::CssDecode => css_decode::css_decode(input),
            Self::EscapeSeqDecode => escape_seq_decode::escape_seq_decode(input),
            Self::HexDecode => hex::decode(input),
            Self::HexEncode => Some(hex::encode(input)),
            Self::HtmlEntityDecode => html_entity_decode::html_entity_decode(input),
            Self::JsDecode => js_decode::js_decode(input),
            Self::Length => Some(input.len().to_string().into_bytes()),
            Self::Lowercase => input
                .iter()
                .any(u8::is_ascii_uppercase)
                .then(|| input.to_ascii_lowercase()),
            Self::Md5 => Some(digest::md5(input)),
            Self::NormalizePath | Self::NormalizePathOld => normalize_path::normalize_path(input),
            Self::NormalizePathWin | Self::NormalizePathWinOld => {
                normalize_path::normalize_path_win(input)
            }
            Self::ParityEven7Bit => Some(parity::even(input)),
            Self::ParityOdd7Bit => Some(parity::odd(input)),
            Self::ParityZero7Bit => parity::zero(input),
            Self::RemoveComments => comments::remove(input),
            Self::RemoveCommentsChar => comments::remove_marks(input),
            Self::RemoveNulls => nulls::remove(input),
            Self::RemoveWhitespace => white_space::remove(input),
            Self::ReplaceComments => comments::replace(input),
            Self::ReplaceNulls => nulls::replace(input),
            Self::Sha1 => Some(digest::sha1(input)),
            Self::SqlHexDecode => sql_hex_decode::sql_hex_decode(input),
            Self::Trim => trim::trim(input),
            Self::TrimLeft => trim::left(input),
            Self::TrimRight => trim::right(input),
            Self::Uppercase => input
                .iter()
                .any(u8::is_ascii_lowercase)
                .then(|| input.to_ascii_uppercase()),
            Self::UrlDecode => url_decode(input),
            Self::UrlDecodeUni => url_decode_uni::url_decode_uni(input),
            Self::UrlEncode => url_encode::url_encode(input),
            Self::Utf8ToUnicode => utf8_to_unicode::utf8_to_unicode(input),
        }
    }
}

/// Returns the value of a hexadecimal digit.
fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// Returns the byte that two hexadecimal digits at the beginning spell.
fn hex_byte(input: &[u8]) -> Option<u8> {
    match input {
        [high, low, ..] => Some(hex_digit(*high)? << 4 | hex_digit(*low)?),
        _ => None,
    }
}

/// Returns the number that up to `most` hexadecimal digits at the beginning
/// spell, and how many digits there are.
fn hex_number(input: &[u8], most: usize) -> (u32, usize) {
    let digits = input
        .iter()
        .take(most.min(8))
        .map_while(|byte| hex_digit(*byte));
    digits.fold((0, 0), |(value, count), digit| {
        (value << 4 | u32::from(digit), count + 1)
    })
}

/// Appends what a code point in an escape sequence stands for.
///
/// Up to U+00FF it is that byte. Full-width forms become the ASCII character
/// they imitate. Everything else is written as UTF-8; ModSecurity keeps only the
/// low byte, which turns ordinary Cyrillic and Arabic text into `<` and `/`.
fn push_code_point(output: &mut Vec<u8>, code: u32) {
    match code {
        0..=0xff => output.push(code as u8),
        0xff01..=0xff5e => output.push((code - 0xff01) as u8 + b'!'),
        _ => {
            let mut buffer = [0; 4];
            let c = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
            output.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
        }
    }
}

#[cfg(test)]
mod tests;
