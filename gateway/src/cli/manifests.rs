//! `--manifests`, and what else says which objects of a cluster are served.

use std::{path::PathBuf, sync::Arc};

use clap::Args;

use crate::{
    kube::{Manifests, Options, ResourceName},
    source::Objects,
};

/// Which objects are served, and how.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct ManifestArgs {
    /// Serve the Kubernetes objects of this file or folder, subfolders included, as a cluster
    /// would; may be given more than once.
    #[arg(long, value_name = "PATH")]
    manifests: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) objects: ObjectArgs,
}

/// How objects are served, from a cluster or from manifests.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct ObjectArgs {
    /// ConfigMap with settings of the whole gateway, the same documents as in files: every key
    /// that ends in `.yaml` or `.yml` is one, or packed in `.yaml.gz` or `.yml.gz`. May be given
    /// more than once: all of them are one configuration, as the files of a folder are.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    configmap: Vec<ResourceName>,
    /// Controller of the IngressClasses that are served.
    #[arg(long, value_name = "NAME", default_value = Options::CONTROLLER)]
    controller_class: String,
    /// Serve Ingresses that name no class too, besides those of a default class.
    #[arg(long)]
    watch_ingress_without_class: bool,
    /// Secret with the certificate for hosts that have none of their own. Default: one that the
    /// process makes for itself, and no client trusts.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    default_ssl_certificate: Option<ResourceName>,
    /// Serve Services of type ExternalName. Whoever may write one then has the gateway
    /// connect to any name that it can look up.
    #[arg(long)]
    allow_external_names: bool,
    /// Let a wildcard host of an Ingress, as `*.shop.test`, stand for several labels, and not for
    /// one as the API says.
    #[arg(long)]
    wildcard_many_labels: bool,
    /// Let Ingresses of this namespace answer challenges of ACME for hosts of other namespaces,
    /// as where one has all Certificates; may be given more than once.
    #[arg(long, value_name = "NAMESPACE")]
    acme_challenge_namespace: Vec<String>,
}

impl ObjectArgs {
    /// As the translation takes them.
    pub(super) fn options(&self) -> Options {
        Options {
            config_maps: self.configmap.iter().cloned().collect(),
            controller: self.controller_class.clone(),
            without_class: self.watch_ingress_without_class,
            any_class: false,
            default_certificate: self.default_ssl_certificate.clone(),
            external_names: self.allow_external_names,
            local_addresses: false,
            many_labels: self.wildcard_many_labels,
            challenge_namespaces: self.acme_challenge_namespace.clone(),
            zone: None,
        }
    }
}

impl ManifestArgs {
    /// The objects of the manifests, where any are given.
    ///
    /// # Errors
    /// What is no manifest, with its place.
    pub(super) fn objects(&self) -> anyhow::Result<Option<Arc<dyn Objects>>> {
        if self.manifests.is_empty() {
            return Ok(None);
        }
        let manifests = Manifests::read(&self.manifests, self.objects.options())?;
        Ok(Some(Arc::new(manifests)))
    }
}
