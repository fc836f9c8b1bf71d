//! The path that a backend gets in place of the one that was asked for.

use super::{PathProblem, PathTemplate, Reached, canonical_path};
use crate::model::{EncodedSlashes, PathRewrite};

/// What a path is rewritten from.
#[derive(Clone, Copy, Debug)]
pub struct RewriteFrom<'a> {
    /// Canonical path, by which the rule was found.
    pub canonical: &'a str,
    /// The same path in the client's own escapes, with its query.
    pub target: &'a str,
    /// How the rule was reached.
    pub reached: &'a Reached,
    /// Whether the rule lets escaped slashes pass.
    pub encoded_slashes: EncodedSlashes,
}

/// Rewrites a path; the query stays as it is.
///
/// Text that comes from the request keeps the client's escapes: signatures and the names
/// of object stores are made over them.
///
/// # Errors
/// When what comes out is no path that backends read in one way: groups may put together
/// what was not together before.
pub fn rewrite_path(rewrite: &PathRewrite, from: RewriteFrom<'_>) -> Result<String, PathProblem> {
    let (path, query) = match from.target.find('?') {
        Some(at) => from.target.split_at(at),
        None => (from.target, ""),
    };
    match (rewrite, from.reached) {
        (PathRewrite::Prefix(prefix), Reached::Prefix(length)) => {
            let matched = &from.canonical[..*length];
            Ok(replace_prefix(path, query, matched, prefix))
        }
        // Validation lets a prefix stand only where all matches are prefixes.
        (PathRewrite::Prefix(_), _) => Ok(from.target.to_owned()),
        (PathRewrite::Whole(template), _) => {
            let mut target = whole(template, path, from)?;
            target.push_str(query);
            Ok(target)
        }
    }
}

fn whole(
    template: &PathTemplate,
    path: &str,
    from: RewriteFrom<'_>,
) -> Result<String, PathProblem> {
    let captures = match from.reached {
        Reached::Regex(regex) => regex.captures(from.canonical),
        Reached::Exact | Reached::Prefix(_) => None,
    };
    let made = template.expand(captures.as_ref(), |range| {
        original(from.canonical, path, range)
    });
    let judged = canonical_path(made.as_bytes())?;
    let judged = match from.encoded_slashes {
        EncodedSlashes::Refuse => judged.without_escaped_separator()?,
        EncodedSlashes::Keep => judged,
    };
    Ok(judged.forward().to_owned())
}

/// The part of a path in the client's escapes that a part of its canonical form
/// was made of: either the same bytes, or an escape where the canonical form has a byte.
fn original<'p>(canonical: &str, path: &'p str, range: std::ops::Range<usize>) -> &'p str {
    let (mut at, mut start) = (0, 0);
    for (index, byte) in canonical.bytes().enumerate() {
        if index == range.start {
            start = at;
        }
        if index == range.end {
            break;
        }
        let escaped = byte != b'%' && path.as_bytes().get(at) == Some(&b'%');
        at += if escaped { 3 } else { 1 };
    }
    if range.start >= canonical.len() {
        start = at;
    }
    path.get(start..at).unwrap_or_default()
}

/// Replaces the leading segments that a prefix matched.
///
/// The prefix is canonical and the path keeps the client's escapes, so whole
/// segments are counted, not bytes. An escaped slash ends no segment.
fn replace_prefix(path: &str, query: &str, matched: &str, replacement: &str) -> String {
    let segments = matched.bytes().filter(|&byte| byte == b'/').count();
    let mut rest = path;
    for _ in 0..segments {
        rest = rest[1..].find('/').map_or("", |at| &rest[at + 1..]);
    }
    let mut out = String::with_capacity(replacement.len() + rest.len() + query.len() + 1);
    out.push_str(replacement);
    out.push_str(rest);
    if out.is_empty() {
        out.push('/');
    }
    out.push_str(query);
    out
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use regex::Regex;

    use super::*;

    #[test]
    fn prefixes_are_replaced_by_whole_segments() {
        let cases = [
            ("/api/x?y=%20", "/api", "/v2", "/v2/x?y=%20"),
            ("/api", "/api", "/v2", "/v2"),
            ("/api", "/api", "", "/"),
            ("/api/", "/api", "", "/"),
            ("/api?a=/b", "/api", "", "/?a=/b"),
            ("/a%70i/k%24v", "/api", "/v2", "/v2/k%24v"),
            ("/x/y", "", "/v2", "/v2/x/y"),
            ("/a/b/c", "/a/b", "", "/c"),
        ];
        for (target, matched, replacement, expected) in cases {
            let (path, _) = target.split_once('?').unwrap_or((target, ""));
            let canonical = canonical_path(path.as_bytes()).unwrap();
            let from = RewriteFrom {
                canonical: canonical.canonical(),
                target,
                reached: &Reached::Prefix(matched.len()),
                encoded_slashes: EncodedSlashes::Refuse,
            };
            assert_eq!(
                rewrite_path(&PathRewrite::Prefix(replacement.into()), from).unwrap(),
                expected,
                "{target} {matched} {replacement}"
            );
        }
    }

    /// `target` under a pattern and a template; `404` where the pattern does not match.
    fn rewritten(pattern: &str, template: &str, target: &str) -> String {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let canonical = canonical_path(path.as_bytes()).unwrap();
        let regex = Regex::new(&format!("^(?:{pattern})$")).unwrap();
        if !regex.is_match(canonical.canonical()) {
            return "404".into();
        }
        let forward = match query {
            "" => canonical.forward().to_owned(),
            query => format!("{}?{query}", canonical.forward()),
        };
        let from = RewriteFrom {
            canonical: canonical.canonical(),
            target: &forward,
            reached: &Reached::Regex(Arc::new(regex)),
            encoded_slashes: match canonical.escaped_separator() {
                Some(_) => EncodedSlashes::Keep,
                None => EncodedSlashes::Refuse,
            },
        };
        let template = PathTemplate::parse(template).unwrap();
        rewrite_path(&PathRewrite::Whole(template), from)
            .unwrap_or_else(|problem| problem.reason().into())
    }

    #[test]
    fn groups_are_put_in_as_the_client_wrote_them() {
        let svc = ("/svc(/|$)(.*)", "/$2");
        let object = ("/mgmt/(.*)", "/$1");
        let cases = [
            (svc, "/svc", "/"),
            (svc, "/svc/", "/"),
            (svc, "/svc/a/b?x=1&y=%20", "/a/b?x=1&y=%20"),
            (svc, "/svcx", "404"),
            (svc, "/svc//double", "/double"),
            (object, "/mgmt/k%24v%2Fz%20q", "/k%24v%2Fz%20q"),
            (object, "/mgmt/k%24v%2fz%20q", "/k%24v%2fz%20q"),
            (object, "/%6dgmt/%61%2Fb", "/%61%2Fb"),
            (object, "/mgmt/100%25", "/100%25"),
            (
                ("/(a)(b)?/(?<rest>.*)", "/x$2/${rest}/$1"),
                "/a/c",
                "/x/c/a",
            ),
            (("/(a)(b)?/(?<rest>.*)", "/x$2/${rest}/$1"), "/ab/", "/xb/a"),
            (("/(.*)", "/fixed"), "/anything?q", "/fixed?q"),
            (("(/.*)", "/v2$1"), "/a?b", "/v2/a?b"),
            (("(/.*)", "/$1"), "/evil.test/", "/evil.test/"),
        ];
        for ((pattern, template), target, expected) in cases {
            assert_eq!(
                rewritten(pattern, template, target),
                expected,
                "{pattern} {target}"
            );
        }
    }

    #[test]
    fn what_groups_put_together_is_judged_again() {
        assert_eq!(rewritten("/(.)/(.)/(.*)", "/$1$2/$3", "/./x"), "404");
        assert_eq!(rewritten("/a(.)/b(.)/(.*)", "/q/$1$2/$3", "/a./b./x"), "/x");
        assert_eq!(
            rewritten("/a(.)/b(.)/(.*)", "/$1$2/$3", "/a./b./x"),
            "above-root"
        );
        assert_eq!(rewritten("/a(.)(.*)", "/$1", "/a%20"), "malformed-escape");
        assert_eq!(rewritten("/(..)(.*)/(.*)", "/$1$3", "/%20/41"), "/%241");
        assert_eq!(
            rewritten("/(..)(.*)/(.*)", "/$1$3", "/%20/f"),
            "encoded-slash"
        );
    }
}
