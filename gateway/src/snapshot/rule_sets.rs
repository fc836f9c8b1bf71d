//! Compiled WAF rule sets, shared by the hash of their text.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use portcullis_config::model::{BuiltinRules, CrsFiles, WafProfile, WafRules};
use portcullis_waf::{Change, RuleError, RuleSet, RuleSource, RuleText};
use sha2::{Digest, Sha256};

use super::reads::{ContentHash, Reads, content_hash};
use crate::files;

/// The rule sets in use, by content hash.
///
/// Compiling CRS takes much longer than a reload may: profiles of the same text,
/// and the same profile in the next snapshot, share one compiled set. So do routes
/// that change it alike.
#[derive(Debug, Default)]
pub(super) struct RuleSets {
    compiled: Mutex<BTreeMap<ContentHash, Compiled>>,
    /// Rule sets so far, which numbers them.
    count: AtomicU64,
}

/// A rule set and the files it included when it was compiled.
#[derive(Debug)]
struct Compiled {
    set: Weak<RuleSet>,
    number: u64,
    included: BTreeMap<PathBuf, ContentHash>,
}

/// A rule set, and what tells it from every other.
#[derive(Clone, Debug)]
pub(super) struct Numbered {
    pub(super) set: Arc<RuleSet>,
    number: u64,
}

impl Compiled {
    /// The set, where it still runs and its files still say the same.
    fn unchanged(&self, reads: &Reads) -> Option<Numbered> {
        let same = |(path, hash): (&PathBuf, &ContentHash)| {
            let content = match path.is_dir() {
                true => reads.rule_files(path).map(|_| files::content(path)),
                false => reads.read(path),
            };
            content.is_ok_and(|content| content_hash(&content) == *hash)
        };
        let set = self.set.upgrade()?;
        self.included.iter().all(same).then_some(Numbered {
            set,
            number: self.number,
        })
    }
}

impl RuleSets {
    /// Compiles the rules of a profile, or returns the set that runs already.
    ///
    /// # Errors
    /// Every unreadable file and every rule error, each with its place.
    pub(super) fn compile(
        &self,
        profile: &WafProfile,
        reads: &Reads,
    ) -> Result<Numbered, Vec<String>> {
        let name = format!("{}.rules", profile.name);
        let texts = texts(&name, &profile.rules, reads)?;
        let key = texts_hash(&[], &texts);
        let compiled = self.shared(key, reads, |source| RuleSet::compile(&texts, source));
        compiled.map_err(|errors| errors.iter().map(ToString::to_string).collect())
    }

    /// Changes a rule set, or returns what was made of it already.
    ///
    /// # Errors
    /// Every rule error.
    pub(super) fn change(
        &self,
        base: &Numbered,
        change: &Change<'_>,
        reads: &Reads,
    ) -> Result<Arc<RuleSet>, Vec<RuleError>> {
        let mut told = format!("{} {:?}", base.number, change.settings);
        told.push_str(&format!(" {} before", change.before.len()));
        let texts: Vec<RuleText> = change.before.iter().chain(change.after).cloned().collect();
        let key = texts_hash(told.as_bytes(), &texts);
        let changed = self.shared(key, reads, |source| base.set.change(change, source));
        changed.map(|changed| changed.set)
    }

    /// The set that runs under a key, or a new one.
    fn shared(
        &self,
        key: ContentHash,
        reads: &Reads,
        make: impl FnOnce(&dyn RuleSource) -> Result<RuleSet, Vec<RuleError>>,
    ) -> Result<Numbered, Vec<RuleError>> {
        let mut sets = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = sets.get(&key).and_then(|known| known.unchanged(reads)) {
            return Ok(running);
        }
        let included = Included {
            reads,
            paths: RefCell::default(),
        };
        let set = Arc::new(make(&included)?);
        let seen = reads.seen();
        let included = included
            .paths
            .into_inner()
            .into_iter()
            .filter_map(|path| seen.get_key_value(&path))
            .map(|(path, hash)| (path.clone(), *hash))
            .collect();
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let compiled = Compiled {
            set: Arc::downgrade(&set),
            number,
            included,
        };
        sets.insert(key, compiled);
        Ok(Numbered { set, number })
    }

    pub(super) fn forget_unused(&self) {
        self.compiled
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|_, compiled| compiled.set.strong_count() > 0);
    }
}

/// Compiles rules that no profile has, as a person names them.
///
/// # Errors
/// Every unreadable file; or every rule error, each with its place.
pub fn compile_rules(rules: &[WafRules], reads: &Reads) -> Result<RuleSet, RuleProblems> {
    let texts = texts("rules", rules, reads).map_err(RuleProblems::Unreadable)?;
    let included = Included {
        reads,
        paths: RefCell::default(),
    };
    RuleSet::compile(&texts, &included).map_err(RuleProblems::Wrong)
}

/// Why rules were not compiled.
#[derive(Debug)]
pub enum RuleProblems {
    /// Files that could not be read, each with its path.
    Unreadable(Vec<String>),
    /// What is wrong in them.
    Wrong(Vec<RuleError>),
}

/// The texts of rules, in order. `name` is what those without a file are called by.
///
/// # Errors
/// Every unreadable file.
pub(super) fn texts(
    name: &str,
    rules: &[WafRules],
    reads: &Reads,
) -> Result<Vec<RuleText>, Vec<String>> {
    let mut reading = Reading {
        reads,
        texts: Vec::new(),
        errors: Vec::new(),
    };
    for (index, rules) in rules.iter().enumerate() {
        match rules {
            WafRules::Builtin(BuiltinRules::Baseline) => {
                reading.texts.extend(portcullis_waf::baseline());
            }
            WafRules::Builtin(BuiltinRules::Recommended) => {
                reading.texts.push(portcullis_waf::recommended());
            }
            WafRules::Inline(text) => reading.texts.push(RuleText {
                name: format!("{name}[{index}].inline"),
                text: text.clone(),
            }),
            WafRules::File(path) => match path.is_dir() {
                true => reading.folder(path, |_| true),
                false => reading.file(path),
            },
            WafRules::Crs(crs) => reading.crs(crs),
        }
    }
    match reading.errors.is_empty() {
        true => Ok(reading.texts),
        false => Err(reading.errors),
    }
}

/// Texts as they are read.
struct Reading<'a> {
    reads: &'a Reads,
    texts: Vec<RuleText>,
    errors: Vec<String>,
}

/// How files of plugins end, by when they come.
const PLUGIN_FILES: [&str; 3] = ["-config.conf", "-before.conf", "-after.conf"];

impl Reading<'_> {
    /// The CRS in the order that its documentation gives.
    fn crs(&mut self, crs: &CrsFiles) {
        let [config, before, after] = PLUGIN_FILES;
        self.texts.push(portcullis_waf::recommended());
        self.file(&crs.setup);
        self.plugins(crs, config);
        self.plugins(crs, before);
        self.folder(&crs.rules, |_| true);
        self.plugins(crs, after);
        if let Some(folder) = &crs.plugins {
            for file in self.reads.rule_files(folder).into_iter().flatten() {
                let name = file.to_string_lossy();
                if !PLUGIN_FILES.iter().any(|end| name.ends_with(end)) {
                    let [config, before, after] = PLUGIN_FILES;
                    self.errors.push(format!(
                        "{name}: a file of a plugin ends in {config}, {before} or {after}: nobody knows when this one comes"
                    ));
                }
            }
        }
    }

    fn plugins(&mut self, crs: &CrsFiles, end: &str) {
        if let Some(folder) = &crs.plugins {
            self.folder(folder, |file| file.to_string_lossy().ends_with(end));
        }
    }

    fn folder(&mut self, folder: &Path, is_meant: impl Fn(&Path) -> bool) {
        match self.reads.rule_files(folder) {
            Ok(files) => files
                .iter()
                .filter(|file| is_meant(file))
                .for_each(|file| self.file(file)),
            // A folder of plugins is read three times.
            Err(error) if self.errors.contains(&error) => {}
            Err(error) => self.errors.push(error),
        }
    }

    fn file(&mut self, path: &Path) {
        match self.reads.read_text(path) {
            Ok(text) => self.texts.push(RuleText {
                name: path.display().to_string(),
                text,
            }),
            Err(error) => self.errors.push(error),
        }
    }
}

/// Files that rules name, relative to the folder of the text that names them.
struct Included<'a> {
    reads: &'a Reads,
    paths: RefCell<BTreeSet<PathBuf>>,
}

impl Included<'_> {
    fn note(&self, path: &Path) {
        self.paths.borrow_mut().insert(path.to_path_buf());
    }
}

impl RuleSource for Included<'_> {
    fn read(&self, path: &str) -> Result<String, String> {
        let path = Path::new(path);
        self.note(path);
        self.reads.read_text(path)
    }

    fn read_beside(&self, path: &str, text: &str) -> Result<String, String> {
        self.read(&beside(path, text).to_string_lossy())
    }

    fn included(&self, path: &str, text: &str) -> Result<Vec<String>, String> {
        let path = beside(path, text);
        let (folder, pattern) = match (path.parent(), path.file_name()) {
            _ if path.is_dir() => (path.as_path(), "*.conf".into()),
            (Some(folder), Some(name)) => (folder, name.to_string_lossy()),
            _ => return Ok(vec![path.display().to_string()]),
        };
        let Some((begin, end)) = pattern.split_once('*') else {
            return Ok(vec![path.display().to_string()]);
        };
        self.note(folder);
        let files = self.reads.rule_files(folder)?;
        let is_meant = |file: &&PathBuf| {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            name.len() >= begin.len() + end.len() && name.starts_with(begin) && name.ends_with(end)
        };
        let meant = files.iter().filter(is_meant);
        let meant: Vec<String> = meant.map(|file| file.display().to_string()).collect();
        match meant.is_empty() {
            true => Err("there is no such file".into()),
            false => Ok(meant),
        }
    }
}

/// A path as the text at another path means it.
fn beside(path: &str, text: &str) -> PathBuf {
    Path::new(text)
        .parent()
        .map_or_else(|| path.into(), |folder| folder.join(path))
}

fn texts_hash(told: &[u8], texts: &[RuleText]) -> ContentHash {
    let mut hash = Sha256::new();
    let parts = texts.iter().flat_map(|text| [&text.name, &text.text]);
    for part in std::iter::once(told).chain(parts.map(String::as_bytes)) {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}
