//! Expressions of one text, compiled beside each other: that is most of the work on a rule
//! set, and none of it needs another.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use crate::{
    error::Complaint,
    operators::Operator,
    seclang::{Directive, DirectiveKind},
};

/// Fewer are compiled where they stand.
const FEW: usize = 8;

/// Threads at most; a reload must not take all processors from the traffic.
const MAX_THREADS: usize = 4;

/// Operators by what is written behind `@rx`.
#[derive(Default)]
pub(super) struct Expressions(HashMap<String, Result<Operator, Complaint>>);

impl Expressions {
    /// Compiles the expressions of some directives.
    pub(super) fn of(directives: &[Directive]) -> Self {
        let mut patterns: Vec<&str> = directives
            .iter()
            .filter_map(|directive| match &directive.kind {
                DirectiveKind::Rule { operator, .. } if is_expression(&operator.name) => {
                    Some(operator.argument.as_str())
                }
                _ => None,
            })
            .collect();
        patterns.sort_unstable();
        patterns.dedup();
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let threads = threads.min(MAX_THREADS);
        if patterns.len() < FEW || threads < 2 {
            return Self::default();
        }
        let next = AtomicUsize::new(0);
        let work = || {
            let mut made = Vec::new();
            while let Some(pattern) = patterns.get(next.fetch_add(1, Ordering::Relaxed)) {
                made.push(((*pattern).to_owned(), Operator::expression(pattern)));
            }
            made
        };
        let made = thread::scope(|scope| {
            // Where no thread can be had, this one does it all.
            let others: Vec<_> = (1..threads)
                .filter_map(|_| thread::Builder::new().spawn_scoped(scope, work).ok())
                .collect();
            let mut made = work();
            for other in others {
                // What a thread that ended early has not made is made in its turn.
                made.extend(other.join().unwrap_or_default());
            }
            made
        });
        Self(made.into_iter().collect())
    }

    /// The operator of an expression, where it was made before.
    pub(super) fn get(&self, name: &str, argument: &str) -> Option<Result<Operator, Complaint>> {
        is_expression(name)
            .then(|| self.0.get(argument).cloned())
            .flatten()
    }
}

fn is_expression(name: &str) -> bool {
    name.eq_ignore_ascii_case("rx")
}
