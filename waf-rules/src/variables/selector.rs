//! Which values of a variable are meant.

use regex::bytes::{Regex, RegexBuilder};

use super::{Variable, XML_ATTRIBUTES, XML_TEXT};
use crate::{
    error::Complaint,
    seclang::{SelectorText, TargetText},
    transaction::TxName,
};

/// Picks values of a collection by name. Names compare without regard to case.
#[derive(Clone, Debug)]
pub(crate) enum Selector {
    All,
    Name(TxName),
    Regex(Names),
}

/// Names that an expression matches.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    regex: Regex,
    /// What they begin with, where it is known: most names are told apart by that.
    beginning: Box<[u8]>,
}

impl Names {
    fn new(pattern: &str, regex: Regex) -> Self {
        Self {
            beginning: beginning(pattern).as_bytes().into(),
            regex,
        }
    }

    fn has(&self, name: &[u8]) -> bool {
        let start = name.get(..self.beginning.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(&self.beginning))
            && self.regex.is_match(name)
    }
}

/// The letters, digits and `_` that each match of an expression begins with.
fn beginning(pattern: &str) -> &str {
    let Some(rest) = pattern.strip_prefix('^').filter(|rest| !rest.contains('|')) else {
        return "";
    };
    let is_itself = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let end = rest.bytes().position(|byte| !is_itself(byte));
    let (text, next) = rest.split_at(end.unwrap_or(rest.len()));
    match next.bytes().next() {
        // There may be none of the last.
        Some(b'?' | b'*' | b'{') => &text[..text.len().saturating_sub(1)],
        _ => text,
    }
}

impl Selector {
    fn resolve(variable: Variable, text: Option<&SelectorText>) -> Result<Self, Complaint> {
        match text {
            None => Ok(Self::All),
            Some(SelectorText::Name(name)) if variable == Variable::Tx => {
                Ok(Self::Name(TxName::of_tx(name.as_bytes())))
            }
            Some(SelectorText::Name(name)) => Ok(Self::Name(TxName::new(name.as_bytes()))),
            Some(SelectorText::Regex(pattern)) => RegexBuilder::new(pattern)
                .unicode(false)
                .case_insensitive(true)
                .build()
                .map(|regex| Self::Regex(Names::new(pattern, regex)))
                .map_err(|error| {
                    Complaint::new(format!(
                        "regular expression /{pattern}/: {}",
                        reason(&error)
                    ))
                }),
        }
    }

    fn is_xml_path(&self) -> bool {
        matches!(self, Self::Name(path) if [XML_TEXT, XML_ATTRIBUTES].contains(&path.bytes()))
    }

    /// Tells whether it is one name, and this one, in lower case.
    pub(crate) fn is_name(&self, name: &[u8]) -> bool {
        matches!(self, Self::Name(wanted) if wanted.bytes() == name)
    }

    /// Tells whether a name is picked.
    pub(crate) fn picks(&self, name: &[u8]) -> bool {
        match self {
            Self::All => true,
            Self::Name(wanted) => wanted.bytes().eq_ignore_ascii_case(name),
            Self::Regex(names) => names.has(name),
        }
    }
}

/// Returns the last line of an error of the regex crates, which names the reason.
pub(crate) fn reason(error: &impl std::fmt::Display) -> String {
    let text = error.to_string();
    let last = text
        .lines()
        .rfind(|line| !line.trim().is_empty())
        .unwrap_or_default();
    last.trim().trim_start_matches("error: ").to_owned()
}

/// Values of one variable, to leave out or to take away.
#[derive(Clone, Debug)]
pub(crate) struct TargetPattern {
    pub(crate) variable: Variable,
    pub(crate) selector: Selector,
}

impl TargetPattern {
    /// Resolves the variable and the selector of a target.
    pub(crate) fn resolve(text: &TargetText) -> Result<Self, Complaint> {
        let variable = Variable::find(&text.name)?;
        if text.selector.is_some() && !variable.is_collection() {
            return Err(Complaint::new(format!(
                "{} is one value and takes no name",
                variable.name()
            )));
        }
        let selector = Selector::resolve(variable, text.selector.as_ref())?;
        if variable == Variable::Xml && !selector.is_xml_path() {
            let said = match &text.selector {
                Some(SelectorText::Name(path) | SelectorText::Regex(path)) => path,
                None => "",
            };
            let complaint = Complaint::new(format!("XML path {said:?} is not supported"));
            return Err(complaint.hint("XML:/* is the text, XML://@* the attributes"));
        }
        Ok(Self { variable, selector })
    }

    /// Tells whether a value is meant.
    pub(crate) fn covers(&self, variable: Variable, name: Option<&[u8]>) -> bool {
        self.variable == variable
            && match name {
                Some(name) => self.selector.picks(name),
                None => matches!(self.selector, Selector::All),
            }
    }
}

/// Values of one variable, or their number.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) pattern: TargetPattern,
    pub(crate) counted: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart_by_what_they_begin_with() {
        let beginnings = [
            ("^header_name_1_", "header_name_1_"),
            ("^json\\.\\d+\\.name$", "json"),
            ("^ab?c", "a"),
            ("^ab*", "a"),
            ("^ab{0}", "a"),
            ("^a+b", "a"),
            ("^a|b", ""),
            ("^(?:a|b)", ""),
            ("abc", ""),
            ("^", ""),
            ("^\\w", ""),
            ("^a\u{e9}?", "a"),
        ];
        for (pattern, wanted) in beginnings {
            assert_eq!(beginning(pattern), wanted, "{pattern}");
        }
        let text = SelectorText::Regex("^Item_\\d+$".into());
        let selector = Selector::resolve(Variable::Tx, Some(&text)).unwrap();
        assert!(selector.picks(b"item_1") && selector.picks(b"ITEM_22"));
        assert!(!selector.picks(b"item_x") && !selector.picks(b"item") && !selector.picks(b""));
    }
}
