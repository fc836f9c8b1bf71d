//! Measures both on the same values, in turns.

use std::{error::Error, hint::black_box, time::Instant};

use crate::{
    c::{C, Value},
    inject,
    seeds::Seeds,
};

/// Values of ordinary requests.
const ORDINARY: &[&str] = &[
    "1",
    "42",
    "true",
    "en-US",
    "hello",
    "John Smith",
    "user@shop.example",
    "2026-03-01T12:00:00Z",
    "550e8400-e29b-41d4-a716-446655440000",
    "/products/shoes/42",
    "price_asc",
    "red,green,blue",
    "https://shop.example/cart?item=7&next=%2Fcheckout",
    "The quick brown fox jumps over the lazy dog.",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36",
    "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "gzip, deflate, br",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
    "It's a nice day, isn't it? I'd say \"yes\".",
    "Select the best options from our union of stores",
];

const ROUNDS: u32 = 15;

pub fn measure(c: &C, seeds: &Seeds) -> Result<(), Box<dyn Error>> {
    let ordinary: Vec<Value> = ORDINARY
        .iter()
        .map(|text| Value::new(text.as_bytes()))
        .collect();
    let crs: Vec<Value> = seeds.values.iter().map(|value| Value::new(value)).collect();
    let long = "Lorem ipsum dolor sit amet, isn't it. ".repeat(400);
    let long = vec![Value::new(long.as_bytes())];
    for (name, values, times) in [
        ("ordinary", ordinary, 500),
        ("CRS tests", crs, 1),
        ("15 KB of text", long, 20),
    ] {
        let calls = f64::from(times) * values.len() as f64;
        let mut best = [f64::MAX; 4];
        for _ in 0..ROUNDS {
            let checks: [&dyn Fn(&Value) -> bool; 4] = [
                &|value| c.sqli(value).is_some(),
                &|value| inject::sql_fingerprint(value.bytes()).is_some(),
                &|value| c.xss(value),
                &|value| inject::is_html_injection(value.bytes()),
            ];
            for (best, check) in best.iter_mut().zip(checks) {
                let start = Instant::now();
                for _ in 0..times {
                    for value in &values {
                        black_box(check(black_box(value)));
                    }
                }
                *best = best.min(start.elapsed().as_secs_f64() * 1e9 / calls);
            }
        }
        let [c_sql, sql, c_html, html] = best;
        println!(
            "{name}: SQL {c_sql:.0} ns in C, {sql:.0} ns here ({:.1}); HTML {c_html:.0} ns in C, {html:.0} ns here ({:.1})",
            c_sql / sql,
            c_html / html
        );
    }
    Ok(())
}
