//! Checks of the code that are taken away, one at a time: the corpus must miss each.
//!
//! The list is `corpus/mutants.yaml`, which says what its entries mean. All of them go
//! into one copy of the code, and a variable of the environment says which of them is
//! on, so that the gateway is built once.
//!
//! ```text
//! work tree --copy, find and replace--> scratch --cargo build--> portcullis
//! portcullis, a mutant on --corpus--> a row fails: killed; none does: survived
//! ```

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use portcullis_tests::{Change, MUTANT, cargo, copy_with_mutants, root};
use serde_json::Value;

/// What begins a line that names a row that failed.
pub(crate) const FAILED: &str = "failed row: ";

/// A part of the names of the mutants to run; all of them where it is not set.
const WANTED: &str = "PORTCULLIS_MUTANTS";

/// Where the copy is built.
const TARGET: &str = "PORTCULLIS_MUTANTS_TARGET";

/// Runs of the corpus at once; most of their time they wait.
const AT_ONCE: usize = 3;

/// The tables of docs/normal-form.md whose rows are about requests.
const TABLES: [&str; 4] = ["Path", "Target and host", "Framing", "Fields"];

/// An entry of the list.
#[derive(Debug)]
struct Entry {
    name: String,
    rows: Vec<String>,
    change: Change,
    /// Parts of it that are taken away one at a time; none where it is a single mutant.
    each: Vec<String>,
    /// Why no request can tell that it is away: a text, or one for each part.
    equivalent: Value,
}

impl Entry {
    /// Its mutants, and whether each is equivalent.
    fn mutants(&self) -> Vec<(String, bool)> {
        let all = self.equivalent.is_string();
        if self.each.is_empty() {
            return vec![(self.name.clone(), all)];
        }
        let part = |each: &String| {
            let equivalent = all || self.equivalent[each].is_string();
            (format!("{}: {each}", self.name), equivalent)
        };
        self.each.iter().map(part).collect()
    }
}

fn list() -> Value {
    serde_saphyr::from_str(include_str!("../../corpus/mutants.yaml")).expect("the list is YAML")
}

fn entries(list: &Value) -> Vec<Entry> {
    let entries = list["mutants"].as_array().expect("a list of mutants");
    entries
        .iter()
        .map(|entry| {
            let text = |key: &str| {
                let text = entry[key].as_str();
                text.unwrap_or_else(|| panic!("{key} of {entry}"))
                    .to_owned()
            };
            Entry {
                name: text("name"),
                rows: super::strings(&entry["row"]),
                change: Change {
                    file: text("file"),
                    find: text("find"),
                    replace: text("replace"),
                },
                each: super::strings(&entry["each"]),
                equivalent: entry["equivalent"].clone(),
            }
        })
        .collect()
}

/// First cells of the tables about requests.
fn documented() -> Vec<String> {
    let page = fs::read_to_string(root().join("docs/normal-form.md")).expect("the page is there");
    let mut rows = Vec::new();
    for section in page.split("\n## ").skip(1) {
        let (title, text) = section.split_once('\n').expect("a title");
        if TABLES.contains(&title) {
            let lines = text.lines().filter(|line| line.starts_with("| "));
            let cells = lines.filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
            // The first two are the head of the table.
            rows.extend(cells.skip(2).map(|(cell, _)| cell.to_owned()));
        }
    }
    rows
}

#[test]
fn every_mutant_is_of_the_code_and_every_row_of_the_page_has_one() {
    let list = list();
    let entries = entries(&list);
    let rows = documented();
    let mut missing: BTreeSet<&str> = rows.iter().map(String::as_str).collect();
    let mut names = BTreeSet::new();
    for entry in &entries {
        let Entry { name, change, .. } = entry;
        assert!(names.insert(name), "{name} is there twice");
        assert!(change.replace.contains("OFF"), "{name} has no OFF");
        for (part, why) in entry.equivalent.as_object().into_iter().flatten() {
            assert!(
                entry.each.contains(part) && why.is_string(),
                "{name} has no {part}"
            );
        }
        let (file, find) = (&change.file, &change.find);
        assert_eq!(change.count(), 1, "{name}: {file} has {find:?} so often");
        assert!(!entry.rows.is_empty(), "{name} is of no row");
        for row in &entry.rows {
            assert!(
                rows.contains(row),
                "{name}: docs/normal-form.md has no {row:?}"
            );
            missing.remove(row.as_str());
        }
    }
    let without = list["without"].as_object().expect("rows without a mutant");
    for (row, why) in without {
        assert!(why.is_string(), "{row}: no reason");
        assert!(
            missing.remove(row.as_str()),
            "{row:?} has a mutant, or is no row"
        );
    }
    assert!(missing.is_empty(), "rows without a mutant: {missing:?}");
}

/// How a run of the corpus ended.
enum Run {
    /// No row failed.
    Passed,
    /// These rows failed.
    Failed(BTreeSet<String>),
    /// It failed, and no row says why.
    Broken(String),
}

#[test]
#[ignore = "builds the gateway anew and sends the corpus once for each mutant: some 10 minutes"]
fn a_row_fails_without_each_check() {
    let list = list();
    let entries = entries(&list);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let binary = build(&entries, folder.path());
    println!("built; the corpus without a mutant:");
    match run(&binary, "") {
        Run::Passed => println!("passed"),
        Run::Failed(rows) => panic!("the corpus fails without a mutant: {rows:?}"),
        Run::Broken(text) => panic!("the corpus fails without a mutant:\n{text}"),
    }
    let wanted = std::env::var(WANTED).unwrap_or_default();
    let mutants: Vec<(String, bool)> = entries
        .iter()
        .flat_map(Entry::mutants)
        .filter(|(name, _)| name.contains(&wanted))
        .collect();
    let (next, counts) = (AtomicUsize::new(0), Mutex::new([0; 3]));
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((name, equivalent)) =
                    mutants.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    let (place, line, fine) = verdict(name, *equivalent, run(&binary, name));
                    println!("{line}");
                    counts.lock().unwrap_or_else(PoisonError::into_inner)[place] += 1;
                    if !fine {
                        let mut wrong = wrong.lock().unwrap_or_else(PoisonError::into_inner);
                        wrong.push(line);
                    }
                }
            });
        }
    });
    let [killed, survived, equivalent] =
        counts.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!(
        "{} mutants: {killed} killed, {survived} survived, {equivalent} equivalent",
        mutants.len()
    );
    let wrong = wrong.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Where a mutant counts, what is said of it, and whether that is as it should be.
fn verdict(name: &str, equivalent: bool, run: Run) -> (usize, String, bool) {
    match (run, equivalent) {
        (Run::Failed(rows), false) => {
            let first = rows.first().map_or("", String::as_str);
            let line = format!("killed      {name}  ({}: {first})", rows.len());
            (0, line, true)
        }
        (Run::Broken(text), _) => (1, format!("BROKEN      {name}\n{text}"), false),
        (Run::Passed, false) => (1, format!("SURVIVED    {name}"), false),
        (Run::Passed, true) => (2, format!("equivalent  {name}"), true),
        (Run::Failed(rows), true) => (0, format!("NOT EQUIVALENT  {name}  {rows:?}"), false),
    }
}

/// Builds the gateway with all mutants in it, and copies it into a folder.
fn build(entries: &[Entry], folder: &Path) -> PathBuf {
    let target = std::env::var_os(TARGET).map_or_else(
        || {
            let test = std::env::current_exe().expect("a test has a path");
            let target = test.ancestors().nth(3).expect("a target folder");
            target.join("mutants")
        },
        PathBuf::from,
    );
    // In the same place each time, where little of it is built again.
    let scratch = target.join("code");
    let mutants = entries.iter();
    let mutants = mutants.map(|entry| (entry.name.clone(), entry.change.clone()));
    copy_with_mutants(&scratch, &mutants.collect::<Vec<_>>());
    let status = cargo()
        .args(["build", "--quiet", "--locked", "-p", "portcullis"])
        .arg("--target-dir")
        .arg(&target)
        .current_dir(&scratch)
        .status()
        .expect("cargo runs");
    assert!(status.success(), "the mutants do not build");
    // The folder may be that of other builds.
    let binary = folder.join("portcullis-mutants");
    fs::copy(target.join("debug/portcullis"), &binary).expect("the binary is there");
    binary
}

/// Sends the corpus through a gateway with a mutant on, in a process of its own.
fn run(binary: &Path, mutant: &str) -> Run {
    // It ends by itself: every wait of the corpus has a deadline.
    let output = Command::new(std::env::current_exe().expect("a test has a path"))
        .args(["--exact", super::NAME, "--nocapture"])
        .env("PORTCULLIS_BIN", binary)
        .env(MUTANT, mutant)
        .stdin(Stdio::null())
        .output()
        .expect("the test runs");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    let rows: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.split_once(FAILED))
        .map(|(_, row)| row.to_owned())
        .collect();
    match (output.status.success(), rows.is_empty()) {
        (true, true) => Run::Passed,
        (_, false) => Run::Failed(rows),
        (false, true) => Run::Broken(text),
    }
}
