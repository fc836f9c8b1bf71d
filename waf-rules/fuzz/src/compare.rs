//! Compares the two, and shrinks what they differ in.

use crate::{
    c::{C, Value},
    inject,
};

/// The flags of libinjection for the contexts of `inject::sql_readings`.
pub const SQL_CONTEXTS: [i32; 6] = [1 | 8, 1 | 16, 2 | 8, 2 | 16, 4 | 8, 4 | 16];

/// Returns what differs for an input.
pub fn difference(c: &C, input: &[u8]) -> Option<String> {
    let value = Value::new(input);
    let theirs = c.sqli(&value);
    let ours = inject::sql_fingerprint(input).map(|found| found.as_bytes().to_vec());
    if ours != theirs {
        return Some(format!("SQL: C {}, ours {}", show(&theirs), show(&ours)));
    }
    let (theirs, ours) = (c.xss(&value), inject::is_html_injection(input));
    if ours != theirs {
        return Some(format!("HTML: C {theirs}, ours {ours}"));
    }
    if input.is_empty() {
        return None;
    }
    // Without the quote a context has one string, and its reading tells nothing.
    let has = |quote| input.contains(&quote);
    let told = [true, true, has(b'\''), has(b'\''), has(b'"'), has(b'"')];
    let ours = inject::sql_readings(input);
    for ((flags, ours), _) in SQL_CONTEXTS
        .into_iter()
        .zip(ours)
        .zip(told)
        .filter(|all| all.1)
    {
        let (letters, found) = c.fingerprint(&value, flags);
        if letters != ours.0.as_bytes() || found != ours.1 {
            let ours = (ours.0.as_bytes().escape_ascii().to_string(), ours.1);
            return Some(format!(
                "SQL {flags}: C {:?}, ours {ours:?}",
                (letters.escape_ascii().to_string(), found)
            ));
        }
    }
    for (flags, ours) in (0..5).zip(inject::html_readings(input)) {
        // The verdict is that of all contexts, so where it is none each is none.
        let theirs = theirs && c.xss_in(&value, flags);
        if ours != theirs {
            return Some(format!("HTML {flags}: C {theirs}, ours {ours}"));
        }
    }
    None
}

/// Returns the smallest input that still differs, by taking parts away.
pub fn shrink(c: &C, input: &[u8]) -> Vec<u8> {
    let mut input = input.to_vec();
    let mut size = input.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at < input.len() {
            let end = (at + size).min(input.len());
            let smaller = [&input[..at], &input[end..]].concat();
            match difference(c, &smaller) {
                Some(_) => input = smaller,
                None => at += size,
            }
        }
        size /= 2;
    }
    input
}

fn show(fingerprint: &Option<Vec<u8>>) -> String {
    match fingerprint {
        Some(letters) => letters.escape_ascii().to_string(),
        None => "nothing".into(),
    }
}
