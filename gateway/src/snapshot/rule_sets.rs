//! Compiled WAF rule sets, shared by the hash of their text.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use portcullis_config::model::{BuiltinRules, WafProfile, WafRules};
use portcullis_waf::{RuleSet, RuleSource, RuleText};
use sha2::{Digest, Sha256};

/// Largest rule file that is read.
const MAX_RULE_FILE_BYTES: u64 = 16 << 20;

/// The rule sets in use, by content hash.
///
/// Compiling CRS takes much longer than a reload may: profiles of the same text,
/// and the same profile in the next snapshot, share one compiled set.
#[derive(Debug, Default)]
pub(super) struct RuleSets {
    compiled: Mutex<BTreeMap<Hash, Compiled>>,
    /// Included files of the rule sets that were asked for of late.
    included: Mutex<BTreeSet<PathBuf>>,
}

type Hash = [u8; 32];

/// A rule set and the files it included when it was compiled.
#[derive(Debug)]
struct Compiled {
    set: Weak<RuleSet>,
    included: BTreeMap<PathBuf, Hash>,
}

impl Compiled {
    /// The set, where it still runs and its files still say the same.
    fn unchanged(&self) -> Option<Arc<RuleSet>> {
        let same = |(path, hash): (&PathBuf, &Hash)| {
            read_text(path).is_ok_and(|text| text_hash(&text) == *hash)
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
    pub(super) fn compile(&self, profile: &WafProfile) -> Result<Arc<RuleSet>, Vec<String>> {
        let mut texts = vec![threshold(profile)];
        let mut errors = Vec::new();
        for rules in &profile.rules {
            match rules {
                WafRules::Builtin(BuiltinRules::Baseline) => texts.push(portcullis_waf::baseline()),
                WafRules::Inline(text) => {
                    texts.push(RuleText {
                        name: format!("wafProfiles[{}].inline", profile.name),
                        text: text.clone(),
                    });
                }
                WafRules::File(path) => match read_text(path) {
                    Ok(text) => texts.push(RuleText {
                        name: path.display().to_string(),
                        text,
                    }),
                    Err(error) => errors.push(error),
                },
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let key = texts_hash(&texts);
        let mut sets = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = sets.get(&key)
            && let Some(running) = known.unchanged()
        {
            self.note_included(known.included.keys());
            return Ok(running);
        }
        let files = Files::default();
        let compiled = RuleSet::compile(&texts, &files);
        let included = files
            .read
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        self.note_included(included.keys());
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

    fn note_included<'a>(&self, paths: impl Iterator<Item = &'a PathBuf>) {
        self.included
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(paths.cloned());
    }

    /// Files that rules included since this was last asked, whether they could be
    /// compiled or not.
    pub(super) fn take_included(&self) -> BTreeSet<PathBuf> {
        std::mem::take(&mut *self.included.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn forget_unused(&self) {
        self.compiled
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|_, compiled| compiled.set.strong_count() > 0);
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

/// Files that rules name, read from the folder of the configuration.
#[derive(Default)]
struct Files {
    read: Mutex<BTreeMap<PathBuf, Hash>>,
}

impl RuleSource for Files {
    fn read(&self, path: &str) -> Result<String, String> {
        let path = PathBuf::from(path);
        let text = read_text(&path);
        // One that cannot be read is remembered too: mending it is a change.
        let hash = text_hash(text.as_deref().unwrap_or_default());
        self.read
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(path, hash);
        text
    }
}

fn text_hash(text: &str) -> Hash {
    Sha256::digest(text).into()
}

fn texts_hash(texts: &[RuleText]) -> Hash {
    let mut hash = Sha256::new();
    for part in texts.iter().flat_map(|text| [&text.name, &text.text]) {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

fn read_text(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_RULE_FILE_BYTES + 1).read_to_string(&mut text))
        .map_err(|error| format!("{}: {error}", path.display()))?;
    if text.len() as u64 > MAX_RULE_FILE_BYTES {
        return Err(format!(
            "{}: larger than {} MiB",
            path.display(),
            MAX_RULE_FILE_BYTES >> 20
        ));
    }
    Ok(text)
}
