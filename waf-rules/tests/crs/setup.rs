//! The rule set in the set-up that the tests are meant for.

use std::{fs, path::Path, sync::Arc};

use portcullis_waf::{RuleError, RuleSet, RuleSource, RuleText};

/// Settings of the engine.
const BASE: &str = include_str!("base.conf");

/// What the tests need beside `crs-setup.conf.example`.
const LIMITS: &str = include_str!("limits.conf");

/// Reads word lists beside the rule files.
struct Folder<'a>(&'a Path);

impl RuleSource for Folder<'_> {
    fn read(&self, path: &str) -> Result<String, String> {
        fs::read_to_string(self.0.join(path)).map_err(|error| error.to_string())
    }
}

/// Reads the texts of the rule set, for a paranoia level.
pub(crate) fn texts(crs: &Path, level: u8) -> Vec<RuleText> {
    let text = |name: &str, text: String| RuleText {
        name: name.into(),
        text,
    };
    let read = |path: &Path| fs::read_to_string(path).expect("a rule file can be read");
    let mut paths: Vec<_> = fs::read_dir(crs.join("rules"))
        .expect("the rules can be listed")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "conf")
        })
        .collect();
    paths.sort();
    let level = format!(
        "{LIMITS}SecAction \"id:900006,phase:1,pass,nolog,setvar:tx.blocking_paranoia_level={level}\"\n"
    );
    let mut texts = vec![
        text("base.conf", BASE.into()),
        portcullis_waf::recommended(),
        text("crs-setup.conf", read(&crs.join("crs-setup.conf.example"))),
        text("level.conf", level),
    ];
    texts.extend(paths.iter().map(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        text(&name, read(path))
    }));
    texts
}

/// Compiles the rule set.
pub(crate) fn compile(crs: &Path, texts: &[RuleText]) -> Result<Arc<RuleSet>, Vec<RuleError>> {
    RuleSet::compile(texts, &Folder(&crs.join("rules"))).map(Arc::new)
}
