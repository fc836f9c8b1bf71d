//! `setvar`.

use crate::{
    error::Complaint, operators::compare::number, transaction::State, variables::Expansion,
};

/// A change of a variable of `TX`.
#[derive(Clone, Debug)]
pub(crate) struct SetVariable {
    name: Expansion,
    change: Change,
}

/// How the variable changes.
#[derive(Clone, Debug)]
enum Change {
    Set(Expansion),
    Add(Expansion),
    Subtract(Expansion),
    Delete,
}

impl SetVariable {
    /// Parses `tx.name=value`, `tx.name=+1`, `tx.name=-1`, `tx.name` and `!tx.name`.
    pub(super) fn parse(text: &str) -> Result<Self, Complaint> {
        let (deleted, text) = match text.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (full_name, value) = match text.split_once('=') {
            Some((name, value)) => (name.trim(), Some(value)),
            None => (text.trim(), None),
        };
        let Some((collection, name)) = full_name.split_once(['.', ':']) else {
            return Err(Complaint::new(format!(
                "setvar needs a name such as tx.score, found {full_name:?}"
            )));
        };
        match collection.to_ascii_lowercase().as_str() {
            "tx" => {}
            "ip" | "global" | "session" | "user" | "resource" => {
                return Err(Complaint::unsupported("collection", collection).hint("only tx is"));
            }
            _ => return Err(Complaint::unknown("collection", collection, ["tx"])),
        }
        let change = match value {
            _ if deleted => Change::Delete,
            None => Change::Set(Expansion::parse("1")?),
            Some(value) => match value.as_bytes().first() {
                Some(b'+') => Change::Add(Expansion::parse(&value[1..])?),
                Some(b'-') => Change::Subtract(Expansion::parse(&value[1..])?),
                _ => Change::Set(Expansion::parse(value)?),
            },
        };
        Ok(Self {
            name: Expansion::parse(name)?,
            change,
        })
    }

    /// Makes the change; returns `false` when there are too many variables.
    pub(crate) fn apply(&self, state: &mut State) -> bool {
        let name = self.name.expand(state).to_ascii_lowercase();
        let old = || number(state.tx.get(&name).map_or(&b"0"[..], Vec::as_slice));
        let value = match &self.change {
            Change::Delete => {
                state.tx.remove(&name);
                return true;
            }
            Change::Set(value) => value.expand(state).into_owned(),
            Change::Add(value) => old()
                .saturating_add(number(&value.expand(state)))
                .to_string()
                .into_bytes(),
            Change::Subtract(value) => old()
                .saturating_sub(number(&value.expand(state)))
                .to_string()
                .into_bytes(),
        };
        if state.tx.len() >= state.limits.max_tx_variables && !state.tx.contains_key(&name) {
            return false;
        }
        state.tx.insert(name, value);
        true
    }
}
