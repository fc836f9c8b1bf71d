//! Prints inputs with the answers of the C library, for the test of `waf-rules`.

use std::{collections::HashMap, error::Error, io::Write};

use fastrand::Rng;

use crate::{
    c::{C, Value},
    inputs,
    seeds::Seeds,
};

/// Longer values are left out: the file is read by people too.
const LONGEST: usize = 120;

/// So many values with the same answer are enough.
const OF_ONE_ANSWER: usize = 3;

/// So many are enough where nothing is found.
const OF_NOTHING: usize = 700;

/// So many inputs are tried.
const INPUTS: usize = 2_000_000;

pub fn answers(c: &C, seeds: &Seeds) -> Result<(), Box<dyn Error>> {
    let mut random = Rng::with_seed(1);
    let mut counts = HashMap::<String, usize>::new();
    let mut lines = Vec::new();
    let mut values = seeds.values.clone();
    random.shuffle(&mut values);
    let made = (0..INPUTS).map(|_| inputs::make(&mut random, seeds));
    for input in values.into_iter().chain(made) {
        if input.len() > LONGEST {
            continue;
        }
        let value = Value::new(&input);
        let sql = c.sqli(&value).unwrap_or_else(|| b"-".to_vec());
        let html = if c.xss(&value) { "html" } else { "-" };
        let answer = format!("{} {html}", sql.escape_ascii());
        let count = counts.entry(answer.clone()).or_default();
        *count += 1;
        let most = match answer.contains('-') {
            true if answer == "- -" || answer == "- html" => OF_NOTHING,
            _ => OF_ONE_ANSWER,
        };
        if *count <= most {
            lines.push(format!("{answer} {}", escaped(&input)));
        }
    }
    lines.sort();
    lines.dedup();
    let mut out = std::io::stdout().lock();
    for line in lines {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// Visible characters as they are, but for `%`; other bytes as in URLs.
fn escaped(input: &[u8]) -> String {
    input
        .iter()
        .map(|&byte| match byte {
            b' '..=b'~' if byte != b'%' => char::from(byte).to_string(),
            _ => format!("%{byte:02x}"),
        })
        .collect()
}
