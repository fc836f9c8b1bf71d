//! Weighted round robin.
//!
//! A [`Schedule`] is the order in which weighted items take turns, worked out
//! once; a [`Balancer`] is the position in it, and outlives a reload. The order
//! is smooth: weights 2 and 1 give a, b, a and not a, a, b (the algorithm of
//! nginx's upstream module).

use std::sync::atomic::{AtomicUsize, Ordering};

/// Turns in one schedule at most; weights are scaled down to fit.
const MAX_TURNS: u64 = 10_000;

/// A position in a round.
#[derive(Debug, Default)]
pub struct Balancer {
    turn: AtomicUsize,
}

/// The order in which weighted items take turns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    turns: Vec<u32>,
}

impl Schedule {
    /// Works out the order for these weights; items of weight 0 take no turn.
    pub fn new(weights: &[u32]) -> Self {
        let divisor = weights
            .iter()
            .fold(0, |divisor, &weight| gcd(divisor, u64::from(weight)))
            .max(1);
        let mut shares: Vec<u64> = weights
            .iter()
            .map(|&weight| u64::from(weight) / divisor)
            .collect();
        let total: u64 = shares.iter().sum();
        if total > MAX_TURNS {
            for share in &mut shares {
                // An item that takes requests keeps at least one turn.
                *share = (*share * MAX_TURNS / total).max(u64::from(*share > 0));
            }
        }
        let total: u64 = shares.iter().sum();
        if total > 0 && shares.iter().all(|&share| share == shares[0]) {
            return Self {
                turns: (0..weights.len() as u32).collect(),
            };
        }
        let mut credit = vec![0i64; shares.len()];
        let mut turns = Vec::with_capacity(total as usize);
        for _ in 0..total {
            let mut best = 0;
            for (index, &share) in shares.iter().enumerate() {
                credit[index] += share as i64;
                if credit[index] > credit[best] {
                    best = index;
                }
            }
            credit[best] -= total as i64;
            turns.push(best as u32);
        }
        Self { turns }
    }

    /// Takes the next turn of an item that will do; `None` when there is none.
    pub fn pick_where(
        &self,
        balancer: &Balancer,
        will_do: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        // Weights are folded into the turns: each item has had one after a whole round.
        (0..self.turns.len())
            .filter_map(|_| self.pick(balancer))
            .find(|&index| will_do(index))
    }

    /// The next two different items that will do, without taking a turn.
    ///
    /// A second attempt is not to move the turns of others: with two items, one of
    /// which fails, each request would begin with that one.
    pub fn peek_two(
        &self,
        balancer: &Balancer,
        will_do: impl Fn(usize) -> bool,
    ) -> Option<(usize, Option<usize>)> {
        self.two_from(balancer.turn.load(Ordering::Relaxed), will_do)
    }

    /// Takes the next turn, and tells the first two different items from there on
    /// that will do; `None` when there is none.
    pub fn pick_two(
        &self,
        balancer: &Balancer,
        will_do: impl Fn(usize) -> bool,
    ) -> Option<(usize, Option<usize>)> {
        self.two_from(balancer.turn.fetch_add(1, Ordering::Relaxed), will_do)
    }

    fn two_from(
        &self,
        start: usize,
        will_do: impl Fn(usize) -> bool,
    ) -> Option<(usize, Option<usize>)> {
        let count = self.turns.len();
        let mut following = (0..count)
            .map(|ahead| self.turns[start.wrapping_add(ahead) % count] as usize)
            .filter(|&index| will_do(index));
        let first = following.next()?;
        Some((first, following.find(|&index| index != first)))
    }

    /// Takes the next turn; `None` when no item has a weight.
    pub fn pick(&self, balancer: &Balancer) -> Option<usize> {
        match self.turns.as_slice() {
            [] => None,
            [only] => Some(*only as usize),
            turns => {
                let turn = balancer.turn.fetch_add(1, Ordering::Relaxed);
                Some(turns[turn % turns.len()] as usize)
            }
        }
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(weights: &[u32], picks: usize) -> Vec<usize> {
        let (schedule, balancer) = (Schedule::new(weights), Balancer::default());
        let mut counts = vec![0; weights.len()];
        for _ in 0..picks {
            if let Some(index) = schedule.pick(&balancer) {
                counts[index] += 1;
            }
        }
        counts
    }

    #[test]
    fn turns_are_shared_by_weight() {
        assert_eq!(shares(&[1, 1, 1], 9), [3, 3, 3]);
        assert_eq!(shares(&[9, 1], 100), [90, 10]);
        assert_eq!(shares(&[0, 5, 5], 10), [0, 5, 5]);
        assert_eq!(shares(&[7], 3), [3]);
    }

    #[test]
    fn no_weight_takes_no_turn() {
        assert_eq!(shares(&[], 3), [0usize; 0]);
        assert_eq!(shares(&[0, 0], 3), [0, 0]);
    }

    #[test]
    fn turns_alternate_smoothly() {
        assert_eq!(Schedule::new(&[2, 1]).turns, [0, 1, 0]);
    }

    #[test]
    fn two_in_turn_are_different_and_begin_with_each() {
        let (schedule, balancer) = (Schedule::new(&[1, 1, 1]), Balancer::default());
        let two: Vec<_> = (0..4)
            .map(|_| schedule.pick_two(&balancer, |index| index != 1))
            .collect();
        let expected = [(0, Some(2)), (2, Some(0)), (2, Some(0)), (0, Some(2))];
        assert_eq!(two, expected.map(Some));
        assert_eq!(
            schedule.pick_two(&balancer, |index| index == 1),
            Some((1, None))
        );
        assert_eq!(schedule.pick_two(&balancer, |_| false), None);
        let none = Schedule::new(&[]);
        assert_eq!(none.pick_two(&balancer, |_| true), None);
    }

    #[test]
    fn a_look_ahead_takes_no_turn() {
        let (schedule, balancer) = (Schedule::new(&[1, 1]), Balancer::default());
        for turn in [0, 1, 0, 1] {
            assert_eq!(schedule.pick(&balancer), Some(turn));
            let other = schedule.peek_two(&balancer, |index| index != turn);
            assert_eq!(other, Some((1 - turn, None)));
        }
    }

    #[test]
    fn huge_weights_scale_down_and_nobody_starves() {
        let schedule = Schedule::new(&[1_000_000, 1]);
        assert!(schedule.turns.len() <= MAX_TURNS as usize + 1);
        assert!(schedule.turns.contains(&1));
    }
}
