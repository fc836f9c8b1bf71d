//! The same endpoint for the same key.
//!
//! Rendezvous hashing: each pair of a key and an endpoint has a score, and the
//! highest wins. When an endpoint goes, only its keys move, each to the next in its
//! own order, so that they spread over all others; when one comes, only what it wins
//! moves. Weights are exact (a share of the score, after Schindler and Wang). There is
//! no table to be built and none to be kept; a choice looks at each
//! endpoint, for some 15 ns each, 40 where weights differ.
//!
//! All gateway processes, and all versions, must choose the same: the tests pin it.

use sha2::{Digest, Sha256};

/// The hash of a key, or of an endpoint's name.
pub fn hash(bytes: &[u8]) -> u64 {
    let digest = Sha256::digest(bytes);
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(first)
}

/// Chooses among `(position, hash of the name, weight)` the one with the best score
/// for a key; weight 0 is never chosen.
pub(super) fn choose(key: u64, among: impl Iterator<Item = (usize, u64, u32)>) -> Option<usize> {
    let mut best: Option<(f64, u32, usize)> = None;
    for (position, name, weight) in among {
        if weight == 0 {
            continue;
        }
        // From 0 to 1, without both.
        let unit = ((mix(key ^ name) >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        let wins = match best {
            None => true,
            // The same order as below, without its logarithms.
            Some((other, same, _)) if same == weight => unit > other,
            Some((other, other_weight, _)) => wait(unit, weight) < wait(other, other_weight),
        };
        if wins {
            best = Some((unit, weight, position));
        }
    }
    best.map(|(.., position)| position)
}

/// A time to wait, the shorter the greater the weight; who waits least wins.
fn wait(unit: f64, weight: u32) -> f64 {
    -unit.ln() / f64::from(weight)
}

/// Spreads every bit over all (the finaliser of SplitMix64).
fn mix(mut bits: u64) -> u64 {
    bits ^= bits >> 30;
    bits = bits.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits ^= bits >> 27;
    bits = bits.wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: u64 = 20_000;

    fn endpoints(weights: &[(u32, u32)]) -> Vec<(usize, u64, u32)> {
        weights
            .iter()
            .map(|&(name, weight)| {
                let name = hash(format!("10.0.0.{name}:8080").as_bytes());
                (name as usize, name, weight)
            })
            .collect()
    }

    fn choices(endpoints: &[(usize, u64, u32)]) -> Vec<usize> {
        (0..KEYS)
            .map(|key| {
                let key = hash(format!("user-{key}").as_bytes());
                choose(key, endpoints.iter().copied()).expect("there is one")
            })
            .collect()
    }

    fn share(choices: &[usize], endpoint: &(usize, u64, u32)) -> f64 {
        let count = choices
            .iter()
            .filter(|&&choice| choice == endpoint.0)
            .count();
        count as f64 / choices.len() as f64
    }

    #[test]
    fn keys_are_shared_by_weight() {
        let endpoints = endpoints(&[(1, 1), (2, 2), (3, 7), (4, 0)]);
        let choices = choices(&endpoints);
        for (endpoint, expected) in endpoints.iter().zip([0.1, 0.2, 0.7, 0.0]) {
            let share = share(&choices, endpoint);
            assert!((share - expected).abs() < 0.015, "{share} for {expected}");
        }
    }

    #[test]
    fn only_the_keys_of_what_goes_move_and_spread_over_the_others() {
        let all = endpoints(&[(1, 1), (2, 1), (3, 1), (4, 1), (5, 1)]);
        let (gone, left) = (all[2], [all[0], all[1], all[3], all[4]]);
        let (before, after) = (choices(&all), choices(&left));
        let mut moved = Vec::new();
        for (before, after) in before.iter().zip(&after) {
            if *before == gone.0 {
                moved.push(*after);
            } else {
                assert_eq!(before, after);
            }
        }
        for endpoint in &left {
            let share = share(&moved, endpoint);
            assert!((share - 0.25).abs() < 0.03, "{share}");
        }
    }

    #[test]
    fn more_weight_for_one_moves_keys_to_it_alone() {
        let before = choices(&endpoints(&[(1, 1), (2, 1), (3, 1)]));
        let heavier = endpoints(&[(1, 1), (2, 3), (3, 1)]);
        let after = choices(&heavier);
        for (before, after) in before.iter().zip(&after) {
            assert!(before == after || *after == heavier[1].0);
        }
    }

    #[test]
    fn the_order_of_endpoints_does_not_matter() {
        let mut endpoints = endpoints(&[(1, 1), (2, 1), (3, 1)]);
        let before = choices(&endpoints);
        endpoints.reverse();
        assert_eq!(before, choices(&endpoints));
    }

    #[test]
    fn a_choice_is_the_same_in_every_version() {
        let names: Vec<_> = (1..=5)
            .map(|n| (n, hash(format!("10.0.0.{n}:8080").as_bytes()), 1))
            .collect();
        let chosen: Vec<_> = ["", "alice", "bob", "203.0.113.7", "/a/b"]
            .iter()
            .map(|key| choose(hash(key.as_bytes()), names.iter().copied()))
            .collect();
        assert_eq!(chosen, [4, 3, 5, 4, 1].map(Some));
    }
}
