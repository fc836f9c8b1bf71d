//! Which values of one transaction may match which conditions.

use std::borrow::Cow;

use super::{Bits, Looked, Plan, Seen};
use crate::{
    transaction::State,
    transformations::{Classes, Transformation},
    variables::visit,
};

/// Bytes of one transformed value that are kept for the next rule with its chain.
const MAX_KEPT_VALUE: usize = 8 << 10;

/// What was found so far, by unit.
#[derive(Debug, Default)]
pub(crate) struct Candidates {
    units: Vec<Slot>,
    seen: Seen,
    /// Bytes of transformed values that are kept.
    kept: usize,
}

#[derive(Debug, Default)]
enum Slot {
    /// Not looked at yet.
    #[default]
    Unknown,
    /// The chain changes none of the values, but for letters.
    AsTheyAre,
    Known(Box<Values>),
}

/// The values of a unit.
#[derive(Debug)]
pub(crate) struct Values {
    /// Classes of each value before the chain.
    classes: Vec<Classes>,
    all_classes: Classes,
    /// Conditions of each value, and of all of them behind the last.
    bits: Bits,
    /// Values that the chain changes, where they are kept. Empty where there is no chain.
    changed: Vec<Option<Box<[u8]>>>,
}

impl Candidates {
    /// Forgets everything: the values are others in the next phase.
    pub(crate) fn clear(&mut self) {
        self.units.clear();
        self.kept = 0;
    }

    /// Looks at the values of a unit, and tells how many bytes that took.
    pub(crate) fn look(&mut self, plan: &Plan, state: &State, number: u32) -> u64 {
        if self.units.is_empty() {
            self.units.resize_with(plan.units().len(), Slot::default);
        }
        if !matches!(self.units[number as usize], Slot::Unknown) {
            return 0;
        }
        let unit = plan.units()[number as usize];
        let mut work = 0;
        let slot = if unit.base == number {
            Slot::Known(Box::new(self.as_they_are(plan, state, number, &mut work)))
        } else {
            work += self.look(plan, state, unit.base);
            self.changed(plan, state, number, &mut work)
        };
        self.units[number as usize] = slot;
        work
    }

    fn as_they_are(&mut self, plan: &Plan, state: &State, number: u32, work: &mut u64) -> Values {
        let mut values = Values::new(plan);
        let variable = plan.units()[number as usize].variable;
        visit(state, variable, &mut |_, value| {
            *work += value.len() as u64;
            let classes = Classes::of(&value);
            let bits = &mut values.bits;
            bits.push();
            plan.find(&value, &mut self.seen, |condition| bits.insert(condition));
            values.classes.push(classes);
            values.all_classes = values.all_classes.and(classes);
        });
        values.bits.push_union();
        values
    }

    fn changed(&mut self, plan: &Plan, state: &State, number: u32, work: &mut u64) -> Slot {
        let unit = plan.units()[number as usize];
        let chain = plan.chain(unit.chain);
        let touches = chain.touches.without(Classes::CASE);
        let Slot::Known(base) = &self.units[unit.base as usize] else {
            return Slot::AsTheyAre;
        };
        if !base.all_classes.meets(touches) {
            return Slot::AsTheyAre;
        }
        let mut values = Values::new(plan);
        let (mut at, mut kept) = (0, self.kept);
        let seen = &mut self.seen;
        visit(state, unit.variable, &mut |_, value| {
            let classes = base.classes[at];
            values.bits.push();
            let mut changed = None;
            if classes.meets(touches) {
                *work += (value.len() * (chain.transformations.len() + 1)) as u64;
                let output = apply(&chain.transformations, value);
                let bits = &mut values.bits;
                plan.find(&output, seen, |condition| bits.insert(condition));
                let room = kept + output.len() <= state.limits.max_kept_bytes;
                if room && output.len() <= MAX_KEPT_VALUE {
                    kept += output.len();
                    changed = Some(output.into_owned().into_boxed_slice());
                }
            } else {
                values.bits.insert_all(base.bits.get(at));
            }
            values.classes.push(classes);
            values.changed.push(changed);
            at += 1;
        });
        self.kept = kept;
        values.bits.push_union();
        Slot::Known(Box::new(values))
    }

    /// Whether any value of a target may match a condition; looks at them first.
    pub(crate) fn may_match(
        &mut self,
        plan: &Plan,
        state: &State,
        target: &Looked,
        condition: u32,
        work: &mut u64,
    ) -> bool {
        let mut units = std::iter::once(&target.last).chain(&target.steps);
        units.any(|unit| {
            *work = work.saturating_add(self.look(plan, state, *unit));
            let values = self.values(plan, *unit);
            values.is_none_or(|values| values.any_may_match(condition))
        })
    }

    /// The values of a unit that was looked at.
    pub(crate) fn values(&self, plan: &Plan, number: u32) -> Option<&Values> {
        match self.units.get(number as usize)? {
            Slot::Known(values) => Some(values),
            Slot::AsTheyAre => {
                let base = plan.units()[number as usize].base;
                match self.units.get(base as usize)? {
                    Slot::Known(values) => Some(values),
                    Slot::AsTheyAre | Slot::Unknown => None,
                }
            }
            Slot::Unknown => None,
        }
    }
}

impl Values {
    fn new(plan: &Plan) -> Self {
        Self {
            classes: Vec::new(),
            all_classes: Classes::default(),
            bits: Bits::new(plan.conditions()),
            changed: Vec::new(),
        }
    }

    /// Whether any of the values may match a condition.
    pub(crate) fn any_may_match(&self, condition: u32) -> bool {
        self.bits.has(self.classes.len(), condition)
    }

    /// Whether a value may match a condition.
    pub(crate) fn may_match(&self, at: usize, condition: u32) -> bool {
        self.bits.has(at, condition)
    }

    /// A value as a chain makes it, and how many bytes were read for that.
    pub(crate) fn transformed<'a>(
        &'a self,
        at: usize,
        plan: &Plan,
        chain: u32,
        value: Cow<'a, [u8]>,
    ) -> (Cow<'a, [u8]>, u64) {
        if let Some(Some(kept)) = self.changed.get(at) {
            return (Cow::Borrowed(kept), 0);
        }
        let chain = plan.chain(chain);
        match self.classes.get(at) {
            Some(classes) if !classes.meets(chain.touches) => (value, 0),
            _ => {
                let cost = (value.len() * chain.transformations.len()) as u64;
                (apply(&chain.transformations, value), cost)
            }
        }
    }
}

fn apply<'a>(chain: &[Transformation], value: Cow<'a, [u8]>) -> Cow<'a, [u8]> {
    chain.iter().fold(value, |value, each| each.apply(value))
}
