//! `Content-Disposition` of a part (RFC 7578 section 4.2).

use crate::body::Parsed;

/// What the header says.
#[derive(Debug, Default)]
pub(super) struct Disposition {
    pub(super) name: Option<Vec<u8>>,
    pub(super) filename: Option<Vec<u8>>,
    /// `filename*` (RFC 8187), decoded. RFC 7578 forbids it, some clients send
    /// it and some backends prefer it.
    pub(super) extended: Option<Vec<u8>>,
}

impl Disposition {
    /// Parses a value, and goes on after a problem: rules see what is there.
    pub(super) fn parse(value: &[u8], parsed: &mut Parsed) -> Self {
        let mut disposition = Self::default();
        let kind = value.iter().position(|byte| *byte == b';');
        let (kind, mut rest) = value.split_at(kind.unwrap_or(value.len()));
        if !kind.trim_ascii().eq_ignore_ascii_case(b"form-data") {
            parsed.fail("the disposition of a part is not form-data");
        }
        while let [b';', parameters @ ..] = rest {
            rest = disposition.parameter(parameters, parsed);
        }
        // Simple readers look for these letters, and would take the part for a field.
        if disposition.filename.is_some() && memchr::memmem::find(value, b"filename=").is_none() {
            parsed.fail("the file name of a part is written oddly");
        }
        disposition
    }

    /// Reads one parameter; returns what follows, from its semicolon.
    fn parameter<'a>(&mut self, text: &'a [u8], parsed: &mut Parsed) -> &'a [u8] {
        let text = text.trim_ascii_start();
        let end = text.iter().position(|byte| matches!(byte, b'=' | b';'));
        let end = end.unwrap_or(text.len());
        let key = text[..end].trim_ascii_end().to_ascii_lowercase();
        let Some(value) = text[end..].strip_prefix(b"=") else {
            if !key.is_empty() {
                parsed.fail("a parameter of a part has no value");
            }
            return &text[end..];
        };
        let value = value.trim_ascii_start();
        let (value, rest) = match key.ends_with(b"*") && !value.starts_with(b"\"") {
            true => encoded(value),
            false => value_of(value, parsed),
        };
        let (slot, value) = match key.as_slice() {
            b"name" => (&mut self.name, value),
            b"filename" => (&mut self.filename, value),
            b"filename*" => (&mut self.extended, extended(&value)),
            _ => {
                // `name*`, `filename*0`: some readers join them (RFC 2231).
                if key.contains(&b'*') {
                    parsed.fail("a parameter of a part is written in pieces or encoded");
                }
                return rest;
            }
        };
        if slot.replace(value).is_some() {
            parsed.fail("a parameter of a part is repeated");
        }
        rest
    }
}

/// Reads a value; returns it and what follows, from the next semicolon.
fn value_of<'a>(text: &'a [u8], parsed: &mut Parsed) -> (Vec<u8>, &'a [u8]) {
    let (value, after) = match text.first() {
        Some(quote @ (b'"' | b'\'')) => {
            // Some backends take an apostrophe for a quote, others for a character.
            parsed.multipart.invalid_quoting |= *quote == b'\'';
            quoted(&text[1..], *quote, parsed)
        }
        _ => {
            let end = text.iter().position(|byte| *byte == b';');
            let (value, after) = text.split_at(end.unwrap_or(text.len()));
            let value = value.trim_ascii_end();
            parsed.multipart.invalid_quoting |= value.contains(&b'\'');
            if !value.iter().all(|byte| is_token(*byte)) {
                parsed.multipart.invalid_quoting |= value.contains(&b'"');
                parsed.fail("a parameter of a part needs quotes");
            }
            (value.to_vec(), after)
        }
    };
    let end = after
        .iter()
        .position(|byte| *byte == b';')
        .unwrap_or(after.len());
    if !after[..end].trim_ascii().is_empty() {
        parsed.multipart.invalid_quoting = true;
        parsed.fail("text follows a parameter of a part");
    }
    (value, &after[end..])
}

/// Reads up to the closing quote. A backslash escapes only the quote and
/// itself: browsers send paths of Windows with single ones.
fn quoted<'a>(text: &'a [u8], quote: u8, parsed: &mut Parsed) -> (Vec<u8>, &'a [u8]) {
    let mut value = Vec::new();
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match (byte, text.get(at + 1)) {
            (b'\\', Some(next)) if *next == quote || *next == b'\\' => {
                value.push(*next);
                at += 1;
            }
            (byte, _) if *byte == quote => return (value, &text[at + 1..]),
            _ => value.push(*byte),
        }
        at += 1;
    }
    parsed.multipart.invalid_quoting = true;
    parsed.fail("a quote of a part is not closed");
    (value, &[])
}

/// RFC 9110 section 5.6.2, and what some clients do not quote.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&byte)
}

/// Reads `charset'language'percent-encoded`, up to the next semicolon.
fn encoded(text: &[u8]) -> (Vec<u8>, &[u8]) {
    let end = memchr::memchr(b';', text).unwrap_or(text.len());
    (text[..end].trim_ascii_end().to_vec(), &text[end..])
}

/// Decodes `charset'language'percent-encoded`.
fn extended(value: &[u8]) -> Vec<u8> {
    let text = value
        .splitn(3, |byte| *byte == b'\'')
        .nth(2)
        .unwrap_or(value);
    percent_encoding::percent_decode(text).collect()
}
