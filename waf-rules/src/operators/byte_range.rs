//! `@validateByteRange`.

use crate::{error::Complaint, prefilter::ByteSet};

/// The bytes that are allowed.
#[derive(Clone, Debug)]
pub(crate) struct ByteRange {
    allowed: [bool; 256],
}

impl ByteRange {
    /// Parses numbers and ranges separated by commas, such as `9,10,32-126`.
    pub(super) fn parse(list: &str) -> Result<Self, Complaint> {
        let mut range = Self {
            allowed: [false; 256],
        };
        for part in list.split(',').map(str::trim) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            match (first.trim().parse::<u8>(), last.trim().parse::<u8>()) {
                (Ok(first), Ok(last)) if first <= last => {
                    range.allowed[usize::from(first)..=usize::from(last)].fill(true);
                }
                _ => {
                    return Err(Complaint::new(format!(
                        "{part:?} is not a byte or a range of bytes"
                    )));
                }
            }
        }
        Ok(range)
    }

    /// The bytes that are not allowed.
    pub(super) fn others(&self) -> ByteSet {
        ByteSet::from_fn(|byte| !self.allowed[usize::from(byte)])
    }

    /// Tells whether every byte is allowed.
    pub(super) fn allows(&self, value: &[u8]) -> bool {
        value.iter().all(|byte| self.allowed[usize::from(*byte)])
    }
}
