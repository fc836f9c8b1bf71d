//! Medians, ranges and ratios of small samples.
//!
//! A comparison has few rounds and a noisy machine under it, so the median
//! stands for the sample and the range shows how far to believe it. Nothing
//! here assumes a distribution.

use serde::Serialize;

/// The middle and the ends of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The middle value; of an even number of values, the mean of the middle two.
    pub median: f64,
    /// The smallest value.
    pub min: f64,
    /// The largest value.
    pub max: f64,
}

impl Spread {
    /// Returns the spread of a sample, or `None` when it is empty.
    ///
    /// # Examples
    ///
    /// ```
    /// use portcullis_load_tests::stats::Spread;
    ///
    /// let spread = Spread::of(&[3.0, 1.0, 2.0]).unwrap();
    /// assert_eq!((spread.min, spread.median, spread.max), (1.0, 2.0, 3.0));
    /// ```
    pub fn of(sample: &[f64]) -> Option<Self> {
        let mut sorted = sample.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        };
        Some(Self { median, min, max })
    }

    /// Returns the spread of `of[i] / to[i]`, each pair from one round, or
    /// `None` when there is no pair.
    ///
    /// The quotient of two medians would mix rounds; the median of quotients
    /// compares only what ran side by side.
    pub fn of_ratios(of: &[f64], to: &[f64]) -> Option<Self> {
        let ratios: Vec<f64> = of.iter().zip(to).map(|(of, to)| of / to).collect();
        Self::of(&ratios)
    }
}

/// Returns the items in the order of a round: each round starts one further.
///
/// Whoever runs first in a round may find a quieter or a colder machine;
/// rotation spreads that over everybody.
pub fn rotated<T: Copy>(items: &[T], round: usize) -> Vec<T> {
    let mut order = items.to_vec();
    if !order.is_empty() {
        order.rotate_left(round % items.len());
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_odd_sample_has_its_middle_value_as_median() {
        let spread = Spread::of(&[5.0, 1.0, 9.0, 3.0, 7.0]).unwrap();
        assert_eq!(
            spread,
            Spread {
                median: 5.0,
                min: 1.0,
                max: 9.0
            }
        );
    }

    #[test]
    fn an_even_sample_has_the_mean_of_the_middle_two_as_median() {
        assert_eq!(Spread::of(&[4.0, 1.0, 2.0, 8.0]).unwrap().median, 3.0);
    }

    #[test]
    fn an_empty_sample_has_no_spread() {
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(Spread::of_ratios(&[], &[1.0]), None);
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // A slow second round slows both alike: every ratio stays 2.
        let ratios = Spread::of_ratios(&[20.0, 60.0, 22.0], &[10.0, 30.0, 11.0]).unwrap();
        assert_eq!((ratios.min, ratios.median, ratios.max), (2.0, 2.0, 2.0));
    }

    #[test]
    fn every_item_stands_first_once_in_as_many_rounds() {
        assert_eq!(rotated(&[1, 2, 3], 0), [1, 2, 3]);
        assert_eq!(rotated(&[1, 2, 3], 1), [2, 3, 1]);
        assert_eq!(rotated(&[1, 2, 3], 5), [3, 1, 2]);
        assert!(rotated::<u8>(&[], 4).is_empty());
    }
}
