//! Which values of one transaction may match which conditions.

use std::borrow::Cow;

use super::{Bits, Looked, Outputs, Plan, outputs::Room};
use crate::{
    transaction::State,
    transformations::Classes,
    variables::{Variable, same_values, visit},
};

/// What reading one value costs besides its length.
pub(crate) const COST_OF_A_VALUE: u64 = 16;

/// Room for as many values as most variables have.
const USUAL: usize = 8;

/// Room for as many units as have values that a chain changes, in most requests.
const USUAL_CHANGED: usize = 64;

/// What was found so far, by unit.
#[derive(Debug, Default)]
pub(crate) struct Candidates {
    units: Vec<Slot>,
    /// Where each value that a chain changes stands among all of its variable, and the number
    /// of its output; those of a unit are together.
    changed: Vec<(u32, u32)>,
    /// The conditions of all values of each unit with such values.
    of_changed: Bits,
    /// The conditions of all values of each group that is known.
    of_groups: Bits,
    /// By group, which set of those is its.
    groups: Vec<Option<u32>>,
    /// Bytes of outputs that are kept.
    kept: usize,
}

#[derive(Debug, Default)]
enum Slot {
    /// Not looked at yet.
    #[default]
    Unknown,
    /// Looked at as they are.
    Plain(Box<Plain>),
    /// The chain changes none of the values, but for letters.
    AsTheyAre,
    Changed(Changed),
}

/// The values of a variable as they are.
#[derive(Debug)]
struct Plain {
    /// Classes of each value.
    classes: Vec<Classes>,
    all_classes: Classes,
    /// Conditions of each value, and of all of them behind the last.
    bits: Bits,
    /// What chains make of them, where any has been asked for.
    outputs: Option<Outputs>,
}

impl Plain {
    /// Bytes that are kept of what chains make of them.
    fn kept(&self) -> usize {
        self.outputs.as_ref().map_or(0, Outputs::kept)
    }
}

/// The values that a chain changes; mostly these are few.
#[derive(Clone, Copy, Debug)]
struct Changed {
    /// Which part of [`Candidates::changed`] they are.
    part: (usize, usize),
    /// Which of [`Candidates::of_changed`] are the conditions of all values of the unit.
    all: u32,
}

/// The values of a unit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Values<'c> {
    plain: &'c Plain,
    changed: Option<ChangedValues<'c>>,
}

#[derive(Clone, Copy, Debug)]
struct ChangedValues<'c> {
    /// Where each stands among all values, and the number of its output.
    outputs: &'c [(u32, u32)],
    /// The conditions of all values.
    all: Conditions<'c>,
}

/// The conditions that values may match.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conditions<'c> {
    sets: &'c Bits,
    set: usize,
}

impl<'c> Conditions<'c> {
    /// As a set of bits; of nothing where every condition is one of them.
    pub(crate) fn words(self) -> &'c [u64] {
        self.sets.get(self.set)
    }

    /// Whether a condition is one of them.
    pub(crate) fn has(self, condition: u32) -> bool {
        self.sets.has(self.set, condition)
    }
}

impl Candidates {
    /// Forgets the values of some variables, which are others now.
    pub(crate) fn forget(&mut self, plan: &Plan, variables: impl Fn(Variable) -> bool) {
        let mut is_known = false;
        for (slot, unit) in self.units.iter_mut().zip(plan.units()) {
            if matches!(slot, Slot::Unknown) || !variables(unit.variable) {
                continue;
            }
            is_known = true;
            if let Slot::Plain(plain) = std::mem::take(slot) {
                self.kept -= plain.kept();
            }
        }
        // Of what nobody has looked at no group knows anything.
        if is_known {
            self.groups.clear();
            self.of_groups.clear();
        }
        let mut slots = self.units.iter();
        if slots.all(|slot| matches!(slot, Slot::Unknown)) {
            self.changed.clear();
            self.of_changed.clear();
        }
    }

    /// Bytes that all of it takes.
    pub(crate) fn memory(&self) -> usize {
        let slots = self.units.iter().map(|slot| match slot {
            Slot::Unknown | Slot::AsTheyAre | Slot::Changed(_) => 0,
            Slot::Plain(plain) => {
                let classes = plain.classes.capacity() * size_of::<Classes>();
                classes + plain.bits.memory() + plain.outputs.as_ref().map_or(0, Outputs::memory)
            }
        });
        slots.sum::<usize>()
            + self.units.capacity() * size_of::<Slot>()
            + self.changed.capacity() * size_of::<(u32, u32)>()
            + self.of_changed.memory()
            + self.of_groups.memory()
    }

    /// Looks at the values of a unit, and tells how much work that took.
    pub(crate) fn look(&mut self, plan: &Plan, state: &State, number: u32) -> u64 {
        if self.units.is_empty() {
            self.units.resize_with(plan.units().len(), Slot::default);
            self.of_changed = Bits::with_capacity(plan.conditions(), USUAL_CHANGED);
            self.changed = Vec::with_capacity(USUAL_CHANGED);
        }
        if !matches!(self.units[number as usize], Slot::Unknown) {
            return 0;
        }
        let unit = &plan.units()[number as usize];
        let mut work = 0;
        let slot = if unit.base == number {
            Slot::Plain(Box::new(self.plain(plan, state, number, &mut work)))
        } else {
            work += self.look(plan, state, unit.base);
            self.changed(plan, state, number, &mut work)
        };
        self.units[number as usize] = slot;
        work
    }

    fn plain(&mut self, plan: &Plan, state: &State, number: u32, work: &mut u64) -> Plain {
        if let Some(same) = self.twin(plan, state, number) {
            return same;
        }
        let mut plain = Plain {
            classes: Vec::with_capacity(USUAL),
            all_classes: Classes::default(),
            bits: Bits::with_capacity(plan.conditions(), USUAL + 1),
            outputs: None,
        };
        let unit = &plan.units()[number as usize];
        visit(state, unit.variable, &mut |name, value| {
            let bits = &mut plain.bits;
            bits.push();
            if !unit.wants(name) {
                return plain.classes.push(Classes::default());
            }
            *work += value.len() as u64 + COST_OF_A_VALUE;
            let kinds = plan.kinds(&value);
            let classes = kinds.classes();
            plan.find(&value, kinds, bits.last());
            plain.classes.push(classes);
            plain.all_classes = plain.all_classes.and(classes);
        });
        plain.bits.push_union();
        plain
    }

    /// What is known of another variable with the same values.
    fn twin(&self, plan: &Plan, state: &State, number: u32) -> Option<Plain> {
        let variable = plan.units()[number as usize].variable;
        let other = plan.plain_unit(same_values(state, variable)?)?;
        // Not of all names, perhaps, and then not of those that are wanted here.
        let Slot::Plain(plain) = self.units.get(other as usize)? else {
            return None;
        };
        plan.units()[other as usize].wants_all().then(|| Plain {
            classes: plain.classes.clone(),
            all_classes: plain.all_classes,
            bits: plain.bits.clone(),
            outputs: None,
        })
    }

    fn changed(&mut self, plan: &Plan, state: &State, number: u32, work: &mut u64) -> Slot {
        let unit = &plan.units()[number as usize];
        let chain = plan.chain(unit.chain);
        let touches = chain.touches.without(Classes::CASE);
        let Slot::Plain(plain) = &mut self.units[unit.base as usize] else {
            return Slot::AsTheyAre;
        };
        if !plain.all_classes.meets(touches) {
            return Slot::AsTheyAre;
        }
        let (outputs, all) = (&mut self.changed, &mut self.of_changed);
        let first = outputs.len();
        let set = all.push();
        // Too many rather than too few: also of those that are others now.
        all.insert_all(plain.bits.get(plain.classes.len()));
        let mut at = 0;
        let others = self.kept - plain.kept();
        let classes = &plain.classes;
        let made = plain
            .outputs
            .get_or_insert_with(|| Outputs::new(plan, classes));
        visit(state, unit.variable, &mut |name, value| {
            let here = at;
            at += 1;
            if !classes[here].meets(touches) || !unit.wants(name) {
                return;
            }
            *work += (value.len() * (chain.len() + 1)) as u64 + COST_OF_A_VALUE;
            let room = Room {
                plan,
                bytes: state.limits.max_kept_bytes.saturating_sub(others),
            };
            // A transaction has fewer values than that.
            let here = here as u32;
            if let Some(number) = made.of(here, &value, chain, room) {
                all.insert_all(made.conditions(number));
                outputs.push((here, number));
            }
        });
        self.kept = others + made.kept();
        let part = (first, outputs.len());
        Slot::Changed(Changed { part, all: set })
    }

    /// The conditions that any value of a group may match; looks at all of them first.
    pub(crate) fn group(
        &mut self,
        plan: &Plan,
        state: &State,
        group: u32,
        work: &mut u64,
    ) -> Conditions<'_> {
        if self.groups.is_empty() {
            self.groups.resize(plan.groups().len(), None);
            self.of_groups = Bits::with_capacity(plan.conditions(), plan.groups().len());
        }
        let set = match self.groups[group as usize] {
            Some(known) => known,
            None => {
                let set = self.all_of_group(plan, state, group, work);
                self.groups[group as usize] = Some(set);
                set
            }
        };
        Conditions {
            sets: &self.of_groups,
            set: set as usize,
        }
    }

    fn all_of_group(&mut self, plan: &Plan, state: &State, group: u32, work: &mut u64) -> u32 {
        let units = &plan.groups()[group as usize];
        for &unit in units {
            let is_known = !matches!(self.units.get(unit as usize), None | Some(Slot::Unknown));
            if !is_known && !self.is_empty(plan.units()[unit as usize].base) {
                *work = work.saturating_add(self.look(plan, state, unit));
            }
        }
        let mut sets = std::mem::take(&mut self.of_groups);
        let set = sets.push();
        for &unit in units {
            if self.is_empty(plan.units()[unit as usize].base) {
                continue;
            }
            match self.values(plan, unit) {
                Some(values) => sets.insert_all(values.conditions()),
                None => sets.insert_everything(),
            }
        }
        self.of_groups = sets;
        set
    }

    /// Whether a unit was looked at as it is and has no value. Half of what rules look at no
    /// request has: what is in other bodies than its own.
    fn is_empty(&self, base: u32) -> bool {
        let slot = self.units.get(base as usize);
        matches!(slot, Some(Slot::Plain(plain)) if plain.classes.is_empty())
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
        let mut may_match = false;
        // At all of them, whatever the first says: who asks looks at each step.
        for unit in std::iter::once(&target.last).chain(&target.steps) {
            *work = work.saturating_add(self.look(plan, state, *unit));
            let values = self.values(plan, *unit);
            may_match |= values.is_none_or(|values| values.any_may_match(condition));
        }
        may_match
    }

    /// The values of a unit that was looked at.
    pub(crate) fn values(&self, plan: &Plan, number: u32) -> Option<Values<'_>> {
        let changed = match self.units.get(number as usize)? {
            Slot::Unknown => return None,
            Slot::Plain(plain) => {
                return Some(Values {
                    plain,
                    changed: None,
                });
            }
            Slot::AsTheyAre => None,
            Slot::Changed(changed) => Some(ChangedValues {
                outputs: &self.changed[changed.part.0..changed.part.1],
                all: Conditions {
                    sets: &self.of_changed,
                    set: changed.all as usize,
                },
            }),
        };
        let base = plan.units()[number as usize].base;
        match self.units.get(base as usize)? {
            Slot::Plain(plain) => Some(Values { plain, changed }),
            _ => None,
        }
    }
}

impl<'c> Values<'c> {
    /// The conditions that any of the values may match.
    fn conditions(self) -> &'c [u64] {
        match self.changed {
            None => self.plain.bits.get(self.plain.classes.len()),
            Some(changed) => changed.all.sets.get(changed.all.set),
        }
    }

    /// Whether any of the values may match a condition.
    pub(crate) fn any_may_match(self, condition: u32) -> bool {
        match self.changed {
            None => self.plain.bits.has(self.plain.classes.len(), condition),
            Some(changed) => changed.all.has(condition),
        }
    }

    /// The places of the values that may match a condition.
    pub(crate) fn candidates(self, condition: u32) -> impl Iterator<Item = usize> + 'c {
        let changed = self.changed.map_or(&[][..], |changed| changed.outputs);
        let made = self.plain.outputs.as_ref();
        let mut changed = changed.iter().copied().peekable();
        (0..self.plain.classes.len()).filter(move |at| {
            let output = changed.next_if(|(here, _)| *here as usize == *at);
            match (made, output) {
                (Some(made), Some((_, number))) => made.may_match(number, condition),
                _ => self.plain.bits.has(*at, condition),
            }
        })
    }

    /// Whether a value may match a condition.
    pub(crate) fn may_match(self, at: usize, condition: u32) -> bool {
        match self.output(at) {
            None => self.plain.bits.has(at, condition),
            Some((made, number)) => made.may_match(number, condition),
        }
    }

    /// The output that a value has become.
    fn output(self, at: usize) -> Option<(&'c Outputs, u32)> {
        let outputs = self.changed?.outputs;
        let index = outputs.binary_search_by_key(&(at as u32), |(at, _)| *at);
        Some((self.plain.outputs.as_ref()?, outputs[index.ok()?].1))
    }

    /// A value as a chain makes it, and how many bytes were read for that.
    pub(crate) fn transformed<'a>(
        self,
        at: usize,
        plan: &Plan,
        chain: u32,
        value: Cow<'a, [u8]>,
    ) -> (Cow<'a, [u8]>, u64)
    where
        'c: 'a,
    {
        if let Some((made, number)) = self.output(at)
            && let Some(output) = made.get(number)
        {
            return (Cow::Borrowed(output), 0);
        }
        let chain = plan.chain(chain);
        let classes = self.plain.classes.get(at).copied();
        let classes = classes.unwrap_or(Classes::ALL);
        if !classes.meets(chain.touches) {
            return (value, 0);
        }
        let cost = (value.len() * chain.len()) as u64;
        (chain.apply(classes, value), cost)
    }
}
