//! Names of `TX` and of other collections, as rules ask for them.

use std::sync::{
    Arc, LazyLock, Mutex, OnceLock, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use ahash::RandomState;

use crate::secrets::SecretNames;

/// Names that have a number. The CRS has some 350; those behind them are found by hash.
const NUMBERED: usize = 1024;

/// Cells that they are looked up in: twice as many, so that a search ends soon.
const CELLS: usize = 2 * NUMBERED;

/// One for the process, so that names of rules are hashed when they are compiled. Its
/// seeds are random: clients may choose names, where a rule makes them of what they sent.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// The names that have a number. Rules of all policies share them, and none is taken back:
/// requests read them without a lock.
static NUMBERS: Numbers = Numbers {
    cells: [const { OnceLock::new() }; CELLS],
    count: AtomicUsize::new(0),
    adding: Mutex::new(()),
};

/// A name that a rule asks for, in lower case.
#[derive(Clone, Debug)]
pub(crate) struct TxName {
    name: Arc<[u8]>,
    hash: u64,
    number: Option<usize>,
    /// Whether it is one of those that are known for secrets.
    is_secret: bool,
}

impl TxName {
    /// Takes the name of a rule, in any case.
    pub(crate) fn new(name: &[u8]) -> Self {
        let name = name.to_ascii_lowercase();
        Self {
            is_secret: SecretNames::default().has(&name),
            hash: hash_of(&name),
            number: None,
            name: name.into(),
        }
    }

    /// Takes the name that a rule has for a variable of `TX`, in any case.
    pub(crate) fn of_tx(name: &[u8]) -> Self {
        let name = Self::new(name);
        Self {
            number: NUMBERS.add(name.hash, &name.name),
            ..name
        }
    }

    /// Takes a name that was made for one transaction. Nothing is told by it.
    pub(crate) fn made(name: &[u8]) -> Self {
        let name = name.to_ascii_lowercase();
        let hash = hash_of(&name);
        Self {
            number: number_of(hash, &name),
            hash,
            is_secret: true,
            name: name.into(),
        }
    }

    /// Whether its value is a secret, by names that are always known.
    pub(crate) fn is_secret(&self) -> bool {
        self.is_secret
    }

    /// The name, in lower case.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.name
    }

    /// What it is found by among those without a number.
    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    /// Its number, if it has one.
    pub(super) fn number(&self) -> Option<usize> {
        self.number
    }
}

impl PartialEq for TxName {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for TxName {}

/// What a name is found by.
pub(super) fn hash_of(name: &[u8]) -> u64 {
    HASHER.hash_one(name)
}

/// The number of a name, if it has one.
pub(super) fn number_of(hash: u64, name: &[u8]) -> Option<usize> {
    NUMBERS.find(hash, name).ok()
}

/// How many names have a number by now.
pub(super) fn numbered() -> usize {
    NUMBERS.count.load(Ordering::Acquire)
}

/// A table that only grows, and that is read without a lock.
struct Numbers {
    cells: [OnceLock<(Box<[u8]>, usize)>; CELLS],
    /// Names that are in their cells.
    count: AtomicUsize,
    adding: Mutex<()>,
}

impl Numbers {
    /// The number of a name, or the cell that it would have.
    fn find(&self, hash: u64, name: &[u8]) -> Result<usize, usize> {
        let mut cell = hash as usize % CELLS;
        while let Some((known, number)) = self.cells[cell].get() {
            if **known == *name {
                return Ok(*number);
            }
            cell = (cell + 1) % CELLS;
        }
        Err(cell)
    }

    /// Gives a name a number, where there are any left.
    fn add(&self, hash: u64, name: &[u8]) -> Option<usize> {
        let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let cell = match self.find(hash, name) {
            Ok(number) => return Some(number),
            Err(cell) => cell,
        };
        let number = self.count.load(Ordering::Acquire);
        if number == NUMBERED {
            return None;
        }
        self.cells[cell].get_or_init(|| (name.into(), number));
        // A transaction that counts it finds it.
        self.count.store(number + 1, Ordering::Release);
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_number_however_it_came() {
        let name = TxName::of_tx(b"Of_A_Test");
        assert!(name.number().is_some());
        for same in [TxName::of_tx(b"of_a_test"), TxName::made(b"OF_A_TEST")] {
            assert_eq!(same.number(), name.number());
            assert_eq!(same, name);
        }
        assert_eq!(TxName::new(b"of_a_test").number(), None);
        assert_eq!(TxName::made(b"of_no_rule").number(), None);
        assert!(numbered() > name.number().unwrap());
    }

    #[test]
    fn numbers_end() {
        let numbers = Numbers {
            cells: [const { OnceLock::new() }; CELLS],
            count: AtomicUsize::new(0),
            adding: Mutex::new(()),
        };
        let add = |at: usize| {
            let name = at.to_string();
            numbers.add(hash_of(name.as_bytes()), name.as_bytes())
        };
        for at in 0..NUMBERED {
            assert_eq!(add(at), Some(at));
        }
        assert_eq!(add(NUMBERED), None);
        assert_eq!(add(7), Some(7));
    }
}
