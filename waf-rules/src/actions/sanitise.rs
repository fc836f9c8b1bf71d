//! `sanitiseArg` and its kin: values that the record of a transaction must not tell.
//!
//! Source: "Actions", ModSecurity v2 reference manual; v3 accepts none of them.

use crate::transaction::State;

/// What is to be left out of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sanitise {
    /// An argument by its name, wherever it stands.
    Argument(String),
    /// A header field of the request.
    RequestHeader(String),
    /// A header field of the response.
    ResponseHeader(String),
    /// What has just matched.
    Matched,
}

/// Most values that one transaction hides by name; beyond, everything is hidden.
const MOST: usize = 1000;

/// What the rules of one transaction want hidden.
#[derive(Debug, Default)]
pub(crate) struct Sanitised {
    /// Names such as `ARGS:card`, in lower case.
    names: Vec<Vec<u8>>,
    everything: bool,
}

impl Sanitise {
    /// Notes what is to be hidden.
    pub(crate) fn apply(&self, state: &mut State) {
        let named = |variable: &str, name: &str| format!("{variable}:{name}").into_bytes();
        let name = match self {
            Self::Argument(name) => named("args", name),
            Self::RequestHeader(name) => named("request_headers", name),
            Self::ResponseHeader(name) => named("response_headers", name),
            Self::Matched => match state.matched_vars.last() {
                Some(field) => field.name.clone(),
                None => return,
            },
        };
        state.control.sanitised.add(name.to_ascii_lowercase());
    }
}

impl Sanitised {
    fn add(&mut self, name: Vec<u8>) {
        // Arguments are one, however a rule got at them.
        let name = match name.strip_prefix(b"args_get:") {
            Some(rest) => [b"args:", rest].concat(),
            None => name,
        };
        let name = match name.strip_prefix(b"args_post:") {
            Some(rest) => [b"args:", rest].concat(),
            None => name,
        };
        if self.names.len() >= MOST {
            self.everything = true;
        } else if !self.names.contains(&name) {
            self.names.push(name);
        }
    }

    /// Tells whether nothing is hidden.
    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// How many names there are, and one more where everything is hidden.
    pub(crate) fn len(&self) -> usize {
        self.names.len() + usize::from(self.everything)
    }

    /// Tells whether a variable is hidden, such as `REQUEST_HEADERS` with `x-card`.
    pub(crate) fn hides(&self, variable: &str, name: Option<&[u8]>) -> bool {
        if self.is_empty() {
            return false;
        }
        let variable = match variable {
            "ARGS_GET" | "ARGS_POST" => "ARGS",
            other => other,
        };
        let mut full = variable.as_bytes().to_ascii_lowercase();
        if let Some(name) = name {
            full.push(b':');
            full.extend(name.to_ascii_lowercase());
        }
        self.everything || self.names.contains(&full)
    }
}
