//! What is known of all conditions of a rule set together.

use std::{borrow::Cow, collections::HashMap};

use super::{
    ByteSet, Kinds, Need,
    needs::{Needs, insert},
    scanner::Scanner,
};
use crate::{
    compile::{Condition, Rule},
    transformations::{Classes, Transformation},
    variables::{Selector, Target, TargetPattern, Variable},
};

/// A chain of transformations, interned.
#[derive(Debug)]
pub(crate) struct Chain {
    /// Its transformations by their numbers, and what a value must have to be changed by each.
    steps: Vec<(usize, Transformation, Classes)>,
    /// What a value must have to be changed by it.
    pub(crate) touches: Classes,
}

impl Chain {
    fn new(steps: Vec<(usize, Transformation)>) -> Self {
        let steps = steps.into_iter();
        let steps: Vec<_> = steps
            .map(|(number, each)| (number, each, each.touches()))
            .collect();
        let touches = steps.iter().map(|(_, _, touches)| *touches);
        Self {
            touches: touches.fold(Classes::default(), Classes::and),
            steps,
        }
    }

    /// Its transformations by their numbers in the plan, and what a value must have to be
    /// changed by each.
    pub(super) fn steps(&self) -> impl Iterator<Item = (usize, Transformation, Classes)> {
        self.steps.iter().copied()
    }

    /// How many transformations there are.
    pub(crate) fn len(&self) -> usize {
        self.steps.len()
    }

    /// Applies it to a value of these classes. Steps that cannot change it are left out;
    /// when one has, its classes are others.
    pub(crate) fn apply<'a>(&self, classes: Classes, mut value: Cow<'a, [u8]>) -> Cow<'a, [u8]> {
        let mut is_other = false;
        for (_, transformation, touches) in &self.steps {
            if !is_other && !classes.meets(*touches) {
                continue;
            }
            if let Some(output) = transformation.changed(&value) {
                value = Cow::Owned(output);
                is_other = true;
            }
        }
        value
    }
}

/// The values of one variable, as one chain makes them.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    pub(crate) variable: Variable,
    pub(crate) chain: u32,
    /// The same values as they are.
    pub(crate) base: u32,
    names: Names,
}

/// Which values of a unit anybody asks about.
#[derive(Clone, Debug)]
enum Names {
    All,
    /// Those of a few names, in lower case.
    Few(Vec<Box<[u8]>>),
}

/// Most names that are told apart; more are all.
const MAX_NAMES: usize = 8;

impl Names {
    fn add(&mut self, selector: &Selector) {
        let Self::Few(names) = self else {
            return;
        };
        match selector {
            Selector::Name(name) if names.len() < MAX_NAMES => {
                if !names.iter().any(|known| **known == *name.bytes()) {
                    names.push(name.bytes().into());
                }
            }
            _ => *self = Self::All,
        }
    }
}

impl Unit {
    /// Whether the values of all names are asked about.
    pub(crate) fn wants_all(&self) -> bool {
        matches!(self.names, Names::All)
    }

    /// Whether anybody asks about the values of a name.
    pub(crate) fn wants(&self, name: Option<&[u8]>) -> bool {
        match (&self.names, name) {
            (Names::Few(names), Some(name)) => {
                let mut names = names.iter();
                names.any(|wanted| wanted.eq_ignore_ascii_case(name))
            }
            _ => true,
        }
    }
}

/// The units of one target of a condition.
#[derive(Clone, Debug)]
pub(crate) struct Looked {
    /// Behind the whole chain.
    pub(crate) last: u32,
    /// Before each of its steps, where the condition looks there too.
    pub(crate) steps: Vec<u32>,
}

/// All literals of a rule set, its chains, and the values they are applied to.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    scanner: Scanner,
    /// The conditions of each literal.
    owners: Vec<Vec<u32>>,
    /// What conditions without literals need.
    needs: Needs,
    /// Conditions with literals or needs.
    conditions: u32,
    chains: Vec<Chain>,
    /// How many transformations the chains have, each counted once.
    transformations: usize,
    units: Vec<Unit>,
    /// By variable, the unit of its values as they are.
    plain: HashMap<Variable, u32>,
    /// Units that are asked about together.
    groups: Vec<Vec<u32>>,
}

/// A plan while rules are added to it.
#[derive(Default)]
struct Draft {
    plan: Plan,
    chains: HashMap<Vec<Transformation>, u32>,
    transformations: HashMap<Transformation, usize>,
    units: HashMap<(Variable, u32), u32>,
    groups: HashMap<Vec<u32>, u32>,
    literals: HashMap<Vec<u8>, Vec<u32>>,
    needs: HashMap<Need, Vec<u32>>,
}

impl Plan {
    /// Makes the plan of rules, and tells each condition its part of it.
    pub(crate) fn of<'r>(rules: impl Iterator<Item = &'r mut Rule>) -> Self {
        let mut draft = Draft::default();
        draft.chain(&[]);
        for rule in rules {
            for link in &mut rule.links {
                if let Some(condition) = &mut link.condition {
                    draft.add(condition, &link.targets);
                }
            }
        }
        draft.finish()
    }

    /// How many conditions have literals or needs.
    pub(crate) fn conditions(&self) -> usize {
        self.conditions as usize
    }

    /// A chain by its number.
    pub(crate) fn chain(&self, number: u32) -> &Chain {
        &self.chains[number as usize]
    }

    /// The unit of the values of a variable as they are, where anybody asks about them.
    pub(crate) fn plain_unit(&self, variable: Variable) -> Option<u32> {
        self.plain.get(&variable).copied()
    }

    /// How many transformations there are in all chains.
    pub(super) fn transformations(&self) -> usize {
        self.transformations
    }

    /// The groups of units.
    pub(crate) fn groups(&self) -> &[Vec<u32>] {
        &self.groups
    }

    /// The units.
    pub(crate) fn units(&self) -> &[Unit] {
        &self.units
    }

    /// The kinds of the bytes of a value.
    pub(crate) fn kinds(&self, value: &[u8]) -> Kinds {
        self.needs.kinds(value)
    }

    /// Adds each condition that has a literal in the value, or whose needs it meets, to a
    /// set; `kinds` are those of the value.
    pub(crate) fn find(&self, value: &[u8], kinds: Kinds, conditions: &mut [u64]) {
        self.needs.met(value.len(), kinds, conditions);
        self.scanner
            .find(value, |literal| insert(conditions, &self.owners[literal]));
    }
}

impl Draft {
    fn add(&mut self, condition: &mut Condition, targets: &[Target]) {
        if !condition.negated {
            let number = self.plan.conditions;
            let literals = condition.operator.literals();
            // An empty one is in every value.
            let literals = literals.filter(|literals| !literals.iter().any(Vec::is_empty));
            if let Some(literals) = literals {
                condition.number = Some(number);
                for literal in literals {
                    match literal.len() {
                        // A byte that has to be there is a need.
                        1 => {
                            let need = Need::one_of(ByteSet::of(&literal));
                            self.needs.entry(need).or_default().push(number);
                        }
                        _ => self.literals.entry(literal).or_default().push(number),
                    }
                }
            } else if let Some(need) = condition.operator.need() {
                condition.number = Some(number);
                self.needs.entry(need).or_default().push(number);
            }
            self.plan.conditions += u32::from(condition.number.is_some());
        }
        let chain = self.chain(&condition.transformations);
        condition.chain = chain;
        // `multiMatch` looks at a value before each step too.
        let steps: Vec<u32> = match condition.multi_match {
            true => (0..condition.transformations.len())
                .map(|step| self.chain(&condition.transformations[..step]))
                .collect(),
            false => Vec::new(),
        };
        let patterns = targets.iter().map(|target| &target.pattern);
        condition.units = patterns
            .map(|pattern| {
                pattern.variable.is_settled().then(|| Looked {
                    last: self.unit(pattern, chain),
                    steps: steps.iter().map(|step| self.unit(pattern, *step)).collect(),
                })
            })
            .collect();
        let is_counted = targets.iter().any(|target| target.counted);
        if condition.number.is_some() && !is_counted {
            condition.group = self.group(&condition.units);
        }
    }

    /// The group of all units of some targets, where all have some.
    fn group(&mut self, targets: &[Option<Looked>]) -> Option<u32> {
        let mut units = Vec::new();
        for looked in targets {
            let looked = looked.as_ref()?;
            units.push(looked.last);
            units.extend(&looked.steps);
        }
        units.sort_unstable();
        units.dedup();
        let next = self.groups.len() as u32;
        let number = *self.groups.entry(units.clone()).or_insert(next);
        if number == next {
            self.plan.groups.push(units);
        }
        Some(number)
    }

    fn chain(&mut self, transformations: &[Transformation]) -> u32 {
        if let Some(known) = self.chains.get(transformations) {
            return *known;
        }
        let number = self.plan.chains.len() as u32;
        self.chains.insert(transformations.to_vec(), number);
        let steps = transformations.iter().map(|each| {
            let next = self.transformations.len();
            (*self.transformations.entry(*each).or_insert(next), *each)
        });
        let chain = Chain::new(steps.collect());
        self.plan.chains.push(chain);
        self.plan.transformations = self.transformations.len();
        number
    }

    fn unit(&mut self, pattern: &TargetPattern, chain: u32) -> u32 {
        // What a chain is applied to is looked at as it is as well.
        let base = (chain != 0).then(|| self.unit(pattern, 0));
        let next = self.plan.units.len() as u32;
        let variable = pattern.variable;
        let number = *self.units.entry((variable, chain)).or_insert(next);
        if number == next {
            if chain == 0 {
                self.plan.plain.insert(variable, number);
            }
            self.plan.units.push(Unit {
                variable,
                chain,
                base: base.unwrap_or(number),
                names: Names::Few(Vec::new()),
            });
        }
        self.plan.units[number as usize]
            .names
            .add(&pattern.selector);
        number
    }

    fn finish(mut self) -> Plan {
        let (literals, owners): (Vec<_>, Vec<_>) = self.literals.into_iter().unzip();
        self.plan.scanner = Scanner::new(literals.iter().map(Vec::as_slice));
        self.plan.owners = owners;
        self.plan.needs = Needs::new(self.needs, self.plan.conditions());
        self.plan
    }
}
