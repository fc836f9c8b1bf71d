//! Lists of variables: `ARGS|!ARGS:/^x/|&REQUEST_HEADERS:Host`.

use super::{
    ast::{SelectorText, TargetText},
    lexer::Text,
};
use crate::error::{Complaint, RuleError};

/// Parses a list of variables, separated by `|` or `,`.
///
/// A selector is a plain name, or a regular expression between slashes, in
/// which a slash is written `\/`; single quotes may stand around either.
pub(crate) fn targets(text: &Text) -> Result<Vec<TargetText>, RuleError> {
    let value = text.value.as_str();
    let mut found = Vec::new();
    let mut at = 0;
    loop {
        at += value[at..].len() - value[at..].trim_start().len();
        let (target, end) = target(text, at)?;
        found.push(target);
        let rest = &value[end..];
        at = end + (rest.len() - rest.trim_start().len());
        match value[at..].chars().next() {
            None => return Ok(found),
            Some('|' | ',') => at += 1,
            Some(other) => {
                let message = format!("expected | after a variable, found {other:?}");
                return Err(Complaint::new(message).at(&text.place(at)));
            }
        }
    }
}

/// Parses one variable that begins at `start`; returns it and where it ends.
fn target(text: &Text, start: usize) -> Result<(TargetText, usize), RuleError> {
    let value = text.value.as_str();
    let mut at = start;
    let (mut excluded, mut counted) = (false, false);
    match value[at..].chars().next() {
        Some('!') => excluded = true,
        Some('&') => counted = true,
        _ => {}
    }
    at += usize::from(excluded || counted);
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let name_end = value[at..]
        .find(|c| !is_name(c))
        .map_or(value.len(), |length| at + length);
    if name_end == at {
        return Err(Complaint::new("a variable is missing here").at(&text.place(at)));
    }
    let mut target = TargetText {
        place: text.place(start),
        excluded,
        counted,
        name: value[at..name_end].to_owned(),
        selector: None,
    };
    if !value[name_end..].starts_with(':') {
        return Ok((target, name_end));
    }
    // What follows XML is a path of its own kind, which begins with a slash.
    let is_path = target.name.eq_ignore_ascii_case("XML");
    let (selector, end) = selector(text, name_end + 1, is_path)?;
    target.selector = Some(selector);
    Ok((target, end))
}

/// Parses what follows the colon.
fn selector(text: &Text, start: usize, is_path: bool) -> Result<(SelectorText, usize), RuleError> {
    let value = text.value.as_str();
    let quoted = value[start..].starts_with('\'');
    let at = start + usize::from(quoted);
    let (selector, mut end) = if !is_path && value[at..].starts_with('/') {
        let Some(close) = closing_slash(value, at + 1) else {
            return Err(
                Complaint::new("this regular expression has no closing /").at(&text.place(at))
            );
        };
        (
            SelectorText::Regex(value[at + 1..close].replace("\\/", "/")),
            close + 1,
        )
    } else {
        let stop = |c: char| {
            if quoted {
                c == '\''
            } else {
                matches!(c, '|' | ',')
            }
        };
        let end = value[at..]
            .find(stop)
            .map_or(value.len(), |length| at + length);
        (SelectorText::Name(value[at..end].trim().to_owned()), end)
    };
    if quoted {
        if !value[end..].starts_with('\'') {
            return Err(Complaint::new("this quote is not closed").at(&text.place(start)));
        }
        end += 1;
    }
    if matches!(&selector, SelectorText::Name(name) | SelectorText::Regex(name) if name.is_empty())
    {
        return Err(Complaint::new("a name is missing after the colon").at(&text.place(start)));
    }
    Ok((selector, end))
}

/// Finds the slash that ends a regular expression which begins at `start`.
fn closing_slash(value: &str, start: usize) -> Option<usize> {
    let mut escaped = false;
    for (index, byte) in value.bytes().enumerate().skip(start) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'/' => return Some(index),
            _ => {}
        }
    }
    None
}
