//! Prints inputs with the answers of the C library, for the test of `waf-rules`.
//!
//! A line has the fingerprint of the verdict, or `-`; a digit for each context of HTML; the
//! fingerprint in each context of SQL behind a `+` where it is that of an injection, and
//! behind a `-` where not; and the value.

use std::{collections::HashMap, error::Error, io::Write};

use fastrand::Rng;

use crate::{
    c::{C, Value},
    compare::SQL_CONTEXTS,
    inputs,
    seeds::Seeds,
};

/// Inputs that few others are like.
const CASES: &str = include_str!("../cases.txt");

/// Longer values are left out: the file is read by people too.
const LONGEST: usize = 80;

/// So many values with one fingerprint are enough.
const OF_ONE_FINGERPRINT: usize = 2;

/// So many are enough where no SQL is found, and no two have the same answers.
const OF_NOTHING: usize = 1500;

/// So many inputs are tried.
const INPUTS: usize = 1_000_000;

pub fn answers(c: &C, seeds: &Seeds) -> Result<(), Box<dyn Error>> {
    let mut random = Rng::with_seed(1);
    let mut fingerprints = HashMap::<String, usize>::new();
    let mut lines = HashMap::<String, String>::new();
    for case in CASES.lines() {
        let input = unescaped(case);
        let (_, answers) = answers_for(c, &input);
        lines.insert(format!("{answers} {case}"), escaped(&input));
    }
    let mut values = seeds.values.clone();
    random.shuffle(&mut values);
    let made = (0..INPUTS).map(|_| inputs::make(&mut random, seeds));
    for input in values.into_iter().chain(made) {
        if input.is_empty() || input.len() > LONGEST {
            continue;
        }
        let (fingerprint, answers) = answers_for(c, &input);
        if lines.contains_key(&answers) {
            continue;
        }
        let most = match fingerprint.as_str() {
            "-" => OF_NOTHING,
            _ => OF_ONE_FINGERPRINT,
        };
        let count = fingerprints.entry(fingerprint).or_default();
        if *count < most {
            *count += 1;
            lines.insert(answers, escaped(&input));
        }
    }
    let line = |(answers, value): (String, String)| {
        let answers: Vec<&str> = answers.split(' ').take(8).collect();
        format!("{} {value}", answers.join(" "))
    };
    let mut lines: Vec<String> = lines.into_iter().map(line).collect();
    lines.sort();
    lines.dedup();
    let mut out = std::io::stdout().lock();
    for line in lines {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// Returns the fingerprint of the verdict, and all answers.
fn answers_for(c: &C, input: &[u8]) -> (String, String) {
    let value = Value::new(input);
    let fingerprint = match c.sqli(&value) {
        Some(letters) => letters.escape_ascii().to_string(),
        None => "-".into(),
    };
    let html: String = (0..5)
        .map(|flags| if c.xss_in(&value, flags) { '1' } else { '0' })
        .collect();
    let sql = SQL_CONTEXTS.map(|flags| {
        let (letters, found) = c.fingerprint(&value, flags);
        let sign = if found { '+' } else { '-' };
        format!("{sign}{}", String::from_utf8_lossy(&letters))
    });
    let answers = format!("{fingerprint} {html} {}", sql.join(" "));
    (fingerprint, answers)
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

fn unescaped(text: &str) -> Vec<u8> {
    let mut parts = text.split('%');
    let mut value = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at(2);
        value.extend(u8::from_str_radix(digits, 16));
        value.extend_from_slice(rest.as_bytes());
    }
    value
}
