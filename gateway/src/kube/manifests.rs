//! Manifests on disk, served as a cluster would serve them.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use k8s_openapi::{Resource, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use portcullis_config::{problem::Problem, read::Read};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::sync::Notify;

use super::{
    ClusterEgressPolicyObject, EgressPolicyObject, Kind, ObjectSet, Options, ResourceName,
    settings, sizes, translate::translate,
};
use crate::{
    files::Contents,
    source::{Objects, Settings},
};

/// Largest file that is read.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// Documents of one file.
const MAX_DOCUMENTS: usize = 1_000_000;

/// Keys, values and lists of one file.
const MAX_NODES: usize = 10_000_000;

/// The namespace of objects that name none, as `kubectl apply` has it.
const DEFAULT_NAMESPACE: &str = "default";

/// The objects of some manifests.
#[derive(Debug)]
pub struct Manifests {
    objects: ObjectSet,
    options: Options,
    changes: Notify,
}

impl Manifests {
    /// Reads files, and folders with those that are below them: YAML or JSON, with one object
    /// or more, or lists of them. Kinds that are not served are passed over.
    ///
    /// Where there is no IngressClass among them, Ingresses of every class are served.
    ///
    /// # Errors
    /// What cannot be read, or is no object, with its place.
    pub fn read(paths: &[PathBuf], mut options: Options) -> anyhow::Result<Self> {
        let mut objects = ObjectSet::default();
        for path in paths {
            for file in files_below(path)? {
                read_file(&file, &mut objects)
                    .with_context(|| format!("manifest {}", file.display()))?;
            }
        }
        options.any_class |= objects.ingress_classes.is_empty();
        options.local_addresses = true;
        Ok(Self {
            objects,
            options,
            changes: Notify::new(),
        })
    }
}

#[cfg(test)]
impl Manifests {
    pub(super) fn objects(&self) -> &ObjectSet {
        &self.objects
    }

    pub(super) fn options(&self) -> &Options {
        &self.options
    }
}

impl Objects for Manifests {
    fn settings(&self) -> Result<Settings, Vec<Problem>> {
        settings::settings(&self.objects, &self.options)
    }

    fn translate(&self, read: &mut Read) -> Contents {
        read.problems.extend(sizes::problems(&self.objects));
        translate(&self.objects, &self.options, read)
    }

    fn are_known(&self) -> bool {
        true
    }

    fn changes(&self) -> &Notify {
        &self.changes
    }

    fn tell(&self, _: &[Problem]) {}

    fn unready(&self) -> Vec<String> {
        Vec::new()
    }
}

fn files_below(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let named = || format!("{}", path.display());
    if !std::fs::metadata(path).with_context(named)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut entries = std::fs::read_dir(path)
        .with_context(named)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .with_context(named)?;
    entries.sort();
    let mut files = Vec::new();
    for entry in entries {
        let name = entry
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let is_manifest = [".yaml", ".yml", ".json"]
            .iter()
            .any(|end| name.ends_with(end));
        if name.starts_with('.') {
            continue;
        } else if entry.is_dir() {
            files.extend(files_below(&entry)?);
        } else if is_manifest {
            files.push(entry);
        }
    }
    Ok(files)
}

fn read_file(file: &Path, objects: &mut ObjectSet) -> anyhow::Result<()> {
    let bytes = Contents::default()
        .read(file, MAX_FILE_BYTES)
        .map_err(anyhow::Error::msg)?;
    let text = String::from_utf8(bytes).context("not UTF-8 text")?;
    // As many as a whole cluster has; and no piece of a Secret in an error.
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_documents: MAX_DOCUMENTS,
            max_nodes: MAX_NODES,
            max_events: 4 * MAX_NODES,
        },
        with_snippet: false,
    };
    let documents: Vec<serde_json::Value> =
        serde_saphyr::from_multiple_with_options(&text, options)?;
    for (number, document) in documents.into_iter().enumerate() {
        add(document, objects).with_context(|| format!("document {}", number + 1))?;
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    api_version: Option<String>,
    kind: Option<String>,
    #[serde(default)]
    items: Vec<serde_json::Value>,
}

fn add(document: serde_json::Value, objects: &mut ObjectSet) -> anyhow::Result<()> {
    if document.is_null() {
        return Ok(());
    }
    let head = Head::deserialize(&document).context("not an object of Kubernetes")?;
    let (Some(version), Some(kind)) = (head.api_version, head.kind) else {
        anyhow::bail!("not an object of Kubernetes: it has no apiVersion and kind");
    };
    match (version.as_str(), kind.as_str()) {
        (_, kind) if kind.ends_with("List") && !head.items.is_empty() => {
            for item in head.items {
                add(item, objects)?;
            }
            return Ok(());
        }
        ("networking.k8s.io/v1", "Ingress") => keep(document, &mut objects.ingresses, true),
        ("networking.k8s.io/v1", "IngressClass") => {
            keep(document, &mut objects.ingress_classes, false)
        }
        ("v1", "Service") => keep(document, &mut objects.services, true),
        ("v1", "Secret") => keep(document, &mut objects.secrets, true),
        ("v1", "ConfigMap") => keep(document, &mut objects.config_maps, true),
        ("discovery.k8s.io/v1", "EndpointSlice") => {
            keep(document, &mut objects.endpoint_slices, true)
        }
        (EgressPolicyObject::API_VERSION, EgressPolicyObject::KIND) => {
            keep(document, &mut objects.egress_policies, true)
        }
        (ClusterEgressPolicyObject::API_VERSION, ClusterEgressPolicyObject::KIND) => {
            keep(document, &mut objects.cluster_egress_policies, false)
        }
        _ => {
            tracing::debug!(%version, %kind, "not served");
            Ok(())
        }
    }
    .with_context(|| kind)
}

fn keep<K>(document: serde_json::Value, kind: &mut Kind<K>, namespaced: bool) -> anyhow::Result<()>
where
    K: DeserializeOwned + Resource + k8s_openapi::Metadata<Ty = ObjectMeta>,
{
    let mut object: K = serde_json::from_value(document)?;
    let metadata = object.metadata_mut();
    if namespaced {
        let namespace = &mut metadata.namespace;
        namespace.get_or_insert_with(|| DEFAULT_NAMESPACE.to_owned());
    }
    let name = ResourceName::of(metadata);
    anyhow::ensure!(!name.name.is_empty(), "it has no name");
    match kind.insert(name.clone(), Arc::new(object)) {
        None => Ok(()),
        Some(_) => anyhow::bail!("{} {name} stands twice", K::KIND),
    }
}
