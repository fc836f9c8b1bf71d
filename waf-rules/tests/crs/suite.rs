//! The regression tests of the OWASP CRS, as they are written: YAML in the
//! schema of go-ftw. What the schema has and no test uses is an unknown key,
//! and therefore an error.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

/// One file: the tests of one rule.
#[derive(Deserialize)]
pub(crate) struct File {
    pub(crate) rule_id: u64,
    pub(crate) tests: Vec<Test>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Test {
    pub(crate) test_id: u64,
    #[allow(dead_code, reason = "for people")]
    desc: Option<String>,
    pub(crate) stages: Vec<Stage>,
}

/// One request and what it must bring about.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stage {
    pub(crate) input: Input,
    pub(crate) output: Output,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    #[allow(dead_code, reason = "there is one server")]
    dest_addr: Option<String>,
    #[allow(dead_code, reason = "there is one server")]
    port: Option<u16>,
    #[serde(default = "get")]
    pub(crate) method: String,
    #[serde(default = "root")]
    pub(crate) uri: String,
    #[serde(default = "http11")]
    pub(crate) version: String,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, Scalar>,
    #[serde(default)]
    pub(crate) data: String,
    /// The whole request, in base64, instead of all of the above.
    pub(crate) encoded_request: Option<String>,
    #[serde(default = "yes")]
    pub(crate) autocomplete_headers: bool,
}

/// A text, or a number that means its text.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Scalar {
    Text(String),
    Number(u64),
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Output {
    pub(crate) status: Option<u16>,
    /// Whether the client cannot make sense of the answer.
    pub(crate) expect_error: Option<bool>,
    #[allow(dead_code, reason = "there is no race to lose")]
    retry_once: Option<bool>,
    #[serde(default)]
    pub(crate) log: Log,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Log {
    #[serde(default)]
    pub(crate) expect_ids: Vec<u64>,
    #[serde(default)]
    pub(crate) no_expect_ids: Vec<u64>,
    pub(crate) match_regex: Option<String>,
    pub(crate) no_match_regex: Option<String>,
}

impl Scalar {
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(number) => number.to_string(),
        }
    }
}

fn get() -> String {
    "GET".into()
}

fn root() -> String {
    "/".into()
}

fn http11() -> String {
    "HTTP/1.1".into()
}

fn yes() -> bool {
    true
}

/// Reads every test below a folder, in the order of the file names; with the
/// name of the rule file that each belongs to.
pub(crate) fn read(root: &Path) -> Vec<(String, File)> {
    let mut files = Vec::new();
    for folder in entries(root).into_iter().filter(|path| path.is_dir()) {
        for path in entries(&folder) {
            let text = fs::read_to_string(&path).expect("a test can be read");
            // 920539.yaml is empty on purpose.
            if text.lines().all(|line| {
                let line = line.trim();
                line.is_empty() || line.starts_with('#') || line == "---"
            }) {
                continue;
            }
            let file: File = serde_saphyr::from_str(&text)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let name = folder.file_name().unwrap_or_default().to_string_lossy();
            files.push((name.into_owned(), file));
        }
    }
    files
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder can be listed");
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    paths
}
