//! A condition on one variable of `TX` and a number: paranoia levels, thresholds, whether
//! something is set. A third of what the CRS asks on each request is of this kind.

use super::Link;
use crate::{
    operators::{
        Operator,
        compare::{Comparison, number},
    },
    transaction::{State, TxName},
    variables::{Expansion, Selector, Variable},
};

/// What is asked, without a search: `TX:name "@lt 2"`, `&TX:name "@eq 0"`.
#[derive(Clone, Debug)]
pub(crate) struct Gauge {
    name: TxName,
    counted: bool,
    comparison: Comparison,
    other: Other,
    negated: bool,
}

#[derive(Clone, Debug)]
enum Other {
    Number(i64),
    Text(Expansion),
}

impl Gauge {
    /// The gauge that a link is, if it is one.
    pub(super) fn of(link: &Link) -> Option<Self> {
        let condition = link.condition.as_ref()?;
        let [target] = &link.targets[..] else {
            return None;
        };
        let Operator::Compare(comparison, text) = &*condition.operator else {
            return None;
        };
        let Selector::Name(name) = &target.pattern.selector else {
            return None;
        };
        let is_plain = target.pattern.variable == Variable::Tx
            && condition.transformations.is_empty()
            && link.exclusions.is_empty()
            && !link.capture
            // These are of the rule that runs, and a gauge is asked before it does.
            && !text.mentions(|variable| variable == Variable::Rule || variable.is_of_matches());
        is_plain.then(|| Self {
            name: name.clone(),
            counted: target.counted,
            comparison: *comparison,
            other: match text.literal() {
                Some(literal) => Other::Number(number(literal)),
                None => Other::Text(text.clone()),
            },
            negated: condition.negated,
        })
    }

    /// Whether it matches. A variable that does not exist has no value that could, but it
    /// can be counted.
    pub(crate) fn holds(&self, state: &State) -> bool {
        let value = state.tx.get(&self.name);
        let value = match (self.counted, value) {
            (true, value) => i64::from(value.is_some()),
            (false, Some(value)) => number(value),
            (false, None) => return false,
        };
        let other = match &self.other {
            Other::Number(other) => *other,
            Other::Text(text) => number(&text.expand(state)),
        };
        self.comparison.compares(value, other) != self.negated
    }
}
