//! What the containers of a cluster for tests have said.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::cluster::Cluster;

impl Cluster {
    /// What the containers of a namespace said last.
    pub fn logs_of(&self, namespace: &str) -> String {
        let mut told = String::new();
        for (name, text) in self.said_in(namespace) {
            let lines: Vec<&str> = text.lines().collect();
            let last = &lines[lines.len().saturating_sub(30)..];
            told.push_str(&format!("--- {name}\n{}\n", last.join("\n")));
        }
        told
    }

    /// All that each run of a container of a namespace has said, with `NAMESPACE_POD_UID` before
    /// it. What pods have said stays when they are gone.
    pub fn said_in(&self, namespace: &str) -> Vec<(String, String)> {
        let mut said = Vec::new();
        for pod in folder(&self.logs.join("pods")) {
            let name = pod.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with(&format!("{namespace}_")) {
                let runs = folder(&pod).into_iter().flat_map(|path| folder(&path));
                said.extend(runs.map(|log| {
                    let text = fs::read_to_string(log).unwrap_or_default();
                    (name.clone().into_owned(), text)
                }));
            }
        }
        said
    }

    /// The lines that the containers of a namespace have said and that are objects of JSON: what
    /// a proxy logs, with its audit records.
    pub fn records_in(&self, namespace: &str) -> Vec<Value> {
        let said = self.said_in(namespace).into_iter();
        said.flat_map(|(_, text)| {
            let objects = text
                .lines()
                .filter_map(|line| serde_json::from_str(line).ok());
            objects.collect::<Vec<_>>()
        })
        .collect()
    }
}

/// The paths in a folder; none where it is not there.
fn folder(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten();
    entries.flatten().map(|entry| entry.path()).collect()
}
