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
//! Backends disagree on malformed bodies. What ModSecurity v2 stops at is a
//! problem (`REQBODY_ERROR`), what it only marks is a flag, and reading goes on
//! in both cases. `MULTIPART_STRICT_ERROR` is set for either. A part that some
//! backends take for a file and others for a field is both.

mod boundary;
mod delimiters;
mod disposition;
mod flags;
mod part;

use boundary::boundary;
use delimiters::Delimiters;
use disposition::Disposition;
pub(crate) use flags::MultipartFlags;
use part::part;

use super::{ContentType, ParseOptions, Parsed};

/// Parses a body. An empty one has no parts and no problem, but for its boundary.
pub(super) fn parse(body: &[u8], content_type: &ContentType, options: &ParseOptions<'_>) -> Parsed {
    let mut parsed = Parsed {
        text_bytes: Some(0),
        ..Parsed::default()
    };
    match boundary(&content_type.raw, &mut parsed.multipart) {
        Ok(boundary) => {
            let marker = [b"--", boundary.as_slice()].concat();
            parts(body, &marker, options, &mut parsed);
        }
        Err(problem) => {
            parsed.text_bytes = None;
            parsed.fail(problem);
        }
    }
    parsed.multipart.file_limit_exceeded = parsed.files.len() > options.limits.max_multipart_files;
    parsed.multipart.error = parsed.problem.is_some();
    parsed
}

fn parts(body: &[u8], marker: &[u8], options: &ParseOptions<'_>, parsed: &mut Parsed) {
    let mut delimiters = Delimiters::new(body, marker);
    let mut start = None;
    loop {
        let found = delimiters.next(parsed);
        let end = match &found {
            Some(delimiter) => delimiter.content_end,
            None => body.len(),
        };
        match start {
            None => {
                parsed.multipart.data_before |= end > 0;
                *parsed.text_bytes.get_or_insert(0) += end;
            }
            Some(_) if parsed.part_names.len() >= options.limits.max_multipart_parts => {
                return parsed.fail("there are too many parts");
            }
            Some(start) => {
                let before = (parsed.problem.clone(), parsed.multipart);
                part(body.get(start..end).unwrap_or_default(), options, parsed);
                if found.is_none() && options.truncated {
                    // The cut is no fault of the part.
                    (parsed.problem, parsed.multipart) = before;
                }
            }
        }
        match found {
            None if options.truncated || body.is_empty() => return,
            None if start.is_none() => return parsed.fail("the boundary is not in the body"),
            None => return parsed.fail("the closing boundary is missing"),
            Some(delimiter) if delimiter.closing => {
                let after = &body[delimiter.end..];
                // A line end more is the habit of some clients.
                parsed.multipart.data_after = !after.trim_ascii().is_empty();
                *parsed.text_bytes.get_or_insert(0) += after.len();
                return;
            }
            Some(delimiter) => start = Some(delimiter.end),
        }
    }
}
