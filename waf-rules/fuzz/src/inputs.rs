//! Makes inputs.

use fastrand::Rng;

use crate::seeds::Seeds;

/// The longest input.
const LONGEST: usize = 1 << 16;

/// Makes one input, by one of several ways.
pub fn make(random: &mut Rng, seeds: &Seeds) -> Vec<u8> {
    let mut input = match random.u32(0..16) {
        0..=6 => tokens(random, seeds),
        7..=11 => pick(random, &seeds.values).clone(),
        12 => [tokens(random, seeds), pick(random, &seeds.values).clone()].concat(),
        13 => splice(random, seeds),
        14 => bytes(random),
        _ => pick(random, &seeds.tokens).clone(),
    };
    if random.u32(0..3) > 0 {
        for _ in 0..random.usize(1..5) {
            mutate(random, seeds, &mut input);
        }
    }
    if random.u32(0..4000) == 0 {
        let unit = input.clone();
        let times = random.usize(2..4000).min(LONGEST / unit.len().max(1));
        for _ in 0..times {
            input.extend_from_slice(&unit);
        }
        input.extend(tokens(random, seeds));
    }
    input.truncate(LONGEST);
    input
}

fn pick<'a, T>(random: &mut Rng, from: &'a [T]) -> &'a T {
    &from[random.usize(..from.len())]
}

/// Tokens one after the other: of all, of those that are no plain words, or of very few,
/// so that they meet in every order.
fn tokens(random: &mut Rng, seeds: &Seeds) -> Vec<u8> {
    let few = &seeds.tokens[..seeds.few];
    let pool: Vec<&Vec<u8>> = match random.u8(0..4) {
        0 => Vec::new(),
        1 => few.iter().collect(),
        2 => (0..5).map(|_| pick(random, few)).collect(),
        _ => (0..6).map(|_| pick(random, &seeds.tokens)).collect(),
    };
    let mut out = Vec::new();
    let spaced = random.bool();
    for _ in 0..random.usize(1..14) {
        let token = match pool.is_empty() {
            true => pick(random, &seeds.tokens),
            false => *pick(random, &pool),
        };
        match random.u8(0..3) {
            0 => out.extend(token.to_ascii_lowercase()),
            _ => out.extend_from_slice(token),
        }
        if spaced && random.u8(0..4) > 0 {
            out.push(b' ');
        }
    }
    out
}

/// Bytes of a few kinds only, so that short combinations are all met.
fn bytes(random: &mut Rng) -> Vec<u8> {
    const ALPHABETS: [&[u8]; 4] = [
        b"'\"`\\aN1 (),-/*#;=",
        b"<>/!-=\0 a[]%&#'\"`x",
        b"0123456789.eExXbBdDfFuU+-$, \0",
        b"nNqQeEuUbBxX'&()<[{! 01a\xff\xa0",
    ];
    let any = random.u8(0..5) == 0;
    let alphabet = *pick(random, &ALPHABETS);
    let length = random.usize(0..24);
    (0..length)
        .map(|_| {
            if any {
                random.u8(..)
            } else {
                *pick(random, alphabet)
            }
        })
        .collect()
}

/// The start of one value and the end of another.
fn splice(random: &mut Rng, seeds: &Seeds) -> Vec<u8> {
    let (first, second) = (pick(random, &seeds.values), pick(random, &seeds.values));
    let (end, start) = (random.usize(..=first.len()), random.usize(..=second.len()));
    [&first[..end], &second[start..]].concat()
}

fn mutate(random: &mut Rng, seeds: &Seeds, input: &mut Vec<u8>) {
    let at = random.usize(..=input.len());
    let end = (at + random.usize(0..8)).min(input.len());
    match random.u8(0..8) {
        0 => drop(input.drain(at..end)),
        1 | 2 => {
            let token = pick(random, &seeds.tokens).clone();
            drop(input.splice(at..at, token));
        }
        3 => {
            let token = pick(random, &seeds.tokens).clone();
            drop(input.splice(at..end, token));
        }
        4 => {
            let part = input[at..end].to_vec();
            drop(input.splice(at..at, part));
        }
        5 => {
            if let Some(byte) = input.get_mut(at) {
                *byte = random.u8(..);
            }
        }
        6 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 0x20;
            }
        }
        _ => input.truncate(at),
    }
}
