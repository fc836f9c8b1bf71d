//! `setvar`, `expirevar` and `deprecatevar`.

use crate::{
    collections::{Change, Collection},
    error::Complaint,
    operators::compare::number,
    transaction::{State, TxName},
    variables::{Expansion, Variable},
};

/// A change of a variable, of `TX` or of a collection that outlives the transaction.
#[derive(Clone, Debug)]
pub(crate) struct SetVariable {
    /// `None` is `TX`.
    collection: Option<Collection>,
    name: Name,
    wish: Wish,
}

/// Which variable of the collection.
#[derive(Clone, Debug)]
enum Name {
    /// Always the same.
    Known(TxName),
    /// It depends on the transaction.
    Made(Expansion),
}

/// How the variable changes, as it is written.
#[derive(Clone, Debug)]
enum Wish {
    Set(Expansion),
    Add(Expansion),
    Subtract(Expansion),
    Delete,
    Expire(Expansion),
    Deprecate { by: i64, seconds: u64 },
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
        let wish = match value {
            _ if deleted => Wish::Delete,
            None => Wish::Set(Expansion::parse("1")?),
            Some(value) => match value.as_bytes().first() {
                Some(b'+') => Wish::Add(Expansion::parse(&value[1..])?),
                Some(b'-') => Wish::Subtract(Expansion::parse(&value[1..])?),
                _ => Wish::Set(Expansion::parse(value)?),
            },
        };
        Self::of("setvar", full_name, wish)
    }

    /// Parses `ip.name=seconds`.
    pub(super) fn parse_expiry(text: &str) -> Result<Self, Complaint> {
        let Some((name, seconds)) = text.split_once('=') else {
            return Err(Complaint::new(format!(
                "expirevar needs collection.name=seconds, found {text:?}"
            )));
        };
        let wish = Wish::Expire(Expansion::parse(seconds.trim())?);
        Self::of("expirevar", name.trim(), wish)?.lasting("expirevar")
    }

    /// Parses `ip.name=amount/seconds`.
    pub(super) fn parse_deprecation(text: &str) -> Result<Self, Complaint> {
        let complaint = || {
            Complaint::new(format!(
                "deprecatevar needs collection.name=amount/seconds, found {text:?}"
            ))
        };
        let (name, rate) = text.split_once('=').ok_or_else(complaint)?;
        let (by, seconds) = rate.split_once('/').ok_or_else(complaint)?;
        let by = by.trim().parse().map_err(|_| complaint())?;
        let seconds = seconds.trim().parse().map_err(|_| complaint())?;
        let wish = Wish::Deprecate { by, seconds };
        Self::of("deprecatevar", name.trim(), wish)?.lasting("deprecatevar")
    }

    fn of(action: &str, full_name: &str, wish: Wish) -> Result<Self, Complaint> {
        let Some((collection, name)) = full_name.split_once(['.', ':']) else {
            return Err(Complaint::new(format!(
                "{action} needs a name such as tx.score, found {full_name:?}"
            )));
        };
        let collection = match collection {
            tx if tx.eq_ignore_ascii_case("tx") => None,
            other => Some(Collection::find(other)?),
        };
        let name = Expansion::parse(name)?;
        let known = name.literal().map(match collection {
            None => TxName::of_tx,
            Some(_) => TxName::new,
        });
        Ok(Self {
            collection,
            name: known.map_or(Name::Made(name), Name::Known),
            wish,
        })
    }

    /// Refuses `TX`, which ends before any time is over.
    fn lasting(self, action: &str) -> Result<Self, Complaint> {
        match self.collection {
            Some(_) => Ok(self),
            None => Err(Complaint::new(format!(
                "{action} has no effect on tx, which ends with the transaction"
            ))),
        }
    }

    /// Returns the collection that has to be open, if it is not `TX`.
    pub(crate) fn collection(&self) -> Option<Collection> {
        self.collection
    }

    /// Tells whether a value of a variable, of those that are wanted, is part of it.
    pub(crate) fn mentions(&self, wanted: impl Fn(Variable) -> bool) -> bool {
        let value = match &self.wish {
            Wish::Set(value) | Wish::Add(value) | Wish::Subtract(value) | Wish::Expire(value) => {
                value.mentions(&wanted)
            }
            Wish::Delete | Wish::Deprecate { .. } => false,
        };
        value || matches!(&self.name, Name::Made(name) if name.mentions(wanted))
    }

    /// Makes the change; returns `false` when there are too many variables.
    pub(crate) fn apply(&self, state: &mut State) -> bool {
        let made;
        let name = match &self.name {
            Name::Known(name) => name,
            Name::Made(name) => {
                made = TxName::made(&name.expand(state));
                &made
            }
        };
        match self.collection {
            None => self.change_tx(state, name),
            Some(collection) => {
                let (change, now) = (self.change(state), state.now());
                let collections = &mut state.collections;
                collections.change(collection, name.bytes(), &change, now);
                true
            }
        }
    }

    /// The change of a collection.
    fn change(&self, state: &State) -> Change {
        let calculated = |value: &Expansion| number(&value.expand(state));
        match &self.wish {
            Wish::Set(value) => Change::Set(value.expand(state).into_owned()),
            Wish::Add(value) => Change::Add(calculated(value)),
            Wish::Subtract(value) => Change::Subtract(calculated(value)),
            Wish::Delete => Change::Delete,
            Wish::Expire(value) => Change::Expire(u64::try_from(calculated(value)).unwrap_or(0)),
            Wish::Deprecate { by, seconds } => Change::Deprecate {
                by: *by,
                seconds: *seconds,
            },
        }
    }

    fn change_tx(&self, state: &mut State, name: &TxName) -> bool {
        let most = state.limits.max_tx_variables;
        let (by, calculate): (_, fn(i64, i64) -> i64) = match &self.wish {
            Wish::Set(value) => {
                return match value.literal() {
                    // Nearly all.
                    Some(value) => state.tx.set(name, value, most),
                    None => {
                        let value = value.expand(state).into_owned();
                        state.tx.set(name, &value, most)
                    }
                };
            }
            Wish::Delete => {
                state.tx.remove(name);
                return true;
            }
            // Refused when the rule was read.
            Wish::Expire(_) | Wish::Deprecate { .. } => return true,
            Wish::Add(value) => (value, i64::saturating_add),
            Wish::Subtract(value) => (value, i64::saturating_sub),
        };
        let by = number(&by.expand(state));
        let known = number(state.tx.get(name).unwrap_or_default());
        let text = &mut itoa::Buffer::new();
        let text = text.format(calculate(known, by));
        state.tx.set(name, text.as_bytes(), most)
    }
}
