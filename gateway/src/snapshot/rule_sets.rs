//! Compiled WAF rule sets, shared by the hash of their text.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use portcullis_config::model::{BuiltinRules, WafProfile, WafRules};
use portcullis_waf::{RuleError, RuleSet, RuleSource, RuleText};
use sha2::{Digest, Sha256};

use super::reads::{ContentHash, Reads, content_hash};
use crate::files;

/// The rule sets in use, by content hash.
///
/// Compiling CRS takes much longer than a reload may: profiles of the same text,
/// and the same profile in the next snapshot, share one compiled set.
#[derive(Debug, Default)]
pub(super) struct RuleSets {
    compiled: Mutex<BTreeMap<ContentHash, Compiled>>,
}

/// A rule set and the files it included when it was compiled.
#[derive(Debug)]
struct Compiled {
    set: Weak<RuleSet>,
    included: BTreeMap<PathBuf, ContentHash>,
}

impl Compiled {
    /// The set, where it still runs and its files still say the same.
    fn unchanged(&self, reads: &Reads) -> Option<Arc<RuleSet>> {
        let same = |(path, hash): (&PathBuf, &ContentHash)| {
            let content = match path.is_dir() {
                true => reads.rule_files(path).map(|_| files::content(path)),
                false => reads.read(path),
            };
            content.is_ok_and(|content| content_hash(&content) == *hash)
        };
        self.set
            .upgrade()
            .filter(|_| self.included.iter().all(same))
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
    ) -> Result<Arc<RuleSet>, Vec<String>> {
        let mut texts = vec![threshold(profile)];
        texts.extend(read_texts(&profile.name, &profile.rules, reads)?);
        let key = texts_hash(&texts);
        let mut sets = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = sets.get(&key)
            && let Some(running) = known.unchanged(reads)
        {
            return Ok(running);
        }
        let included = Included {
            reads,
            paths: RefCell::default(),
        };
        let compiled = RuleSet::compile(&texts, &included);
        let seen = reads.seen();
        let included = included
            .paths
            .into_inner()
            .into_iter()
            .filter_map(|path| seen.get_key_value(&path))
            .map(|(path, hash)| (path.clone(), *hash))
            .collect();
        match compiled {
            Ok(set) => {
                let set = Arc::new(set);
                sets.insert(
                    key,
                    Compiled {
                        set: Arc::downgrade(&set),
                        included,
                    },
                );
                Ok(set)
            }
            Err(problems) => Err(problems.iter().map(ToString::to_string).collect()),
        }
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
    let texts = read_texts("rules", rules, reads).map_err(RuleProblems::Unreadable)?;
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

/// Reads rules; texts that are written in a configuration are named after `owner`.
fn read_texts(
    owner: &str,
    rules: &[WafRules],
    reads: &Reads,
) -> Result<Vec<RuleText>, Vec<String>> {
    let mut texts = Vec::new();
    let mut errors = Vec::new();
    for (index, rules) in rules.iter().enumerate() {
        match rules {
            WafRules::Builtin(BuiltinRules::Baseline) => texts.push(portcullis_waf::baseline()),
            WafRules::Inline(text) => texts.push(RuleText {
                name: format!("{owner}.rules[{index}].inline"),
                text: text.clone(),
            }),
            WafRules::File(path) => {
                let files = match path.is_dir() {
                    true => reads.rule_files(path),
                    false => Ok(vec![path.clone()]),
                };
                let files = files.unwrap_or_else(|error| {
                    errors.push(error);
                    Vec::new()
                });
                for path in files {
                    match reads.read_text(&path) {
                        Ok(text) => texts.push(RuleText {
                            name: path.display().to_string(),
                            text,
                        }),
                        Err(error) => errors.push(error),
                    }
                }
            }
        }
    }
    match errors.is_empty() {
        true => Ok(texts),
        false => Err(errors),
    }
}

/// The setting `threshold` as the rule that the baseline reads it from.
fn threshold(profile: &WafProfile) -> RuleText {
    RuleText {
        name: "threshold".into(),
        text: format!(
            "SecAction \"id:9099999,phase:1,pass,nolog,setvar:tx.inbound_anomaly_score_threshold={}\"\n",
            profile.threshold
        ),
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

fn texts_hash(texts: &[RuleText]) -> ContentHash {
    let mut hash = Sha256::new();
    for part in texts.iter().flat_map(|text| [&text.name, &text.text]) {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}
