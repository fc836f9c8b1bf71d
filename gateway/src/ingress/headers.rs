//! Names of headers, and changes to those of responses.

use http::header;
use pingora::http::{RequestHeader, ResponseHeader};
use portcullis_config::model::{HeaderChanges, Rule};

use super::cors;

/// Whether two names are one to those that take `_` for `-`.
pub(super) fn alike(known: &str, name: &str) -> bool {
    let fold = |byte| if byte == b'_' { b'-' } else { byte };
    known.len() == name.len() && known.bytes().map(fold).eq(name.bytes().map(fold))
}

/// Makes a response that of its rule: what browsers are told, then the rule's changes.
pub(super) fn change_response(
    response: &mut ResponseHeader,
    request: &RequestHeader,
    rule: &Rule,
) -> pingora::Result<()> {
    if let Some(policy) = &rule.policies.cors {
        cors::decorate(policy, request, response)?;
    }
    change(response, &rule.response_headers)
}

/// Applies a rule's changes.
pub(super) fn change(
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

/// Says that a response depends on a request header (RFC 9110 section 12.5.5),
/// next to what it depends on already.
pub(super) fn vary(response: &mut ResponseHeader, name: &'static str) -> pingora::Result<()> {
    let told = response.headers.get_all(header::VARY).iter().any(|line| {
        line.as_bytes()
            .split(|&byte| byte == b',')
            .map(<[u8]>::trim_ascii)
            .any(|told| told == b"*" || told.eq_ignore_ascii_case(name.as_bytes()))
    });
    if !told {
        response.append_header(header::VARY, name)?;
    }
    Ok(())
}
