//! `multipart/form-data` (RFC 7578, RFC 2046 section 5.1).
//!
//! ```text
//! --boundary            a delimiter stands at the beginning of a line
//! Content-Disposition: form-data; name="field"; filename="file"
//!
//! content               of a field: an argument; of a file: its size only
//! --boundary--
//! ```
//!
//! Backends disagree on malformed bodies, so every deviation is a problem: a
//! body that two readers could take apart differently is not let through by a
//! rule set that looks at `REQBODY_ERROR`. A part that some backends take for a
//! file and others for a field is both.

use super::{
    ContentType, ParseOptions, Parsed,
    content_type::{split, unquoted},
};

/// Parses a body.
pub(super) fn parse(body: &[u8], content_type: &ContentType, options: &ParseOptions<'_>) -> Parsed {
    let mut parsed = Parsed {
        text_bytes: Some(0),
        ..Parsed::default()
    };
    let mut boundaries = content_type.values(b"boundary");
    let (boundary, second) = (boundaries.next().unwrap_or_default(), boundaries.next());
    if boundary.is_empty()
        || boundary.len() > 250
        || second.is_some()
        || boundary.iter().any(|b| !is_boundary(*b))
    {
        parsed.fail("multipart: the boundary is missing, repeated or invalid");
        return parsed;
    }
    let mut parts = 0;
    let mut lines = Delimiters {
        body,
        boundary,
        at: 0,
    };
    let mut start = None;
    loop {
        let found = lines.next_delimiter(&mut parsed);
        let end = match &found {
            Some(delimiter) => delimiter.content_end,
            None => body.len(),
        };
        match start {
            None if found.is_none() || end > 0 => {
                parsed.fail("multipart: the body does not begin with its boundary")
            }
            None => {}
            Some(start) => {
                parts += 1;
                if parts > options.limits.max_multipart_parts {
                    parsed.fail("multipart: too many parts");
                    return parsed;
                }
                let content = body.get(start..end.max(start)).unwrap_or_default();
                part(content, options, &mut parsed);
            }
        }
        match found {
            None => {
                if !options.truncated {
                    parsed.fail("multipart: the closing boundary is missing");
                }
                return parsed;
            }
            Some(delimiter) if delimiter.closing => {
                if body[delimiter.end..]
                    .iter()
                    .any(|byte| !byte.is_ascii_whitespace())
                {
                    parsed.fail("multipart: text follows the closing boundary");
                }
                if start.is_none() {
                    parsed.fail("multipart: there is no part");
                }
                return parsed;
            }
            Some(delimiter) => start = Some(delimiter.end),
        }
    }
}

/// RFC 2046 section 5.1.1, and what browsers and libraries use beyond it.
fn is_boundary(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte)
}

/// A line that separates parts.
struct Delimiter {
    /// Where the content before it ends.
    content_end: usize,
    /// Where the line after it begins.
    end: usize,
    closing: bool,
}

struct Delimiters<'a> {
    body: &'a [u8],
    boundary: &'a [u8],
    at: usize,
}

impl Delimiters<'_> {
    /// Finds the next delimiter; only the declared boundary is one.
    fn next_delimiter(&mut self, parsed: &mut Parsed) -> Option<Delimiter> {
        while self.at < self.body.len() {
            let start = self.at;
            let rest = &self.body[start..];
            let length = rest
                .iter()
                .position(|byte| *byte == b'\n')
                .map_or(rest.len(), |end| end + 1);
            self.at += length;
            let line = &rest[..length];
            let Some(after) = line
                .strip_prefix(b"--")
                .and_then(|line| line.strip_prefix(self.boundary))
            else {
                continue;
            };
            let (closing, tail) = match after.strip_prefix(b"--") {
                Some(tail) => (true, tail),
                None => (false, after),
            };
            if !tail.iter().all(u8::is_ascii_whitespace) {
                parsed.unmatched_boundary = true;
                continue;
            }
            if !(tail.ends_with(b"\r\n") || closing && tail.is_empty()) {
                parsed.fail("multipart: a line does not end with CRLF");
            }
            let before = &self.body[..start];
            let content_end = match before {
                [.., b'\r', b'\n'] => start - 2,
                [.., b'\n'] => {
                    parsed.fail("multipart: a line does not end with CRLF");
                    start - 1
                }
                _ => start,
            };
            return Some(Delimiter {
                content_end,
                end: self.at,
                closing,
            });
        }
        None
    }
}

/// What the headers of a part say.
#[derive(Default)]
struct Disposition {
    name: Option<Vec<u8>>,
    filename: Option<Vec<u8>>,
    /// `filename*`, which RFC 7578 forbids and some backends read.
    extended: Option<Vec<u8>>,
}

/// Reads one part: its headers, an empty line, its content.
fn part(text: &[u8], options: &ParseOptions<'_>, parsed: &mut Parsed) {
    let mut disposition = None;
    let mut raw_headers: Vec<&[u8]> = Vec::new();
    let mut at = 0;
    let content = loop {
        let rest = text.get(at..).unwrap_or_default();
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            // The content of an empty part has lost its line end to the delimiter.
            if !matches!(rest, b"" | b"\r") {
                raw_headers.push(rest);
                if !options.truncated {
                    parsed.fail("multipart: a part has no end of its headers");
                }
            }
            break &rest[rest.len()..];
        };
        let line = &rest[..end];
        at += end + 1;
        let line = line.strip_suffix(b"\r").unwrap_or_else(|| {
            parsed.fail("multipart: a line does not end with CRLF");
            line
        });
        if line.is_empty() {
            break &text[at..];
        }
        raw_headers.push(line);
    };
    for line in &raw_headers {
        header(line, &mut disposition, parsed);
    }
    let disposition = disposition.unwrap_or_else(|| {
        parsed.fail("multipart: a part has no Content-Disposition");
        Disposition::default()
    });
    let name = disposition.name.unwrap_or_else(|| {
        parsed.fail("multipart: a part has no name");
        Vec::new()
    });
    for line in raw_headers {
        parsed.part_headers.push(name.clone(), line);
    }
    // Only a file with a plain, non-empty name is a file for everybody.
    let is_file = disposition
        .filename
        .as_ref()
        .is_some_and(|filename| !filename.is_empty());
    if let Some(filename) = disposition.filename.or(disposition.extended) {
        parsed.files.push(name.clone(), filename);
        parsed.files_sizes.push(content.len());
    }
    let text_bytes = text.len() - if is_file { content.len() } else { 0 };
    *parsed.text_bytes.get_or_insert(0) += text_bytes;
    if !is_file {
        parsed.argument(&name, content, options.max_arguments);
    }
}

/// Reads one header line of a part.
fn header(line: &[u8], disposition: &mut Option<Disposition>, parsed: &mut Parsed) {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return parsed.fail("multipart: a header of a part is folded");
    }
    let Some(colon) = line.iter().position(|byte| *byte == b':') else {
        return parsed.fail("multipart: a header of a part has no colon");
    };
    if line.contains(&0) {
        parsed.fail("multipart: a header of a part has a NUL byte");
    }
    let (name, value) = (
        line[..colon].trim_ascii().to_ascii_lowercase(),
        line[colon + 1..].trim_ascii(),
    );
    match name.as_slice() {
        b"content-disposition" => {
            if disposition.is_some() {
                parsed.fail("multipart: a part has two Content-Disposition headers");
            }
            *disposition = Some(content_disposition(value, parsed));
        }
        b"content-transfer-encoding"
            if ![&b"7bit"[..], b"8bit", b"binary"].contains(&&*value.to_ascii_lowercase()) =>
        {
            parsed.fail("multipart: the content of a part is encoded");
        }
        b"content-type" if ContentType::parse(value).essence.starts_with(b"multipart/") => {
            parsed.fail("multipart: a part has parts of its own");
        }
        _ => {}
    }
}

/// Reads the value of `Content-Disposition`.
fn content_disposition(value: &[u8], parsed: &mut Parsed) -> Disposition {
    let mut disposition = Disposition::default();
    let mut parts = split(value).into_iter();
    if !parts
        .next()
        .unwrap_or_default()
        .trim_ascii()
        .eq_ignore_ascii_case(b"form-data")
    {
        parsed.fail("multipart: the disposition of a part is not form-data");
    }
    for parameter in parts
        .map(<[u8]>::trim_ascii)
        .filter(|parameter| !parameter.is_empty())
    {
        let Some(equals) = parameter.iter().position(|byte| *byte == b'=') else {
            parsed.fail("multipart: a parameter of a part has no value");
            continue;
        };
        let (key, raw) = (
            parameter[..equals].trim_ascii(),
            parameter[equals + 1..].trim_ascii(),
        );
        let quoted = raw.len() >= 2 && raw.starts_with(b"\"") && raw.ends_with(b"\"");
        if !quoted && raw.iter().any(|byte| matches!(byte, b'"' | b'\'')) && !key.ends_with(b"*") {
            parsed.fail("multipart: a parameter of a part has invalid quotes");
        }
        let slot = match key.to_ascii_lowercase().as_slice() {
            b"name" => &mut disposition.name,
            b"filename" => &mut disposition.filename,
            b"filename*" => &mut disposition.extended,
            _ => continue,
        };
        if slot.replace(unquoted(raw)).is_some() {
            parsed.fail("multipart: a parameter of a part is repeated");
        }
    }
    disposition
}
