//! What chains make of the values of one variable, each output once.
//!
//! Most chains undo the same few escapes, so what they make of a value is mostly the same.

use super::{Bits, ByteSet, Plan, Seen};

/// Bytes of one output that are kept for the next rule with its chain.
const MAX_KEPT: usize = 8 << 10;

const NONE: u32 = u32::MAX;

/// The outputs so far.
#[derive(Debug)]
pub(super) struct Outputs {
    /// By value, the last of its outputs.
    last: Vec<u32>,
    outputs: Vec<Output>,
    bits: Bits,
    bytes: Vec<u8>,
}

#[derive(Debug)]
struct Output {
    /// The part of `bytes` that it is, where it is kept.
    part: Option<(usize, usize)>,
    /// Which set of `bits` is its.
    bits: u32,
    /// Another output of the same value.
    next: u32,
}

impl Outputs {
    /// No output yet.
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            last: Vec::new(),
            outputs: Vec::new(),
            bits: Bits::new(plan.conditions()),
            bytes: Vec::new(),
        }
    }

    /// Bytes that all of them take.
    pub(super) fn memory(&self) -> usize {
        self.last.capacity() * size_of::<u32>()
            + self.outputs.capacity() * size_of::<Output>()
            + self.bits.memory()
            + self.bytes.capacity()
    }

    /// Bytes that are kept.
    pub(super) fn kept(&self) -> usize {
        self.bytes.len()
    }

    /// Adds an output of the value `at`, and returns its number. It is kept where there is
    /// `room`.
    pub(super) fn add(
        &mut self,
        at: usize,
        output: &[u8],
        room: usize,
        plan: &Plan,
        seen: &mut Seen,
    ) -> u32 {
        if self.last.len() <= at {
            self.last.resize(at + 1, NONE);
        }
        let first = self.last[at];
        // Literals are found in any case.
        let mut alike = None;
        let mut number = first;
        while let Some(known) = self.outputs.get(number as usize) {
            if let Some((start, end)) = known.part {
                let bytes = &self.bytes[start..end];
                if bytes == output {
                    return number;
                }
                if bytes.eq_ignore_ascii_case(output) {
                    alike = Some(known.bits);
                }
            }
            number = known.next;
        }
        let bits = alike.unwrap_or_else(|| {
            let bits = &mut self.bits;
            let set = bits.push();
            let bytes = ByteSet::of(output);
            plan.find(output, bytes, seen, |condition| bits.insert(condition));
            set
        });
        let part = (output.len() <= room.min(MAX_KEPT)).then(|| {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(output);
            (start, self.bytes.len())
        });
        // Fewer than the bytes of a request.
        let number = self.outputs.len() as u32;
        self.last[at] = number;
        self.outputs.push(Output {
            part,
            bits,
            next: first,
        });
        number
    }

    /// An output, where it is kept.
    pub(super) fn get(&self, number: u32) -> Option<&[u8]> {
        let (start, end) = self.outputs[number as usize].part?;
        Some(&self.bytes[start..end])
    }

    /// Whether an output may match a condition.
    pub(super) fn may_match(&self, number: u32, condition: u32) -> bool {
        let output = &self.outputs[number as usize];
        self.bits.has(output.bits as usize, condition)
    }

    /// The conditions that an output may match.
    pub(super) fn conditions(&self, number: u32) -> &[u64] {
        let output = &self.outputs[number as usize];
        self.bits.get(output.bits as usize)
    }
}
