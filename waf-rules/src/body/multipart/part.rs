//! One part: its headers, an empty line, its content.

use super::Disposition;
use crate::body::{ContentType, ParseOptions, Parsed};

/// Headers of one part. Clients send two or three.
const MAX_HEADERS: usize = 30;

/// Bytes of one header line, as in ModSecurity.
const MAX_LINE_BYTES: usize = 4096;

struct Header {
    /// In lower case.
    name: Vec<u8>,
    value: Vec<u8>,
    /// As it was sent; folded lines are joined with a space.
    line: Vec<u8>,
}

/// Reads one part.
pub(super) fn part(text: &[u8], options: &ParseOptions<'_>, parsed: &mut Parsed) {
    let (headers, content) = split(text, parsed);
    let mut disposition = Disposition::default();
    let mut is_disposed = false;
    for header in &headers {
        match header.name.as_slice() {
            b"content-disposition" if !is_disposed => {
                is_disposed = true;
                disposition = Disposition::parse(&header.value, parsed);
            }
            b"content-transfer-encoding" => transfer_encoding(&header.value, parsed),
            b"content-type"
                if ContentType::parse(&header.value)
                    .essence
                    .starts_with(b"multipart/") =>
            {
                parsed.fail("a part has parts of its own");
            }
            _ => {}
        }
    }
    if !is_disposed {
        parsed.fail("a part has no Content-Disposition");
    } else if disposition.name.is_none() {
        parsed.multipart.invalid_part = true;
        parsed.fail("a part has no name");
    }
    let name = disposition.name.take().unwrap_or_default();
    for header in headers {
        parsed.part_headers.push(name.clone(), header.line);
    }
    // Only a file with a plain, non-empty name is a file for everybody.
    let is_file = disposition
        .filename
        .as_ref()
        .is_some_and(|name| !name.is_empty());
    let text_bytes = text.len() - if is_file { content.len() } else { 0 };
    *parsed.text_bytes.get_or_insert(0) += text_bytes;
    if !is_file {
        parsed.argument(&name, content, options.max_arguments);
    }
    // Backends prefer one file name or the other.
    let Disposition {
        filename, extended, ..
    } = disposition;
    let second = extended.filter(|extended| filename.as_ref() != Some(extended));
    let mut is_counted = false;
    for filename in filename.into_iter().chain(second) {
        parsed.files.push(name.clone(), filename);
        parsed.files_sizes.push(content.len());
        if !std::mem::replace(&mut is_counted, true) {
            parsed.files_bytes += content.len();
        }
    }
    parsed.part_names.push(name);
}

fn transfer_encoding(value: &[u8], parsed: &mut Parsed) {
    let plain: [&[u8]; 3] = [b"7bit", b"8bit", b"binary"];
    if !plain.iter().any(|known| value.eq_ignore_ascii_case(known)) {
        parsed.fail("the content of a part is encoded");
    }
}

/// Splits a part into its headers and its content.
fn split<'a>(text: &'a [u8], parsed: &mut Parsed) -> (Vec<Header>, &'a [u8]) {
    let mut headers = Vec::new();
    let mut rest = text;
    loop {
        let Some(end) = memchr::memchr(b'\n', rest) else {
            // The next boundary stands where the content should begin.
            parsed.multipart.invalid_part = true;
            if !matches!(rest, b"" | b"\r") {
                header(rest, &mut headers, parsed);
            }
            return (headers, &[]);
        };
        let line = match &rest[..end] {
            [line @ .., b'\r'] => {
                parsed.multipart.crlf_line = true;
                line
            }
            line => {
                parsed.multipart.lf_line = true;
                line
            }
        };
        rest = &rest[end + 1..];
        if line.is_empty() {
            return (headers, rest);
        }
        header(line, &mut headers, parsed);
    }
}

/// Reads one header line.
fn header(line: &[u8], headers: &mut Vec<Header>, parsed: &mut Parsed) {
    if line.contains(&0) {
        parsed.fail("a header of a part has a NUL byte");
    }
    if line.len() > MAX_LINE_BYTES {
        parsed.fail("a header of a part is too long");
    }
    if is_space(line[0]) {
        return folded(line, headers, parsed);
    }
    if headers.len() >= MAX_HEADERS {
        return parsed.fail("a part has too many headers");
    }
    let colon = line.iter().position(|byte| *byte == b':');
    if colon.is_none() {
        parsed.fail("a header of a part has no colon");
    }
    let (name, value) = line.split_at(colon.unwrap_or(line.len()));
    if name.is_empty() || !name.iter().all(u8::is_ascii_graphic) {
        parsed.fail("the name of a header of a part is invalid");
    }
    let name = name.trim_ascii().to_ascii_lowercase();
    if headers.iter().any(|header| header.name == name) {
        parsed.fail("a header of a part is repeated");
    }
    headers.push(Header {
        name,
        value: value
            .strip_prefix(b":")
            .unwrap_or(value)
            .trim_ascii()
            .to_vec(),
        line: line.to_vec(),
    });
}

/// Joins a line to the header that it goes on with.
fn folded(line: &[u8], headers: &mut [Header], parsed: &mut Parsed) {
    let length = line.iter().take_while(|byte| is_space(**byte)).count();
    let (space, text) = line.split_at(length);
    parsed.multipart.header_folding = true;
    parsed.multipart.invalid_header_folding |=
        space.iter().any(|byte| !matches!(byte, b' ' | b'\t'));
    let Some(header) = headers.last_mut() else {
        return parsed.fail("the first header line of a part is folded");
    };
    if header.line.len() + text.len() > MAX_LINE_BYTES {
        return parsed.fail("a header of a part is too long");
    }
    for joined in [&mut header.value, &mut header.line] {
        joined.push(b' ');
        joined.extend_from_slice(text);
    }
}

/// What C takes for white space, and so do some backends.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | 0x0b | 0x0c)
}
