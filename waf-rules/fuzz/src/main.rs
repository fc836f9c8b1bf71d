//! Compares the checks of `waf-rules/src/inject` with libinjection.
//!
//!     PORTCULLIS_LIBINJECTION=libmodsecurity.so.3 cargo run --release -- fuzz INPUTS SEED
//!     ... -- combine
//!     ... -- speed
//!     ... -- record > ../src/inject/data/answers.txt
//!
//! `PORTCULLIS_CRS` names a folder with the tests of the CRS, which inputs are made from.

mod c;
mod compare;
#[path = "../../src/inject/mod.rs"]
mod inject;
mod inputs;
mod record;
mod seeds;
mod speed;

use std::{
    collections::BTreeSet,
    env,
    error::Error,
    path::{Path, PathBuf},
    time::Instant,
};

use fastrand::Rng;

use self::{c::C, seeds::Seeds};

/// After so many differences there is enough to look at.
const MOST_DIFFERENCES: usize = 20;

fn main() -> Result<(), Box<dyn Error>> {
    let library =
        env::var_os("PORTCULLIS_LIBINJECTION").ok_or("PORTCULLIS_LIBINJECTION names no library")?;
    let c = C::load(Path::new(&library))?;
    let crs = env::var_os("PORTCULLIS_CRS").map(PathBuf::from);
    let seeds = Seeds::read(crs.as_deref())?;
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["fuzz", inputs, seed] => fuzz(&c, &seeds, inputs.parse()?, seed.parse()?),
        ["combine"] => combine(&c, &seeds),
        ["speed"] => speed::measure(&c, &seeds),
        ["record"] => record::answers(&c, &seeds),
        _ => Err("fuzz INPUTS SEED, combine, speed or record".into()),
    }
}

fn fuzz(c: &C, seeds: &Seeds, inputs: u64, seed: u64) -> Result<(), Box<dyn Error>> {
    let mut random = Rng::with_seed(seed);
    let (mut differences, mut injections) = (0, 0);
    let start = Instant::now();
    for value in &seeds.values {
        differences += report(c, value);
    }
    for count in 1..=inputs {
        let input = inputs::make(&mut random, seeds);
        differences += report(c, &input);
        if inject::sql_fingerprint(&input).is_some() || inject::is_html_injection(&input) {
            injections += 1;
        }
        if count % 1_000_000 == 0 || count == inputs || differences >= MOST_DIFFERENCES {
            println!(
                "seed {seed}: {count} inputs, {injections} injections, {differences} differences, {:.0} s",
                start.elapsed().as_secs_f64()
            );
        }
        if differences >= MOST_DIFFERENCES {
            break;
        }
    }
    match differences {
        0 => Ok(()),
        _ => Err("there are differences".into()),
    }
}

/// Compares every two tokens, with and without a space, and every three of those that are
/// no plain words.
fn combine(c: &C, seeds: &Seeds) -> Result<(), Box<dyn Error>> {
    let (mut inputs, mut differences) = (0_u64, 0);
    let mut compare = |parts: &[&[u8]]| {
        inputs += 1;
        differences += report(c, &parts.concat());
        if inputs % 5_000_000 == 0 {
            println!("{inputs} inputs, {differences} differences");
        }
        differences < MOST_DIFFERENCES
    };
    for first in &seeds.tokens {
        for second in &seeds.tokens {
            if !compare(&[first, second]) || !compare(&[first, b" ", second]) {
                return Err("there are differences".into());
            }
        }
    }
    let few: BTreeSet<&Vec<u8>> = seeds.tokens[..seeds.few].iter().collect();
    for first in &few {
        for second in &few {
            for third in &few {
                if !compare(&[first, second, third]) {
                    return Err("there are differences".into());
                }
            }
        }
    }
    println!("{inputs} inputs, {differences} differences");
    match differences {
        0 => Ok(()),
        _ => Err("there are differences".into()),
    }
}

/// Prints a difference, and returns how many there are.
fn report(c: &C, input: &[u8]) -> usize {
    if compare::difference(c, input).is_none() {
        return 0;
    }
    let small = compare::shrink(c, input);
    let what = compare::difference(c, &small).unwrap_or_default();
    println!("{what}: {}", small.escape_ascii());
    1
}
