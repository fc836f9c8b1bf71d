//! Text with `%{VARIABLE.name}` in it.

use std::borrow::Cow;

use super::{Variable, XML_ATTRIBUTES, XML_TEXT, values::visit};
use crate::{
    error::Complaint,
    transaction::{State, TxName},
};

/// A text whose `%{…}` are replaced when it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Expansion {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(Vec<u8>),
    /// The first value, whose name is `key` where there is one.
    Value {
        variable: Variable,
        key: Option<TxName>,
    },
}

impl Expansion {
    /// Parses a text.
    ///
    /// # Errors
    ///
    /// A `%{` that is not closed, and a variable that does not exist: the text
    /// would otherwise expand to something nobody meant.
    pub(crate) fn parse(text: &str) -> Result<Self, Complaint> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(start) = rest.find("%{") {
            let inside = &rest[start + 2..];
            let Some(end) = inside.find('}') else {
                return Err(Complaint::new(format!("%{{ is not closed in {text:?}")));
            };
            if start > 0 {
                parts.push(Part::Literal(rest.as_bytes()[..start].to_vec()));
            }
            parts.push(part(&inside[..end])?);
            rest = &inside[end + 1..];
        }
        if !rest.is_empty() || parts.is_empty() {
            parts.push(Part::Literal(rest.as_bytes().to_vec()));
        }
        Ok(Self { parts })
    }

    /// Returns the text if nothing in it has to be replaced.
    pub(crate) fn literal(&self) -> Option<&[u8]> {
        match self.parts.as_slice() {
            [Part::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// Tells whether it has a value of a variable, of those that are wanted.
    pub(crate) fn mentions(&self, wanted: impl Fn(Variable) -> bool) -> bool {
        let mut parts = self.parts.iter();
        parts.any(|part| matches!(part, Part::Value { variable, .. } if wanted(*variable)))
    }

    /// Replaces what has to be replaced; a value that does not exist is empty.
    ///
    /// The result is cut at [`crate::Limits::max_expansion_bytes`].
    pub(crate) fn expand<'a>(&'a self, state: &'a State) -> Cow<'a, [u8]> {
        if let Some(literal) = self.literal() {
            return Cow::Borrowed(literal);
        }
        let most = state.limits.max_expansion_bytes;
        // Most are one variable and nothing else.
        if let [Part::Value { variable, key }] = &self.parts[..] {
            return match first(state, *variable, key.as_ref()) {
                Some(Cow::Borrowed(value)) => Cow::Borrowed(&value[..value.len().min(most)]),
                Some(Cow::Owned(mut value)) => {
                    value.truncate(most);
                    Cow::Owned(value)
                }
                None => Cow::Borrowed(&[]),
            };
        }
        let mut output = Vec::new();
        for part in &self.parts {
            match part {
                Part::Literal(text) => output.extend_from_slice(text),
                Part::Value { variable, key } => {
                    let room = most.saturating_sub(output.len());
                    if let Some(value) = first(state, *variable, key.as_ref()) {
                        output.extend_from_slice(&value[..value.len().min(room)]);
                    }
                }
            }
        }
        Cow::Owned(output)
    }
}

/// Changes a value, or hides it, before it becomes part of a text.
type Telling<'a> = &'a dyn Fn(Variable, Option<&TxName>, &[u8]) -> Vec<u8>;

impl Expansion {
    /// Replaces as [`Self::expand`] does, with what `telling` makes of each value.
    pub(crate) fn expand_told(&self, state: &State, telling: Telling<'_>) -> Vec<u8> {
        let mut output = Vec::new();
        for part in &self.parts {
            let room = state
                .limits
                .max_expansion_bytes
                .saturating_sub(output.len());
            match part {
                Part::Literal(text) => output.extend_from_slice(text),
                Part::Value { variable, key } => {
                    if let Some(value) = first(state, *variable, key.as_ref()) {
                        let value = telling(*variable, key.as_ref(), &value);
                        output.extend_from_slice(&value[..value.len().min(room)]);
                    }
                }
            }
        }
        output
    }
}

fn part(inside: &str) -> Result<Part, Complaint> {
    let (name, key) = match inside.split_once(['.', ':']) {
        Some((name, key)) => (name, Some(key.as_bytes())),
        None => (inside, None),
    };
    let variable = Variable::find(name.trim())?;
    let key = key.map(match variable {
        Variable::Tx => TxName::of_tx,
        _ => TxName::new,
    });
    let is_xml_path = |key: &TxName| [XML_TEXT, XML_ATTRIBUTES].contains(&key.bytes());
    if variable == Variable::Xml && !key.as_ref().is_some_and(is_xml_path) {
        return Err(Complaint::new(format!(
            "XML path in %{{{inside}}} is not supported"
        )));
    }
    if key.is_some() && !variable.is_collection() {
        return Err(Complaint::new(format!(
            "{} is one value and takes no name",
            variable.name()
        )));
    }
    Ok(Part::Value { variable, key })
}

fn first<'a>(state: &'a State, variable: Variable, key: Option<&TxName>) -> Option<Cow<'a, [u8]>> {
    if let (Variable::Tx, Some(key)) = (variable, key) {
        return state.tx.get(key).map(Cow::Borrowed);
    }
    let mut found = None;
    visit(state, variable, &mut |name, value| {
        let picked = match (key, name) {
            (Some(key), Some(name)) => key.bytes().eq_ignore_ascii_case(name),
            (Some(_), None) => false,
            (None, _) => true,
        };
        if found.is_none() && picked {
            found = Some(value);
        }
    });
    found
}
