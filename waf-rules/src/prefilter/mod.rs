//! Which rules a value can match at all.
//!
//! Most values match nothing. So each is read once, for the literals of all rules
//! together, and only a rule of which one was found looks at it for itself.
//!
//! ```text
//! compile   condition --literals or needs--\
//!           condition --chain---------------+--> Plan: scanner, needs, chains, units, groups
//!           target ----variable, chain------/
//! request   unit: value --touched by the chain? transformed--> scanner, needs --> conditions that may match
//!           group: all units that a condition asks ----------> rules that are crossed out of the agenda
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
