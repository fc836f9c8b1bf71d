//! A path with places for what the groups of a regular expression matched.

use regex::{Captures, Regex};

/// A path, and the groups that are put into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathTemplate {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Group(Group),
}

/// A group of a regular expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Group {
    /// By its number; 0 is the whole match.
    Number(usize),
    /// By its name.
    Name(String),
}

impl Group {
    /// Whether a regular expression has this group.
    pub fn is_in(&self, regex: &Regex) -> bool {
        match self {
            Self::Number(number) => *number < regex.captures_len(),
            Self::Name(name) => regex.capture_names().flatten().any(|known| known == name),
        }
    }
}

impl std::fmt::Display for Group {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) if *number < 10 => write!(out, "${number}"),
            Self::Number(number) => write!(out, "${{{number}}}"),
            Self::Name(name) => write!(out, "${{{name}}}"),
        }
    }
}

impl PathTemplate {
    /// Reads a template: `$1`, `${10}` and `${name}` are groups, `$$` is a dollar sign.
    ///
    /// As in nginx a number without braces has one digit, so `$1a` is the first group and `a`.
    ///
    /// # Errors
    /// A dollar sign that begins none of these.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            literal.push_str(before);
            let (group, length) = match after.as_bytes().first() {
                Some(b'$') => {
                    literal.push('$');
                    rest = &after[1..];
                    continue;
                }
                Some(digit @ b'0'..=b'9') => (Group::Number((digit - b'0').into()), 1),
                Some(b'{') => {
                    let name = after[1..].split_once('}').map(|(name, _)| name);
                    let name = name.filter(|name| !name.is_empty()).ok_or_else(|| {
                        format!("{text:?} has a `${{` without a group and its `}}`")
                    })?;
                    let group = match name.parse() {
                        Ok(number) => Group::Number(number),
                        Err(_) => Group::Name(name.to_owned()),
                    };
                    (group, name.len() + 2)
                }
                _ => {
                    return Err(format!(
                        "{text:?} has a `$` that names no group; write `$$` for a dollar sign"
                    ));
                }
            };
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            parts.push(Part::Group(group));
            rest = &after[length..];
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Self { parts })
    }

    /// The groups that it uses.
    pub fn groups(&self) -> impl Iterator<Item = &Group> {
        self.parts.iter().filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Group(group) => Some(group),
        })
    }

    /// The path, with the same text in place of every group.
    pub fn with(&self, text: &str) -> String {
        self.fill(|_| text)
    }

    /// The path for a match; a group that took no part stands for nothing. `of`
    /// finds the text of a group from its bytes in the text that was matched.
    pub fn expand<'t>(
        &self,
        captures: Option<&Captures<'_>>,
        of: impl Fn(std::ops::Range<usize>) -> &'t str,
    ) -> String {
        self.fill(|group| {
            let found = captures.and_then(|captures| match group {
                Group::Number(number) => captures.get(*number),
                Group::Name(name) => captures.name(name),
            });
            found.map_or("", |found| of(found.range()))
        })
    }

    fn fill<'t>(&self, text_of: impl Fn(&Group) -> &'t str) -> String {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Group(group) => out.push_str(text_of(group)),
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_read_as_nginx_reads_them() {
        let cases = [
            ("/a", "/a"),
            ("/$1", "/<$1>"),
            ("/$1a$2", "/<$1>a<$2>"),
            ("/$12", "/<$1>2"),
            ("/${12}/${rest}b", "/<${12}>/<${rest}>b"),
            ("/$$1/$0", "/$1/<$0>"),
        ];
        for (text, expected) in cases {
            let template = PathTemplate::parse(text).unwrap();
            let shown = template.parts.iter().map(|part| match part {
                Part::Text(text) => text.clone(),
                Part::Group(group) => format!("<{group}>"),
            });
            assert_eq!(shown.collect::<String>(), expected);
        }
        for bad in ["/$", "/$a", "/${", "/${}", "/${1", "/a$/b"] {
            assert!(PathTemplate::parse(bad).is_err(), "{bad}");
        }
    }
}
