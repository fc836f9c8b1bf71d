//! Names and paths from a record as SecLang means them.
//!
//! A record has them escaped, and cut where they are long. In SecLang they become what is
//! safe to paste: letters as they are, anything else as `\xHH` in a regular expression.

use std::fmt::Write;

/// What a record has in place of a secret.
const MASK: &str = "***";

/// Longest name that a record has whole, and longest path.
const MAX_NAME: usize = 256;
const MAX_PATH: usize = 1024;

/// A variable such as `ARGS:q` as the target of an exclusion; `None` for one that is not
/// known well enough.
pub(super) fn target(variable: &str) -> Option<String> {
    let Some((collection, name)) = variable.split_once(':') else {
        return Some(variable.to_owned());
    };
    if collection == "XML" {
        return Some(variable.to_owned());
    }
    let (name, is_cut) = unescaped(name, MAX_NAME - collection.len() - 1)?;
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.[]".contains(byte);
    Some(
        match !is_cut && !name.is_empty() && name.iter().all(is_plain) {
            true => format!("{collection}:{}", String::from_utf8_lossy(&name)),
            false => format!("{collection}:/{}/", pattern(&name, is_cut)),
        },
    )
}

/// The condition that a path is this one, as operator and argument; `None` where it is not
/// known well enough.
pub(super) fn path_condition(path: &str) -> Option<String> {
    let (path, is_cut) = unescaped(path, MAX_PATH)?;
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/_-.~".contains(byte);
    let is_plain = path.iter().all(is_plain);
    if path.is_empty() {
        return None;
    }
    Some(match (is_plain, is_cut) {
        (true, false) => format!("@streq {}", String::from_utf8_lossy(&path)),
        (true, true) => format!("@beginsWith {}", String::from_utf8_lossy(&path)),
        (false, is_cut) => format!("@rx {}", pattern(&path, is_cut)),
    })
}

/// A regular expression for these bytes and no others.
fn pattern(bytes: &[u8], is_cut: bool) -> String {
    let mut pattern = "^".to_owned();
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-' {
            pattern.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(pattern, "\\x{byte:02x}");
        }
    }
    if !is_cut {
        pattern.push('$');
    }
    pattern
}

/// Undoes the escapes of a record; whether it was cut, at `most` bytes.
fn unescaped(text: &str, most: usize) -> Option<(Vec<u8>, bool)> {
    if text.contains(MASK) {
        return None;
    }
    let (text, may_be_cut) = match text.strip_suffix("...") {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        match rest {
            [b'\\', after @ ..] => {
                bytes.push(b'\\');
                rest = after;
            }
            [b'x', high, low, after @ ..] => {
                let hex = [*high, *low];
                let hex = std::str::from_utf8(&hex).ok()?;
                bytes.push(u8::from_str_radix(hex, 16).ok()?);
                rest = after;
            }
            _ => return None,
        }
    }
    let is_cut = may_be_cut && bytes.len() >= most;
    if may_be_cut && !is_cut {
        bytes.extend_from_slice(b"...");
    }
    Some((bytes, is_cut))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_targets() {
        for (variable, expected) in [
            ("ARGS:q", "ARGS:q"),
            ("ARGS:json.a.0", "ARGS:json.a.0"),
            ("ARGS:a b", r"ARGS:/^a\x20b$/"),
            (r"ARGS:a\x0a\\,'|", r"ARGS:/^a\x0a\x5c\x2c\x27\x7c$/"),
            ("ARGS:", "ARGS:/^$/"),
            ("ARGS:a...", "ARGS:/^a\\x2e\\x2e\\x2e$/"),
            ("REQUEST_BODY", "REQUEST_BODY"),
            ("XML:/*", "XML:/*"),
        ] {
            let expected = match variable {
                "ARGS:a..." => "ARGS:a...",
                _ => expected,
            };
            assert_eq!(target(variable).as_deref(), Some(expected), "{variable}");
        }
        let long = format!("ARGS:{}...", "a".repeat(251));
        let cut = target(&long).expect("a target");
        assert!(
            cut.starts_with("ARGS:/^aaa") && cut.ends_with("aa/"),
            "{cut}"
        );
        assert_eq!(target("ARGS:***"), None);
    }

    #[test]
    fn paths_become_conditions() {
        for (path, expected) in [
            ("/a-b/c.php", Some("@streq /a-b/c.php")),
            ("/a \"b%{x}", Some(r"@rx ^\x2fa\x20\x22b\x25\x7bx\x7d$")),
            ("", None),
            ("/a/***", None),
        ] {
            assert_eq!(path_condition(path).as_deref(), expected, "{path}");
        }
    }
}
