//! Changes to headers.

use pingora::http::{RequestHeader, ResponseHeader};
use portcullis_config::model::HeaderChanges;

/// Applies a rule's changes to a request.
pub(super) fn change_request(
    request: &mut RequestHeader,
    changes: &HeaderChanges,
) -> pingora::Result<()> {
    for name in &changes.remove {
        request.remove_header(name);
    }
    for (name, value) in &changes.set {
        request.insert_header(name.clone(), value.clone())?;
    }
    for (name, value) in &changes.add {
        request.append_header(name.clone(), value.clone())?;
    }
    Ok(())
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
