//! Rules as a person names them on the command line.

use std::path::{Path, PathBuf};

use portcullis_config::model::{BuiltinRules, WafRules};

/// The word for the built-in rules.
const BASELINE: &str = "baseline";

/// Paths as sources of rules. A file that is called `baseline` is `./baseline`.
pub(super) fn sources(paths: &[PathBuf]) -> Vec<WafRules> {
    let baseline = || WafRules::Builtin(BuiltinRules::Baseline);
    if paths.is_empty() {
        return vec![baseline()];
    }
    let source = |path: &PathBuf| match path == Path::new(BASELINE) {
        true => baseline(),
        false => WafRules::File(path.clone()),
    };
    paths.iter().map(source).collect()
}
