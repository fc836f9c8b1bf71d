//! Which rules a value can match at all.
//!
//! Most values match nothing. So each is read once, for the literals of all rules
//! together, and only a rule of which one was found looks at it for itself.
//!
//! ```text
//! compile   condition --literals it cannot match without--\
//!           condition --chain of transformations-----------+--> Plan: one automaton, chains,
//!           target ----variable, chain---------------------/          units
//! request   unit: value --touched by the chain? transformed--> automaton --> conditions that may match
//! ```
//!
//! Rules run in their order all the same, so chains, `setvar` and jumps are exact: a
//! condition that cannot match is only known to be one sooner. What a literal says is
//! said without regard to case, since most chains lower it. A condition without literals
//! has needs, if it can: a length, and bytes of which a value must have one.

mod agenda;
mod bits;
mod candidates;
mod literals;
mod needs;
mod outputs;
mod plan;
mod scanner;

pub(crate) use agenda::Agenda;
use bits::Bits;
pub(crate) use candidates::{COST_OF_A_VALUE, Candidates, Conditions, Values};
pub(crate) use literals::{is_rare, required};
use needs::Kinds;
pub(crate) use needs::{ByteSet, Need};
use outputs::Outputs;
pub(crate) use plan::{Looked, Plan};

#[cfg(test)]
mod tests;
