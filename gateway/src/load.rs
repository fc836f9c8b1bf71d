//! Files to snapshot: one pass over everything a configuration names.
//!
//! ```text
//! ConfigFiles -> read -> Document -> validate -> Model -> compile -> Snapshot
//!                                                   \-> certificates -> CertificateStore
//! ```
//!
//! `run` and `check` take the same path, so what `check` accepts is what runs.

use std::{collections::BTreeMap, path::PathBuf};

use portcullis_config::{
    document::Document,
    model::{Model, WafRules},
    problem::{Origin, Problem, Severity},
    read::{Origins, SourceFile, read},
    validate::validate,
};
use sha2::{Digest, Sha256};

use crate::{
    files::ConfigFiles,
    snapshot::{ContentHash, Live, Reads, Snapshot, compile},
    telemetry::Metrics,
    tls::CertificateStore,
};

/// A configuration that may serve.
#[derive(Debug)]
pub struct Loaded {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// The certificates, each in its last good version.
    pub certificates: CertificateStore,
    /// Warnings, and certificates that could not be read: these are told, and
    /// hurt nobody but the hosts they are for.
    pub problems: Vec<Problem>,
    /// Where everything stands, for problems that show only when it is put in force.
    pub origins: Origins,
    /// Files that the configuration names, to be watched with it.
    pub named_files: Vec<PathBuf>,
}

/// A configuration that may not.
#[derive(Debug)]
pub struct Refused {
    /// Every problem.
    pub problems: Vec<Problem>,
    /// Files that the configuration names, as far as it could be read.
    pub named_files: Vec<PathBuf>,
}

/// Reads, validates and compiles a configuration.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load(
    files: &ConfigFiles,
    live: &Live,
    metrics: &Metrics,
    previous: Option<&CertificateStore>,
) -> Result<Loaded, Refused> {
    let sources = match files.load() {
        Ok(sources) => sources,
        Err(error) => {
            return Err(Refused {
                problems: vec![unreadable(files, &error)],
                named_files: Vec::new(),
            });
        }
    };
    let read = read(&sources);
    let validated = validate(&read.document, &read.origins);
    let mut named_files = named_files(&validated.model);
    let mut problems = read.problems;
    problems.extend(validated.problems);
    if problems.is_empty() {
        // Next to other problems it may only be what is left of a broken listener.
        problems.extend(nothing_to_serve(&read.document, files));
    }
    if problems
        .iter()
        .any(|problem| problem.severity == Severity::Error)
    {
        return Err(Refused {
            problems,
            named_files,
        });
    }
    let certificate_files = validated.model.certificates.clone();
    let reads = Reads::default();
    let compiled = compile(
        &read.document,
        validated.model,
        &read.origins,
        live,
        metrics,
        &reads,
    );
    // Known only now: which files a rule file includes is in its text.
    let seen = reads.seen();
    named_files.extend(seen.keys().cloned());
    named_files.sort();
    named_files.dedup();
    // Told in either case: whoever mends a file wants to know of the others.
    let (certificates, broken) = CertificateStore::load(&certificate_files, previous);
    let broken = broken.into_iter().map(|broken| {
        let index = certificate_files
            .iter()
            .position(|known| known.name == broken.name);
        let path = format!("certificates[{}]", index.unwrap_or_default());
        Problem {
            origin: read.origins.locate(&path),
            path,
            reason: format!("certificate {:?}: {}", broken.name, broken.reason),
            hint: None,
            severity: broken.severity,
        }
    });
    match compiled {
        Ok((mut snapshot, warnings)) => {
            snapshot.hash = content_hash(&sources, &seen);
            problems.extend(warnings);
            problems.extend(broken);
            Ok(Loaded {
                snapshot,
                certificates,
                problems,
                origins: read.origins,
                named_files,
            })
        }
        Err(more) => {
            problems.extend(more);
            problems.extend(broken);
            Err(Refused {
                problems,
                named_files,
            })
        }
    }
}

/// A configuration without any listener: a file that was cut or emptied, and must
/// not take away everything that serves.
fn nothing_to_serve(document: &Document, files: &ConfigFiles) -> Option<Problem> {
    let egress = document
        .egress
        .as_ref()
        .is_some_and(|egress| !egress.listeners.is_empty());
    (document.listeners.is_empty() && !egress).then(|| Problem {
        origin: whole(files),
        path: "listeners".into(),
        reason: "there is no listener, and none in egress: nothing would be served".into(),
        hint: Some(
            "a listener needs a name and a protocol: `- {name: http, protocol: http}`".into(),
        ),
        severity: Severity::Error,
    })
}

/// The configuration as a whole, named by its first file or folder.
fn whole(files: &ConfigFiles) -> Origin {
    let first = files.paths().first();
    Origin::File {
        file: first
            .map(|path| path.display().to_string())
            .unwrap_or_default(),
        line: 0,
        column: 0,
    }
}

fn unreadable(files: &ConfigFiles, error: &std::io::Error) -> Problem {
    Problem {
        origin: whole(files),
        path: String::new(),
        reason: error.to_string(),
        hint: None,
        severity: Severity::Error,
    }
}

/// The files that a configuration names itself: certificates, rules, CAs.
fn named_files(model: &Model) -> Vec<PathBuf> {
    let rules = model
        .waf_profiles
        .iter()
        .flat_map(|profile| &profile.rules)
        .filter_map(|rules| match rules {
            WafRules::File(path) => Some(path.clone()),
            WafRules::Builtin(_) | WafRules::Inline(_) => None,
        });
    let authorities = model
        .backends
        .iter()
        .filter_map(|backend| backend.tls.as_ref())
        .flat_map(|tls| {
            let (certificate, key) = tls.identity.clone().unzip();
            [tls.ca.clone(), certificate, key]
        })
        .flatten();
    let secrets = model
        .backends
        .iter()
        .filter_map(|backend| backend.affinity.as_ref()?.secret.clone());
    let pairs = model
        .certificates
        .iter()
        .flat_map(|pair| [pair.certificate.clone(), pair.key.clone()]);
    rules
        .chain(authorities)
        .chain(secrets)
        .chain(pairs)
        .collect()
}

fn content_hash(sources: &[SourceFile], files: &BTreeMap<PathBuf, ContentHash>) -> String {
    let mut hash = Sha256::new();
    let mut add = |name: &[u8], content: &[u8]| {
        for part in [name, content] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    };
    for source in sources {
        add(source.name.as_bytes(), source.text.as_bytes());
    }
    for (path, content) in files {
        add(path.as_os_str().as_encoded_bytes(), content);
    }
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
