//! What rule sets take of the memory, by the resident size of this process.
//!
//! A test waits for the others here: they would see each other's memory.

#[path = "crs/setup.rs"]
mod setup;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
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
    let _alone = alone();
    // What compiling needs for a while is not the policy's, and is there after the first.
    let _other = compile(&crs);
    let before = resident().expect("/proc is there");
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
fn the_baseline_and_the_crs_keep_no_large_body_behind_phase_2() {
    let _alone = alone();
    let base = RuleSet::compile(&baseline(), &NoFiles).expect("the rules compile");
    let crs = crs().map(|crs| compile(&crs));
    for rules in [Some(Arc::new(base)), crs].into_iter().flatten() {
        let mode = EngineMode::DetectionOnly;
        let options = TransactionOptions::new(mode, "1".into(), SystemTime::UNIX_EPOCH);
        let mut tx = Transaction::begin(rules, options);
        tx.request_line(b"POST", b"/", "HTTP/1.1");
        tx.request_header(b"Content-Type", b"application/x-www-form-urlencoded");
        let _ = tx.request_headers_end();
        tx.request_body(format!("text={}", "word+".repeat(20_000)).as_bytes());
        let _ = tx.request_body_end();
        assert!(tx.body_memory() > 200_000);
        tx.forget_found();
        tx.release_request_body();
        // What is not worth giving back may stay.
        assert!(tx.body_memory() < 64 << 10, "{}", tx.body_memory());
    }
}

/// Bytes that an allocator may move about.
const MOST: usize = 4 << 20;

/// Does something often, and tells how much the process has grown by it.
fn growth(what: &str, times: u64, mut once: impl FnMut(u64)) {
    let begun = std::time::Instant::now();
    // Until the allocator has what it keeps.
    (0..times / 10).for_each(&mut once);
    let before = resident().expect("/proc is there");
    (0..times).for_each(&mut once);
    let grown = grown(before);
    println!(
        "{times} times {what}: {} KiB, {:?}",
        grown >> 10,
        begun.elapsed()
    );
    assert!(grown <= MOST, "{what}: {grown} bytes");
}

/// Rules with everything that is compiled: expressions, words, chains, jumps, exclusions.
fn few(number: u64) -> [RuleText; 1] {
    let text = format!(
        r#"
SecRule &TX:level "@eq 0" "id:1,phase:1,pass,nolog,setvar:tx.level=1"
SecRule ARGS|REQUEST_HEADERS "@rx (?i)union\s+(?:all\s+)?select|word{number}" "id:2,phase:2,deny,t:urlDecodeUni,t:lowercase"
SecRule ARGS "@pm one two three four word{number}" "id:3,phase:2,pass,chain"
    SecRule MATCHED_VAR "@detectSQLi" "setvar:tx.score=+5,multiMatch,t:none,t:htmlEntityDecode"
SecRule TX:level "@lt 2" "id:4,phase:2,pass,nolog,skipAfter:END"
SecRule ARGS:/^a{number}/ "@detectXSS" "id:5,phase:2,deny"
SecMarker END
SecRuleRemoveById 3
"#
    );
    [RuleText {
        name: "few".into(),
        text,
    }]
}

#[test]
fn a_thousand_reloads_leave_no_growth() {
    let _alone = alone();
    growth("other rules", 1000, |number| {
        let rules = RuleSet::compile(&few(number), &NoFiles).expect("the rules compile");
        use_once(&Arc::new(rules));
    });
    growth("the baseline", 30, |_| {
        let rules = RuleSet::compile(&baseline(), &NoFiles).expect("the rules compile");
        use_once(&Arc::new(rules));
    });
    let Some(crs) = crs() else { return };
    let base = compile(&crs);
    growth("the CRS with other settings", 1000, |number| {
        drop(change(&base, number));
    });
}
