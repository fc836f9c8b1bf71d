//! Files to snapshot: one pass over everything a configuration names.
//!
//! ```text
//! ConfigFiles -> read -> Document -> validate -> Model -> compile -> Snapshot
//!                                                   \-> certificates, client CAs -> TlsFiles
//! ```
//!
//! `run` and `check` take the same path, so what `check` accepts is what runs.

mod named_files;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use portcullis_config::{
    document::Document,
    problem::{Origin, Problem, Severity},
    read::{Origins, read},
    validate::{Made, validate_again},
};
use sha2::{Digest, Sha256};

use self::named_files::named_files;
use crate::{
    document_hash::DocumentHash,
    files::{ConfigFiles, Contents, DiskReads, is_of_cluster, own_mounts},
    snapshot::{ContentHash, Live, Reads, Snapshot, compile},
    source::{Settings, Source},
    telemetry::Metrics,
    tls::TlsFiles,
};

/// A configuration that may serve.
#[derive(Debug)]
pub struct Loaded {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// What TLS with clients needs, each file in its last good version.
    pub tls_files: TlsFiles,
    /// Warnings, and files whose last good version serves on: these are told.
    pub problems: Vec<Problem>,
    /// Where everything stands, for problems that show only when it is put in force.
    pub origins: Origins,
    /// Files that the configuration names, to be watched with it.
    pub named_files: Vec<PathBuf>,
    /// The settings, where all objects are in it: then they may go on when later ones are wrong.
    /// Without objects none are kept.
    pub settings: Option<Settings>,
    /// Why the settings of now are refused, where those of before serve with the objects of now.
    pub settings_refused: Option<Problem>,
}

/// A configuration that may not.
#[derive(Debug)]
pub struct Refused {
    /// Every problem.
    pub problems: Vec<Problem>,
    /// Files that the configuration names, as far as it could be read.
    pub named_files: Vec<PathBuf>,
}

impl Refused {
    /// The problem to tell where there is room for one: the first that refuses.
    pub fn first(&self) -> Option<&Problem> {
        let mut errors = self.problems.iter();
        errors.find(|problem| refuses(problem)).or_else(|| {
            // Settings that are not there are no file, and nothing beside them was read.
            self.problems.first()
        })
    }
}

/// Reads, validates and compiles a configuration.
///
/// Files are refused whole. With objects, one that is wrong is left out; and where the
/// settings beside them are wrong, those that served last go on, so that endpoints and
/// certificates change all the same.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load(
    source: &Source,
    live: &Live,
    metrics: &Metrics,
    serving: Option<Serving<'_>>,
) -> Result<Loaded, Refused> {
    let reads = DiskReads::begin();
    let loaded = load_noting(source, live, metrics, serving, &reads);
    // Of a refused one too: it is what its files said then that is refused.
    source.files().add_read(reads);
    loaded
}

/// Loads, and notes what is read from disk.
fn load_noting(
    source: &Source,
    live: &Live,
    metrics: &Metrics,
    serving: Option<Serving<'_>>,
    reads: &DiskReads,
) -> Result<Loaded, Refused> {
    // Asked once, and first: what comes in between is in the next load.
    let is_whole = source.knows_objects();
    let attempt = |settings: &Settings| {
        Attempt {
            source,
            settings,
            live,
            metrics,
            serving,
            reads,
            is_whole,
        }
        .load()
    };
    let refused = match source.settings(reads) {
        Ok(settings) => match source.known_refusal(&settings) {
            Some(problems) => Refused {
                problems,
                named_files: Vec::new(),
            },
            None => match attempt(&settings) {
                Ok(loaded) => return Ok(loaded),
                Err(refused) => refused,
            },
        },
        Err(problems) => Refused {
            problems,
            named_files: Vec::new(),
        },
    };
    let last_good = source.last_good().map(|settings| attempt(&settings));
    let Some(Ok(mut loaded)) = last_good else {
        return Err(refused);
    };
    loaded.settings_refused = refused.first().cloned();
    loaded.named_files.extend(refused.named_files);
    let news = refused.problems.into_iter();
    let news = news.filter(|problem| !loaded.problems.contains(problem));
    let news: Vec<_> = news.collect();
    loaded.problems.extend(news);
    Ok(loaded)
}

/// What serves: what did not change is taken over from it.
#[derive(Clone, Copy, Debug)]
pub struct Serving<'a> {
    /// The snapshot.
    pub snapshot: &'a Snapshot,
    /// What TLS with clients goes by.
    pub tls_files: &'a TlsFiles,
}

/// One try with some settings.
struct Attempt<'a> {
    source: &'a Source,
    settings: &'a Settings,
    live: &'a Live,
    metrics: &'a Metrics,
    serving: Option<Serving<'a>>,
    reads: &'a DiskReads,
    /// Whether all objects were known.
    is_whole: bool,
}

impl Attempt<'_> {
    fn load(self) -> Result<Loaded, Refused> {
        let files = self.source.files();
        let mut read = read(&self.settings.documents);
        let nothing = nothing_to_serve(&read.document, files);
        if !self.is_whole {
            // An answer that there is no such host would be a wrong one, and what policies of the
            // cluster deny would be open.
            read.document.listeners.clear();
            read.document.egress = None;
        }
        let mut contents = match self.source.objects() {
            Some(objects) => objects.translate(&mut read),
            None => Contents::default(),
        };
        contents.set_config_maps(Arc::clone(&self.settings.config_maps));
        contents.note_in(self.reads.clone());
        let before = self.serving.map(|serving| serving.snapshot);
        let nothing_made = Made::default();
        let made_before = before.map_or(&nothing_made, |before| &before.made);
        read.document.share(made_before.document());
        let document = Arc::new(read.document);
        let document_hash = self.source.objects().map(|_| {
            let before = before.and_then(|before| before.document_hash.as_ref());
            DocumentHash::of(&document, before)
        });
        let (validated, made) = validate_again(&document, &read.origins, made_before);
        let mut named_files = named_files(&validated.model);
        let mut problems = read.problems;
        problems.extend(validated.problems);
        let of_settings = |problem: &Problem| !matches!(problem.origin, Origin::Object { .. });
        if !problems.iter().any(of_settings) {
            // Next to other problems it may only be what is left of a broken listener.
            problems.extend(nothing);
        }
        if problems.iter().any(refuses) {
            return Err(Refused {
                problems,
                named_files,
            });
        }
        // Told in either case: whoever mends a file wants to know of the others.
        let (tls_files, broken) = TlsFiles::load(
            &validated.model,
            self.serving.map(|serving| serving.tls_files),
            &contents,
        );
        let refuses = broken.iter().any(|broken| broken.refuses);
        let broken = broken.into_iter().map(|broken| {
            let origin = read.origins.locate(&broken.path);
            Problem::new(broken.severity, origin, broken.path, broken.reason)
                .with_category(broken.category)
        });
        let reads = Reads::of(contents);
        let compiled = compile(
            (made, validated.model),
            before,
            &read.origins,
            (self.live, self.metrics),
            &reads,
        );
        // Known only now: which files a rule file includes is in its text.
        let seen = reads.seen();
        named_files.extend(seen.keys().filter(|path| !is_of_cluster(path)).cloned());
        named_files.sort();
        named_files.dedup();
        let files_read = match files.paths().is_empty() {
            true => Vec::new(),
            false => files.files().unwrap_or_default(),
        };
        problems.extend(never_changing(files_read.iter().chain(&named_files)));
        match compiled {
            Ok((mut snapshot, warnings)) if !refuses => {
                let hash_of_objects = document_hash.as_ref().map(DocumentHash::whole);
                snapshot.hash = content_hash(self.settings, &seen, hash_of_objects);
                snapshot.document_hash = document_hash;
                problems.extend(warnings);
                problems.extend(broken);
                Ok(Loaded {
                    snapshot,
                    tls_files,
                    problems,
                    origins: read.origins,
                    named_files,
                    // What serves until all is known must not go on in place of settings that
                    // turn out to be wrong.
                    settings: (self.is_whole && self.source.objects().is_some())
                        .then(|| self.settings.clone()),
                    settings_refused: None,
                })
            }
            Ok((_, more)) | Err(more) => {
                problems.extend(more);
                problems.extend(broken);
                Err(Refused {
                    problems,
                    named_files,
                })
            }
        }
    }
}

/// Whether nothing may serve with a problem: what is wrong in an object hurts that alone.
fn refuses(problem: &Problem) -> bool {
    problem.severity == Severity::Error && !matches!(problem.origin, Origin::Object { .. })
}

/// A configuration without any listener: a file that was cut or emptied, and must
/// not take away everything that serves.
fn nothing_to_serve(document: &Document, files: &ConfigFiles) -> Option<Problem> {
    let egress = document
        .egress
        .as_ref()
        .is_some_and(|egress| !egress.listeners.is_empty());
    (document.listeners.is_empty() && !egress).then(|| {
        let reason = "there is no listener, and none in egress: nothing would be served";
        let hint = "a listener needs a name and a protocol: `- {name: http, protocol: http}`";
        Problem::error(whole(files), "listeners", reason).with_hint(Some(hint))
    })
}

/// Warns of files whose changes will not be seen.
fn never_changing<'a>(files: impl IntoIterator<Item = &'a PathBuf>) -> Vec<Problem> {
    let own_mounts = own_mounts(files);
    let problems = own_mounts.into_iter().map(|file| {
        let origin = Origin::File {
            file: file.display().to_string(),
            line: 0,
            column: 0,
        };
        let reason = "the file is a mount of its own: one that takes its place is never seen";
        let hint = "mount the folder it is in, without `subPath`";
        Problem::warning(origin, "", reason).with_hint(Some(hint))
    });
    problems.collect()
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

pub(crate) fn unreadable(files: &ConfigFiles, error: &std::io::Error) -> Problem {
    Problem::error(whole(files), "", error.to_string())
}

fn content_hash(
    settings: &Settings,
    files: &BTreeMap<PathBuf, ContentHash>,
    objects: Option<&ContentHash>,
) -> String {
    let mut hash = Sha256::new();
    let mut add = |name: &[u8], content: &[u8]| {
        for part in [name, content] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    };
    for source in &settings.documents {
        add(source.name.as_bytes(), source.text.as_bytes());
    }
    for (path, content) in files {
        add(path.as_os_str().as_encoded_bytes(), content);
    }
    if let Some(objects) = objects {
        add(b"objects", objects);
    }
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests;
