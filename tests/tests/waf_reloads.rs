//! Reloads of WAF rules leave no growth of the process.

use portcullis_tests::{Gateway, raw, status_of};

/// Reloads before the first look: until the allocator has what it keeps.
const WARM_UP: usize = 10;
/// Looks at the beginning, and at the end.
const LOOKS: usize = 20;
const RELOADS: usize = 50;

/// Bytes that are within what an allocator moves about on average; between two looks it is twice that.
const MOST: usize = 12 << 20;

fn config(number: usize) -> String {
    format!(
        "
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
wafProfiles:
  - name: own
    rules:
      - builtin: baseline
      - inline: 'SecRule ARGS \"@rx word{number}\" \"id:1,phase:2,deny,status:409\"'
routes:
  - name: a
    policies: {{waf: {{profile: own, threshold: {threshold}}}}}
    rules: [{{backends: [{{name: one}}]}}]
backends: [{{name: one, endpoints: [{{address: '127.0.0.1:9'}}]}}]
",
        threshold = 5 + number
    )
}

#[test]
fn reloads_of_rules_leave_no_growth() {
    let gateway = Gateway::start(&config(0));
    let mut looks = Vec::new();
    for number in 1..=RELOADS {
        gateway.reload(&config(number));
        let request =
            format!("GET /?q=word{number} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
        let answer = raw(gateway.http(), request.as_bytes());
        assert_eq!(status_of(&answer), 409, "{answer}");
        looks.push(gateway.resident());
    }
    // How many generations are there at a look is chance.
    let average = |looks: &[usize]| looks.iter().sum::<usize>() / looks.len();
    let before = average(&looks[WARM_UP..WARM_UP + LOOKS]);
    let grown = average(&looks[RELOADS - LOOKS..]).saturating_sub(before);
    println!(
        "{RELOADS} reloads: {} KiB more, of {} KiB",
        grown >> 10,
        before >> 10
    );
    assert!(before > 0 && grown <= MOST, "{looks:?}");
}
