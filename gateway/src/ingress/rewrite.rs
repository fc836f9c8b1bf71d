//! The target that a rule makes of the one that was asked for.

use std::borrow::Cow;

use portcullis_config::{
    model::{PathRewrite, Rule},
    route::{RewriteFrom, rewrite_path},
};

use super::{Refusal, RequestContext, Session, Stage};

/// The query of a raw target, without its `?`.
pub(super) fn query_of(raw: &[u8]) -> Option<&[u8]> {
    let at = raw.iter().position(|&byte| byte == b'?')?;
    Some(&raw[at + 1..])
}

/// The target as it would be forwarded, in the client's own escapes and with its query.
pub(super) fn judged_target<'a>(session: &'a Session, ctx: &'a RequestContext) -> Cow<'a, str> {
    match (&ctx.view.forward_target, session.req_header().raw_path()) {
        (Some(target), _) => Cow::Borrowed(target),
        // `OPTIONS *` means the server as a whole, which has no path but this.
        (None, b"*") => Cow::Borrowed("/"),
        (None, raw) => String::from_utf8_lossy(raw),
    }
}

/// Rewrites the target of a request for a rule.
///
/// # Errors
/// 400 where what comes out is no path with one reading.
pub(super) fn rewritten_target(
    rewrite: &PathRewrite,
    rule: &Rule,
    session: &Session,
    ctx: &RequestContext,
) -> Result<String, Refusal> {
    let target = judged_target(session, ctx);
    let from = RewriteFrom {
        canonical: &ctx.view.path,
        target: &target,
        reached: &ctx.reached,
        encoded_slashes: rule.policies.encoded_slashes,
    };
    rewrite_path(rewrite, from)
        .map_err(|_| Refusal::new(400, Stage::Route, "bad-rewrite").by(&rule.id))
}
