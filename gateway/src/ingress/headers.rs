//! Names of headers, and changes to those of responses.

use pingora::http::ResponseHeader;
use portcullis_config::model::HeaderChanges;

/// Whether two names are one to those that take `_` for `-`.
pub(super) fn alike(known: &str, name: &str) -> bool {
    let fold = |byte| if byte == b'_' { b'-' } else { byte };
    known.len() == name.len() && known.bytes().map(fold).eq(name.bytes().map(fold))
}

/// Applies a rule's changes to a response.
pub(super) fn change_response(
    response: &mut ResponseHeader,
    changes: &HeaderChanges,
) -> pingora::Result<()> {
    for name in &changes.remove {
        response.remove_header(name);
    }
    for (name, value) in &changes.set {
        response.insert_header(name.clone(), value.clone())?;
    }
    for (name, value) in &changes.add {
        response.append_header(name.clone(), value.clone())?;
    }
    Ok(())
}
