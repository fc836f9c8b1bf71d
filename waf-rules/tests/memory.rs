//! What rule sets take of the memory, by the resident size of this process.
//!
//! A test waits for the others here: they would see each other's memory.

#[path = "crs/setup.rs"]
mod setup;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use portcullis_waf::{
    Change, EngineMode, NoFiles, RuleSet, RuleText, Transaction, TransactionOptions, baseline,
};

static ALONE: Mutex<()> = Mutex::new(());

/// Bytes for the first policy with the CRS.
const FIRST: usize = 40 << 20;

/// Bytes for each further policy with other settings and exclusions.
const FURTHER: usize = 1 << 20;

/// The resident bytes of this process; `None` where the system does not tell.
fn resident() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kilobytes: usize = line.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes << 10)
}

fn alone() -> (std::sync::MutexGuard<'static, ()>, usize) {
    let guard = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    (guard, resident().expect("/proc is there"))
}

fn grown(before: usize) -> usize {
    resident().expect("/proc is there").saturating_sub(before)
}

fn crs() -> Option<PathBuf> {
    let path = std::env::var_os("PORTCULLIS_CRS").map(PathBuf::from);
    if path.is_none() {
        println!("skipped: PORTCULLIS_CRS does not say where the OWASP CRS is");
    }
    path
}

fn compile(crs: &std::path::Path) -> Arc<RuleSet> {
    let texts = setup::texts(crs, 1);
    setup::compile(crs, &texts).expect("the rules load")
}

/// A policy that differs from others by its number.
fn change(base: &RuleSet, number: u64) -> RuleSet {
    let settings = [
        ("blocking_paranoia_level", 1 + number % 4),
        ("detection_paranoia_level", 4),
        ("inbound_anomaly_score_threshold", 5 + number),
    ];
    let text = format!(
        "SecRuleRemoveById 942{:03}\nSecRuleRemoveByTag \"^attack-rce$\"\n\
         SecRuleUpdateTargetByTag \"^attack-sqli$\" \"!ARGS:field{number}\"\n",
        100 + number % 40 * 10
    );
    let after = [RuleText {
        name: "exclusions".into(),
        text,
    }];
    let change = Change {
        before: &[],
        settings: &settings,
        after: &after,
    };
    base.change(&change, &NoFiles).expect("the change compiles")
}

/// Runs one request, so that what is made at first use is made.
fn use_once(rules: &Arc<RuleSet>) {
    let options = TransactionOptions::new(EngineMode::On, "1".into(), SystemTime::UNIX_EPOCH);
    let mut transaction = Transaction::begin(rules.clone(), options);
    transaction.request_line(b"GET", b"/?id=1+union+select+2&q=<b>", "HTTP/1.1");
    transaction.request_header(b"Host", b"shop.example");
    let _ = transaction.request_headers_end();
    let _ = transaction.request_body_end();
    let _ = transaction.finish();
}

#[test]
fn policies_that_differ_little_share_what_is_large() {
    const POLICIES: usize = 200;
    let Some(crs) = crs() else { return };
    // The texts, and what compiling needs for a while, are not the policy's.
    drop(compile(&crs));
    let (_alone, before) = alone();
    let base = compile(&crs);
    let first = grown(before);
    use_once(&base);
    let before = resident().expect("/proc is there");
    let policies: Vec<Arc<RuleSet>> = (0..POLICIES as u64)
        .map(|number| Arc::new(change(&base, number)))
        .collect();
    let further = grown(before) / POLICIES;
    println!(
        "first policy: {} KiB resident; each further: {} KiB",
        first >> 10,
        further >> 10
    );
    policies.iter().take(3).for_each(use_once);
    assert!(first <= FIRST, "{first} bytes");
    assert!(further <= FURTHER, "{further} bytes");
}

#[test]
fn a_thousand_reloads_leave_no_growth() {
    const RELOADS: usize = 1000;
    const MOST: usize = 4 << 20;
    let (_alone, _) = alone();
    let reload = |number: usize| {
        let more = RuleText {
            name: "more".into(),
            text: format!("SecRule ARGS \"@rx word{number}\" \"id:1,phase:2,deny\"\n"),
        };
        let rules = RuleSet::compile(&[baseline(), more], &NoFiles).expect("the rules compile");
        let rules = Arc::new(rules);
        if number % 50 == 0 {
            use_once(&rules);
        }
    };
    // Until the allocator has what it keeps.
    (0..100).for_each(reload);
    let before = resident().expect("/proc is there");
    (0..RELOADS).for_each(reload);
    println!("1000 reloads of the baseline: {} KiB", grown(before) >> 10);
    assert!(grown(before) <= MOST, "{} bytes", grown(before));

    let Some(crs) = crs() else { return };
    let base = compile(&crs);
    (0..100).for_each(|number| drop(change(&base, number)));
    let before = resident().expect("/proc is there");
    (0..RELOADS as u64).for_each(|number| drop(change(&base, number)));
    println!("1000 changes of the CRS: {} KiB", grown(before) >> 10);
    assert!(grown(before) <= MOST, "{} bytes", grown(before));
}
