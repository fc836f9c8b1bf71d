//! Changes to response headers.

use pingora::http::ResponseHeader;
use portcullis_config::model::HeaderChanges;

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
