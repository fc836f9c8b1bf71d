//! The baseline against the requests of the suite: how much of what the CRS refuses at level 1
//! it refuses, and how much of what the CRS finds clean.
//!
//! ```text
//! test of a rule of level 1 that must match          attack
//! test of a rule that must not, clean at level 1     clean
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::Arc,
};

use portcullis_waf::{EngineMode, NoFiles, RuleSet, baseline};
use regex::Regex;

use super::{Heard, Stage, client, crs, front, judged, rules, run, suite};

/// Percent of the attacks of a group that the baseline refuses, at least.
///
/// The CRS has many tests for fragments: a name of a class, a function without an argument, a
/// line of a batch file. A rule for these would refuse what people write, so the baseline has
/// none. Protocol enforcement (920, 921, 943) is left to the gateway, which answers before it.
const BARS: [(&str, usize); 9] = [
    ("REQUEST-913", 100),
    ("REQUEST-922", 80),
    ("REQUEST-930", 70),
    ("REQUEST-931", 55),
    ("REQUEST-932", 40),
    ("REQUEST-933", 75),
    ("REQUEST-934", 70),
    ("REQUEST-941", 68),
    ("REQUEST-942", 50),
];

/// Clean requests that the baseline refuses, and why that is no mistake: each is an attack which
/// the rule under test leaves to another rule or to a higher level.
const ATTACKS_ALL_THE_SAME: [(&str, &str); 18] = [
    ("930110-7", "a path that ends in a step up"),
    ("932207-3", "a command with hidden letters, in Referer"),
    ("932207-4", "a separator and ls -al, in Referer"),
    ("932230-46", "a separator and cat /path"),
    ("932260-1", "bash -c as a whole value"),
    ("933100-24", "the tag of PHP in a cookie"),
    ("933100-25", "the tag of PHP as a name"),
    ("933100-86", "the short tag of PHP"),
    ("933150-20", "exec with a parenthesis"),
    ("933180-4", "a variable that is called"),
    ("934110-", "a metadata service"),
    ("934120-", "a metadata service in an odd spelling"),
    ("934160-19", "an endless loop"),
    ("942101-11", "UNION SELECT in the path"),
    ("942310-1", "a condition after a quote"),
    ("942360-29", "DBMS_LDAP as a name"),
    ("9441", "classes and gadgets as names in XML"),
    ("944210-", "the magic of serialised Java as a name in XML"),
];

/// What the suite says of a request.
enum Kind {
    Attack,
    Clean,
}

/// Of the requests of a group: attacks refused, attacks, clean ones refused, clean ones.
type Row = [usize; 4];

#[test]
fn the_baseline_refuses_attacks_of_the_suite_and_passes_what_is_clean() {
    let Some(crs) = crs() else { return };
    let of_level_one = ids_of_level_one(&crs);
    let files = suite::read(&crs.join("tests/regression/tests"));
    let strict = rules(&crs, 1);
    let own = RuleSet::compile(&baseline(), &NoFiles).expect("the baseline compiles");
    let own = Arc::new(own);
    let mut table = BTreeMap::<&str, Row>::new();
    let mut mistakes = Vec::new();
    let judge = |stage: &Stage| {
        let kind = kind_of(stage, &of_level_one, &strict)?;
        let (outcome, refusal) = run(&own, EngineMode::DetectionOnly, stage);
        let refused = refusal.is_some();
        let ids: Vec<u64> = outcome.matches?.iter().map(|found| found.rule).collect();
        Some(match kind {
            Kind::Attack => format!("attack {refused}"),
            Kind::Clean => format!("clean {refused} {ids:?}"),
        })
    };
    for (group, told) in judged(&files, judge) {
        if group.starts_with("RESPONSE") {
            continue;
        }
        let row = table.entry(group).or_default();
        for line in told.into_iter().flatten() {
            let (test, what) = line.split_once(": ").expect("a name and an answer");
            let attack = usize::from(what.starts_with("attack"));
            let refused = usize::from(what.contains("true"));
            row[2 - 2 * attack] += refused;
            row[3 - 2 * attack] += 1;
            let known = ATTACKS_ALL_THE_SAME
                .iter()
                .any(|(start, _)| test.starts_with(start));
            if attack == 0 && refused == 1 && !known {
                mistakes.push(line);
            }
        }
    }
    println!("{:45} attacks refused    clean refused", "group of the CRS");
    for (group, [found, attacks, wrong, clean]) in &table {
        println!("{group:45} {found:4} of {attacks:4}        {wrong:3} of {clean:3}");
    }
    let total = table.values().fold(Row::default(), |sum, row| {
        std::array::from_fn(|at| sum[at] + row[at])
    });
    println!("{:45} {total:?}", "all");
    assert!(mistakes.is_empty(), "clean, but refused: {mistakes:#?}");
    for (start, percent) in BARS {
        let (group, [found, attacks, ..]) = table
            .iter()
            .find(|(group, _)| group.starts_with(start))
            .expect("a group of the suite");
        assert!(*attacks > 0 && found * 100 >= attacks * percent, "{group}");
    }
}

/// What a stage is to the baseline, if it says anything: a request that the front end answers,
/// and a test that says nothing of level 1, do not count.
fn kind_of(stage: &Stage, of_level_one: &BTreeSet<u64>, strict: &Arc<RuleSet>) -> Option<Kind> {
    let log = &stage.output.log;
    if matches!(
        front::read(&client::request(&stage.input)),
        Heard::Refused(_)
    ) {
        return None;
    }
    if log.expect_ids.iter().any(|id| of_level_one.contains(id)) {
        return Some(Kind::Attack);
    }
    if !log.expect_ids.is_empty() || log.no_expect_ids.is_empty() {
        return None;
    }
    // Many a request that one rule must not match is meant for another one.
    let (outcome, refusal) = run(strict, EngineMode::DetectionOnly, stage);
    let is_scored = outcome
        .matches?
        .iter()
        .any(|found| found.severity.is_some_and(|severity| severity <= 3));
    (refusal.is_none() && !is_scored).then_some(Kind::Clean)
}

/// Ids of the rules that the CRS runs at level 1.
fn ids_of_level_one(crs: &Path) -> BTreeSet<u64> {
    let id = Regex::new(r"\bid:(\d+)").expect("a pattern");
    let mut ids = BTreeSet::new();
    for entry in fs::read_dir(crs.join("rules")).expect("the rules can be listed") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "conf") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a rule file can be read");
        let mut last = 0;
        for line in text.lines() {
            if let Some(found) = id.captures(line) {
                last = found[1].parse().expect("an id is a number");
            }
            if line.contains("tag:'paranoia-level/1'") {
                ids.insert(last);
            }
        }
    }
    ids
}
