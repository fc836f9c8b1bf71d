//! What chains make of the values of one variable, each step taken once.
//!
//! ```text
//! value --urlDecodeUni--> output --htmlEntityDecode--> itself --jsDecode--> output ...
//!    \----lowercase-----> output
//! ```
//!
//! Most chains begin alike, and undo the same few escapes: what they make of a value is
//! mostly the same.

use ahash::AHashMap;

use super::{Bits, Kinds, Plan, plan::Chain};
use crate::transformations::Classes;

/// Bytes of one output that are kept for the next rule with its chain.
const MAX_KEPT: usize = 8 << 10;

/// Room for as many outputs as most variables have besides two for each value, and for bytes of
/// each.
const USUAL: usize = 4;
const USUAL_BYTES: usize = 16;

const NONE: u32 = u32::MAX;

/// Of a number with this bit the rest is a set: what was found in an output that is not kept.
const SET: u32 = 1 << 31;

/// Sets that are told apart. What is found in values is mostly the same.
const MOST_SETS: usize = 1024;

/// The outputs so far. Those with the numbers of values are the values themselves.
#[derive(Debug)]
pub(super) struct Outputs {
    values: u32,
    outputs: Vec<Output>,
    /// By output and transformation, what the one becomes by the other.
    steps: Vec<u32>,
    stride: usize,
    /// What was found in outputs that are not kept, and the set that says it.
    sets: AHashMap<Box<[u64]>, u32>,
    /// The set of all conditions, which stands for what there is no room to tell apart.
    any: Option<u32>,
    bits: Bits,
    bytes: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Output {
    /// The part of `bytes` that it is, where it is kept.
    part: Option<(usize, usize)>,
    kinds: Kinds,
    /// An output that differs in nothing but case.
    alike: u32,
    /// Which set of `bits` is its, where anybody has looked.
    bits: u32,
    /// Another output of the same value.
    next: u32,
}

/// Where the work on one value stands.
pub(super) struct Room<'a> {
    pub(super) plan: &'a Plan,
    /// Bytes that may be kept.
    pub(super) bytes: usize,
}

impl Outputs {
    /// None yet, of values of these classes.
    pub(super) fn new(plan: &Plan, values: &[Classes]) -> Self {
        let all = values.iter().zip(0..).map(|(classes, number)| Output {
            part: None,
            // What a literal could be in is looked for in the values themselves.
            kinds: Kinds::of(*classes),
            alike: number,
            bits: NONE,
            next: NONE,
        });
        let (room, stride) = (values.len() * 2 + USUAL, plan.transformations());
        let mut outputs = Vec::with_capacity(room);
        outputs.extend(all);
        let mut steps = Vec::with_capacity(room * stride);
        steps.resize(values.len() * stride, NONE);
        Self {
            values: values.len() as u32,
            outputs,
            steps,
            stride,
            sets: AHashMap::new(),
            any: None,
            bits: Bits::with_capacity(plan.conditions(), room),
            bytes: Vec::with_capacity(room * USUAL_BYTES),
        }
    }

    /// Bytes that all of them take.
    pub(super) fn memory(&self) -> usize {
        self.outputs.capacity() * size_of::<Output>()
            + self.steps.capacity() * size_of::<u32>()
            + self.bits.memory()
            + self.sets.len() * (size_of::<(Box<[u64]>, u32)>() + self.bits.bytes_of_one())
            + self.bytes.capacity()
    }

    /// Bytes that are kept for outputs.
    pub(super) fn kept(&self) -> usize {
        let made = self.outputs.len() - self.values as usize;
        self.bytes.len() + made * self.overhead()
    }

    /// Bytes that an output takes besides its own.
    fn overhead(&self) -> usize {
        size_of::<Output>() + self.stride * size_of::<u32>() + self.bits.bytes_of_one()
    }

    /// What a chain makes of a value; `None` where that is the value itself, but for case.
    pub(super) fn of(
        &mut self,
        at: u32,
        value: &[u8],
        chain: &Chain,
        mut room: Room<'_>,
    ) -> Option<u32> {
        let mut now = at;
        let mut steps = chain.steps();
        while let Some((index, transformation, touches)) = steps.next() {
            let output = &self.outputs[now as usize];
            if !output.kinds.classes().meets(touches) {
                continue;
            }
            let step = now as usize * self.stride + index;
            now = match self.steps[step] {
                NONE => {
                    let input = self.bytes_of(now, value);
                    let next = match transformation.changed(input) {
                        None => now,
                        Some(mut output) => match self.find_or_add(at, value, &output, &mut room) {
                            Some(next) => next,
                            None => {
                                for (_, transformation, _) in steps {
                                    let next = transformation.changed(&output);
                                    output = next.unwrap_or(output);
                                }
                                return self.unkept(value, &output, &mut room);
                            }
                        },
                    };
                    self.steps[step] = next;
                    next
                }
                known => known,
            };
        }
        let alike = self.outputs[now as usize].alike;
        if alike < self.values {
            return None;
        }
        self.look(alike, &mut room);
        Some(now)
    }

    /// Finds an output among those of a value, or adds it where there is room.
    fn find_or_add(
        &mut self,
        at: u32,
        value: &[u8],
        output: &[u8],
        room: &mut Room<'_>,
    ) -> Option<u32> {
        if output.len() > MAX_KEPT {
            return None;
        }
        let mut alike = NONE;
        let mut number = at;
        while number != NONE {
            let known = self.bytes_of(number, value);
            if known == output {
                return Some(number);
            }
            let next = self.outputs[number as usize].next;
            if alike == NONE && known.eq_ignore_ascii_case(output) {
                alike = self.outputs[number as usize].alike;
            }
            number = next;
        }
        let kept = self.kept() + self.overhead() + output.len();
        if kept > room.bytes {
            return None;
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(output);
        let part = Some((start, self.bytes.len()));
        let number = self.add(at, part, room.plan.kinds(output), alike);
        self.steps.resize(self.outputs.len() * self.stride, NONE);
        Some(number)
    }

    /// Looks for literals in what is too large to be kept, or for which there is no room.
    fn unkept(&mut self, value: &[u8], output: &[u8], room: &mut Room<'_>) -> Option<u32> {
        if output.eq_ignore_ascii_case(value) {
            return None;
        }
        let kinds = room.plan.kinds(output);
        let set = find(&mut self.bits, output, kinds, room);
        let found = self.bits.get(set as usize);
        let set = match self.sets.get(found) {
            Some(known) => {
                let known = *known;
                self.bits.pop();
                known
            }
            None if self.sets.len() < MOST_SETS => {
                self.sets.insert(found.into(), set);
                set
            }
            // A rule that asks for it finds out for itself.
            None => {
                self.bits.last().fill(u64::MAX);
                let any = *self.any.get_or_insert(set);
                if any != set {
                    self.bits.pop();
                }
                any
            }
        };
        Some(SET | set)
    }

    fn add(&mut self, at: u32, part: Option<(usize, usize)>, kinds: Kinds, alike: u32) -> u32 {
        // Fewer than the bytes of a request.
        let number = self.outputs.len() as u32;
        let first = &mut self.outputs[at as usize].next;
        let next = std::mem::replace(first, number);
        self.outputs.push(Output {
            part,
            kinds,
            alike: if alike == NONE { number } else { alike },
            bits: NONE,
            next,
        });
        number
    }

    /// Looks for literals in an output, once.
    fn look(&mut self, number: u32, room: &mut Room<'_>) {
        let output = &self.outputs[number as usize];
        if output.bits == NONE
            && let Some((start, end)) = output.part
        {
            let kinds = output.kinds;
            let found = find(&mut self.bits, &self.bytes[start..end], kinds, room);
            self.outputs[number as usize].bits = found;
        }
    }

    fn bytes_of<'v>(&'v self, number: u32, value: &'v [u8]) -> &'v [u8] {
        self.get(number).unwrap_or(value)
    }

    /// An output, where it is kept.
    pub(super) fn get(&self, number: u32) -> Option<&[u8]> {
        let (start, end) = self.outputs.get(number as usize)?.part?;
        Some(&self.bytes[start..end])
    }

    /// Whether an output may match a condition.
    pub(super) fn may_match(&self, number: u32, condition: u32) -> bool {
        self.bits.has(self.set_of(number), condition)
    }

    /// The conditions that an output may match.
    pub(super) fn conditions(&self, number: u32) -> &[u64] {
        self.bits.get(self.set_of(number))
    }

    fn set_of(&self, number: u32) -> usize {
        if number & SET != 0 {
            return (number & !SET) as usize;
        }
        let alike = self.outputs[number as usize].alike;
        self.outputs[alike as usize].bits as usize
    }
}

/// The set of what is found in an output. Literals are found in any case.
fn find(bits: &mut Bits, output: &[u8], kinds: Kinds, room: &mut Room<'_>) -> u32 {
    let set = bits.push();
    room.plan.find(output, kinds, bits.last());
    set
}
