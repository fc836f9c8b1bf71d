//! What people are told: each `problems/*.yaml`, and each folder of files that
//! are read together, has its problem lines beside it in `*.problems`.
//!
//! `UPDATE_GOLDEN=1 cargo test -p portcullis-config --test problems` writes them
//! again; read the difference before you commit it.

#![allow(clippy::unwrap_used, reason = "a test ends at its first surprise")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use portcullis_config::{
    read::{SourceFile, read},
    validate::validate,
};

#[test]
fn every_problem_is_told_as_written_down() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/problems");
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut wrong = Vec::new();
    for case in sorted(&folder) {
        if case
            .extension()
            .is_some_and(|extension| extension == "problems")
        {
            continue;
        }
        let golden = case.with_extension("problems");
        let found = problems(&case);
        if update {
            fs::write(&golden, &found).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        if found != expected || found.is_empty() {
            wrong.push(format!("{}:\n{found}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn problems(case: &Path) -> String {
    let files = match case.is_dir() {
        true => sorted(case),
        false => vec![case.to_path_buf()],
    };
    let source = |file: PathBuf| SourceFile {
        name: file.file_name().unwrap().to_str().unwrap().to_owned(),
        text: fs::read_to_string(&file).unwrap(),
    };
    let files: Vec<_> = files.into_iter().map(source).collect();
    let read = read(&files);
    let validated = validate(&read.document, &read.origins);
    let problems = read.problems.iter().chain(&validated.problems);
    problems.map(|problem| format!("{problem}\n")).collect()
}

fn sorted(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}
