//! Settings of the whole gateway, from a ConfigMap.

use k8s_openapi::api::core::v1::ConfigMap;
use portcullis_config::{
    problem::{Problem, Severity},
    read::SourceFile,
};

use super::{ObjectSet, Options, objects::place};

/// The documents of the ConfigMap that was named; none where none was.
///
/// # Errors
/// Where the ConfigMap is not there, or has no document.
pub(super) fn settings(
    objects: &ObjectSet,
    options: &Options,
) -> Result<Vec<SourceFile>, Box<Problem>> {
    let Some(name) = &options.config_map else {
        return Ok(Vec::new());
    };
    let problem = |reason: String| {
        Box::new(Problem {
            origin: place::<ConfigMap>(name, ""),
            path: String::new(),
            reason,
            hint: None,
            severity: Severity::Error,
        })
    };
    let config_map = objects.config_maps.get(name);
    let config_map = config_map.ok_or_else(|| problem("there is no such ConfigMap".to_owned()))?;
    let data = config_map.data.iter().flatten();
    let documents = data.filter(|(key, _)| key.ends_with(".yaml") || key.ends_with(".yml"));
    let documents: Vec<SourceFile> = documents
        .map(|(key, text)| SourceFile {
            name: format!("ConfigMap/{name}/{key}"),
            text: text.clone(),
        })
        .collect();
    match documents.is_empty() {
        true => Err(problem("no key of it ends in .yaml".to_owned())),
        false => Ok(documents),
    }
}
