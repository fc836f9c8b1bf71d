//! Sets of conditions, many of one size beside each other.

/// As many sets as were pushed, each of `size` numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bits {
    words: Vec<u64>,
    stride: usize,
}

impl Bits {
    /// No set yet, with room for some.
    pub(crate) fn with_capacity(size: usize, sets: usize) -> Self {
        let stride = words(size);
        Self {
            words: Vec::with_capacity(stride * sets),
            stride,
        }
    }

    /// Bytes that all sets take.
    pub(crate) fn memory(&self) -> usize {
        self.words.capacity() * size_of::<u64>()
    }

    /// Bytes that one set takes.
    pub(crate) fn bytes_of_one(&self) -> usize {
        self.stride * size_of::<u64>()
    }

    /// Forgets every set.
    pub(crate) fn clear(&mut self) {
        self.words.clear();
    }

    /// Adds every number to the set that was pushed last.
    pub(crate) fn insert_everything(&mut self) {
        self.last().fill(u64::MAX);
    }

    /// Adds an empty set, and returns its number.
    pub(crate) fn push(&mut self) -> u32 {
        let number = self.words.len() / self.stride.max(1);
        self.words.resize(self.words.len() + self.stride, 0);
        number as u32
    }

    /// Takes back the set that was pushed last.
    pub(crate) fn pop(&mut self) {
        let start = self.words.len() - self.stride;
        self.words.truncate(start);
    }

    /// The set that was pushed last.
    pub(crate) fn last(&mut self) -> &mut [u64] {
        let start = self.words.len() - self.stride;
        &mut self.words[start..]
    }

    /// Adds all of a set to the set that was pushed last.
    pub(crate) fn insert_all(&mut self, set: &[u64]) {
        add(self.last(), set);
    }

    /// Adds the set of all numbers that are in any of the sets before it.
    pub(crate) fn push_union(&mut self) {
        let before = self.words.len();
        self.push();
        let (sets, all) = self.words.split_at_mut(before);
        for set in sets.chunks_exact(self.stride.max(1)) {
            add(all, set);
        }
    }

    /// A set by its number.
    pub(crate) fn get(&self, index: usize) -> &[u64] {
        let start = index * self.stride;
        self.words.get(start..start + self.stride).unwrap_or(&[])
    }

    /// Whether a number is in a set. In sets of nothing everything is: every rule looks for
    /// itself then.
    pub(crate) fn has(&self, index: usize, number: u32) -> bool {
        if self.stride == 0 {
            return true;
        }
        let word = index * self.stride + number as usize / 64;
        self.words
            .get(word)
            .is_some_and(|word| word >> (number % 64) & 1 == 1)
    }
}

/// Words that are added at once.
const LANES: usize = 4;

/// Words of a set of so many numbers.
pub(super) fn words(size: usize) -> usize {
    size.div_ceil(64).next_multiple_of(LANES)
}

/// Adds all of a set to another of the same [`words`].
pub(super) fn add(set: &mut [u64], more: &[u64]) {
    let (set, more) = (set.as_chunks_mut::<LANES>().0, more.as_chunks::<LANES>().0);
    for (lanes, more) in set.iter_mut().zip(more) {
        for (word, more) in lanes.iter_mut().zip(more) {
            *word |= more;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_kept_apart() {
        let mut bits = Bits::with_capacity(130, 1);
        bits.push();
        bits.last()[0] = 1;
        bits.last()[2] = 2;
        bits.push();
        bits.last()[1] = 1;
        let first = bits.get(0).to_vec();
        bits.push();
        bits.insert_all(&first);
        let has = |set, number| bits.has(set, number);
        assert!(has(0, 0) && has(0, 129) && !has(0, 64));
        assert!(has(1, 64) && !has(1, 0));
        assert!(has(2, 0) && has(2, 129) && !has(2, 64));
        assert!(!has(3, 0));
        bits.push_union();
        let has = |set, number| bits.has(set, number);
        assert!(has(3, 0) && has(3, 64) && has(3, 129) && !has(3, 1));
        assert!(Bits::with_capacity(0, 1).has(0, 7));
    }
}
