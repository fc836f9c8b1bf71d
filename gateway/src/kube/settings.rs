//! Settings of the whole gateway, from the ConfigMaps that are named for them.
//!
//! All of them are one configuration: either all are there and can be read, or none counts.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::core::v1::ConfigMap;
use portcullis_config::{
    problem::{Origin, Problem},
    read::SourceFile,
};

use super::{ObjectSet, Options, ResourceName, objects::place};
use crate::{
    files::{ConfigMaps, unpack},
    source::Settings,
};

/// What one packed document may unpack to: no document may be larger.
const MAX_DOCUMENT_BYTES: u64 = 16 << 20;

/// What all packed documents may unpack to. A ConfigMap has room for a hundred that unpack to
/// the limit of one.
const MAX_UNPACKED_BYTES: u64 = 64 << 20;

/// The documents of the ConfigMaps that were named, by namespace, name and key, and what else
/// is in those; none where none was named.
///
/// # Errors
/// Each ConfigMap that is not there or has no document, and each document that cannot be read.
pub(super) fn settings(objects: &ObjectSet, options: &Options) -> Result<Settings, Vec<Problem>> {
    let mut documents = Documents::none();
    for name in &options.config_maps {
        match objects.config_maps.get(name) {
            Some(config_map) => documents.take(name, config_map),
            None => documents.wrong(name, "there is no such ConfigMap".to_owned()),
        }
    }
    match documents.problems.is_empty() {
        true => Ok(Settings {
            documents: documents.found,
            config_maps: Arc::new(documents.config_maps),
        }),
        false => Err(documents.problems),
    }
}

/// The documents of one ConfigMap.
///
/// # Errors
/// That there is none, or each that cannot be read.
pub(super) fn documents(
    name: &ResourceName,
    config_map: &ConfigMap,
) -> Result<Vec<SourceFile>, Vec<Problem>> {
    let mut documents = Documents::none();
    documents.take(name, config_map);
    match documents.problems.is_empty() {
        true => Ok(documents.found),
        false => Err(documents.problems),
    }
}

/// Whether a key holds a document, and whether packed.
fn form(key: &str) -> Option<Form> {
    let (plain, form) = match key.strip_suffix(".gz") {
        Some(plain) => (plain, Form::Packed),
        None => (key, Form::Plain),
    };
    (plain.ends_with(".yaml") || plain.ends_with(".yml")).then_some(form)
}

#[derive(Clone, Copy)]
enum Form {
    Plain,
    Packed,
}

/// Documents as they are found.
struct Documents {
    found: Vec<SourceFile>,
    /// All that was looked at.
    config_maps: ConfigMaps,
    problems: Vec<Problem>,
    /// What packed ones may still unpack to.
    room: u64,
}

impl Documents {
    fn none() -> Self {
        Self {
            found: Vec::new(),
            config_maps: ConfigMaps::new(),
            problems: Vec::new(),
            room: MAX_UNPACKED_BYTES,
        }
    }

    fn take(&mut self, name: &ResourceName, config_map: &ConfigMap) {
        let texts = config_map.data.iter().flatten();
        let binaries = config_map.binary_data.iter().flatten();
        // The API has no key in both, and manifests might.
        let keys: BTreeMap<String, Vec<u8>> = binaries
            .map(|(key, bytes)| (key.clone(), bytes.0.clone()))
            .chain(texts.map(|(key, text)| (key.clone(), text.clone().into_bytes())))
            .collect();
        let documents = keys
            .iter()
            .filter_map(|(key, content)| Some((key, form(key)?, content)));
        let mut is_empty = true;
        for (key, form, content) in documents {
            is_empty = false;
            let file = format!("ConfigMap/{name}/{key}");
            match self.text(form, content) {
                Ok(text) => self.found.push(SourceFile { name: file, text }),
                Err(reason) => {
                    let origin = Origin::File {
                        file,
                        line: 0,
                        column: 0,
                    };
                    self.problems.push(Problem::error(origin, "", reason));
                }
            }
        }
        let place = (name.namespace.clone(), name.name.clone());
        self.config_maps.insert(place, keys);
        if is_empty {
            self.wrong(name, "no key of it ends in .yaml or .yaml.gz".to_owned());
        }
    }

    fn text(&mut self, form: Form, content: &[u8]) -> Result<String, String> {
        let content = match form {
            Form::Plain => content.to_vec(),
            Form::Packed => {
                let max = MAX_DOCUMENT_BYTES.min(self.room);
                let unpacked = unpack(content, max).map_err(|reason| match max {
                    MAX_DOCUMENT_BYTES => reason,
                    _ => format!(
                        "{reason}, which is what is left of {} MiB for all documents together",
                        MAX_UNPACKED_BYTES >> 20
                    ),
                })?;
                self.room -= unpacked.len() as u64;
                unpacked
            }
        };
        String::from_utf8(content)
            .map_err(|error| format!("not UTF-8 at byte {}", error.utf8_error().valid_up_to()))
    }

    /// Something is wrong with a ConfigMap as a whole.
    fn wrong(&mut self, name: &ResourceName, reason: String) {
        let origin = place::<ConfigMap>(name, "");
        self.problems.push(Problem::error(origin, "", reason));
    }
}

#[cfg(test)]
mod tests;
