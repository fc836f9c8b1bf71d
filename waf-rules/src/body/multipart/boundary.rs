//! The boundary that `Content-Type` declares (RFC 2046 section 5.1.1).

use super::MultipartFlags;
use crate::body::content_type::{split, unquoted};

const TYPE: &[u8] = b"multipart/form-data";

/// Reads the boundary out of a header value.
///
/// # Errors
///
/// Where two readers could find different boundaries, or one finds none.
pub(super) fn boundary(header: &[u8], flags: &mut MultipartFlags) -> Result<Vec<u8>, &'static str> {
    let header = header.trim_ascii();
    if header
        .get(..TYPE.len())
        .is_none_or(|start| !start.eq_ignore_ascii_case(TYPE))
    {
        return Err("the content type is not multipart/form-data");
    }
    let mut found = None;
    for (index, parameter) in split(&header[TYPE.len()..]).into_iter().enumerate() {
        let parameter = parameter.trim_ascii();
        // What stands before the first semicolon belongs to the type.
        flags.missing_semicolon |= index == 0 && !parameter.is_empty();
        let Some(equals) = parameter.iter().position(|byte| *byte == b'=') else {
            continue;
        };
        let (name, value) = (&parameter[..equals], &parameter[equals + 1..]);
        let known = name.trim_ascii_end();
        if known.eq_ignore_ascii_case(b"boundary") {
            flags.boundary_whitespace |= known != name || value != value.trim_ascii_start();
            if found.replace(value.trim_ascii()).is_some() {
                return Err("the boundary is declared twice");
            }
        } else if begins_with_boundary(known) {
            return Err("a parameter is like the boundary");
        }
    }
    let boundary = match found {
        None => return Err("no boundary is declared"),
        Some([b'"', inside @ .., b'"']) if !inside.is_empty() => {
            flags.boundary_quoted = true;
            unquoted(found.unwrap_or_default())
        }
        // PHP ends a boundary at a comma.
        Some(value) if value.iter().any(|byte| matches!(byte, b'"' | b',')) => {
            return Err("the boundary is not quoted well");
        }
        Some(value) => value.to_vec(),
    };
    match boundary.as_slice() {
        [] => Err("the boundary is empty"),
        [.., b' '] => Err("the boundary ends with a space"),
        long if long.len() > 250 => Err("the boundary is too long"),
        other if !other.iter().all(|byte| is_boundary(*byte)) => {
            Err("the boundary has an invalid character")
        }
        _ => Ok(boundary),
    }
}

/// `boundary*`, `boundary*0`: some readers join them (RFC 2231).
fn begins_with_boundary(name: &[u8]) -> bool {
    name.get(..8)
        .is_some_and(|start| start.eq_ignore_ascii_case(b"boundary"))
}

fn is_boundary(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte)
}
