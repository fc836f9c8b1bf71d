//! Paths that look like something other than what they are compared as.

/// What a path is meant to be that looks like a regular expression or a glob.
///
/// `(` and `.` alone are in real paths, as `/items(1)` and `/v1.0`.
pub(super) fn meant(text: &str) -> Option<String> {
    if !text.contains(is_sign) {
        return None;
    }
    let signs = [
        ".*", ".+", "(?", "[^", "(.", "|", "\\", ")?", "[a-z", "[0-9",
    ];
    let is_anchored = text.starts_with('^') || text.ends_with('$');
    let is_glob = text.ends_with('*') || text.contains("/*/");
    if !is_anchored && !is_glob && !signs.iter().any(|sign| text.contains(sign)) {
        return None;
    }
    let bare = text.trim_start_matches('^').trim_end_matches('$');
    let is_plain = |path: &str| path.starts_with('/') && !path.contains(is_sign);
    let rests = [
        "/(.*)",
        "(/|$)(.*)",
        "(/|$)",
        "(/.*)?",
        "(.*)",
        "/.*",
        "/.+",
        ".*",
        "/**",
        "/*",
        "*",
    ];
    let mut bases = rests.iter().filter_map(|rest| bare.strip_suffix(rest));
    let base = bases.find(|base| base.is_empty() || is_plain(base));
    Some(match base {
        _ if is_anchored && text.ends_with('$') && is_plain(bare) => {
            format!("write `path: {{exact: {bare}}}`")
        }
        _ if is_anchored && is_plain(bare) => format!("write `path: {{prefix: {bare}}}`"),
        Some(base) if is_glob && !text.contains(".*") => {
            format!(
                "write `path: {{prefix: {}}}`, which takes all below it",
                or_root(base)
            )
        }
        Some(base) => format!(
            "`path: {{prefix: {}}}` takes all below it; an expression is `path: {{regex: '{bare}'}}`",
            or_root(base)
        ),
        None => format!("write `path: {{regex: '{bare}'}}`"),
    })
}

fn is_sign(letter: char) -> bool {
    matches!(
        letter,
        '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '|' | '^' | '$' | '\\'
    )
}

fn or_root(path: &str) -> &str {
    if path.is_empty() { "/" } else { path }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_told_from_paths() {
        for (text, expected) in [
            (
                "/api/.*",
                "`path: {prefix: /api}` takes all below it; an expression is `path: {regex: '/api/.*'}`",
            ),
            (
                "/api(/|$)(.*)",
                "`path: {prefix: /api}` takes all below it; an expression is `path: {regex: '/api(/|$)(.*)'}`",
            ),
            (
                "/.*",
                "`path: {prefix: /}` takes all below it; an expression is `path: {regex: '/.*'}`",
            ),
            (
                "/api/*",
                "write `path: {prefix: /api}`, which takes all below it",
            ),
            ("^/x$", "write `path: {exact: /x}`"),
            ("^/x", "write `path: {prefix: /x}`"),
            ("/a|/b", "write `path: {regex: '/a|/b'}`"),
            ("/user/[0-9]+", "write `path: {regex: '/user/[0-9]+'}`"),
        ] {
            assert_eq!(meant(text).as_deref(), Some(expected), "{text}");
        }
        for text in [
            "/",
            "/v1.0/items(1)",
            "/a+b",
            "/~user",
            "/a/[id]",
            "/x.html",
            "/$metadata",
        ] {
            assert_eq!(meant(text), None, "{text}");
        }
    }
}
