//! `--kubernetes`, and what says how a cluster is watched.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::manifests::ObjectArgs;
use crate::kube::{ClusterOptions, SecretAccess};

/// How a cluster is reached and watched.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct ClusterArgs {
    /// Serve the objects of the Kubernetes cluster that this process is a pod of.
    #[arg(long, conflicts_with = "manifests")]
    kubernetes: bool,
    /// Where the cluster is and who we are, for a process that is no pod.
    #[arg(long, requires = "kubernetes", value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Serve the objects of this namespace alone; may be given more than once.
    #[arg(long, requires = "kubernetes", value_name = "NAMESPACE")]
    watch_namespace: Vec<String>,
    /// Which Secrets are asked for: `all` watches all of them and keeps those that are referred
    /// to, `named` asks for those by name, so that a Role can name them.
    #[arg(
        long,
        requires = "kubernetes",
        value_enum,
        default_value_t,
        value_name = "WHICH"
    )]
    secrets: Secrets,
    /// The Node that this process runs on: its zone is preferred where EndpointSlices have hints.
    #[arg(long, env = "NODE_NAME", hide_env_values = true, value_name = "NAME")]
    node_name: Option<String>,
}

/// Which Secrets are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Secrets {
    /// All, of which those are kept that are referred to.
    #[default]
    All,
    /// Each by its name.
    Named,
}

impl From<Secrets> for SecretAccess {
    fn from(secrets: Secrets) -> Self {
        match secrets {
            Secrets::All => Self::All,
            Secrets::Named => Self::Named,
        }
    }
}

impl ClusterArgs {
    /// How a cluster is watched, where one is to be.
    pub(super) fn options(&self, objects: &ObjectArgs) -> Option<ClusterOptions> {
        self.kubernetes.then(|| ClusterOptions {
            kubeconfig: self.kubeconfig.clone(),
            namespaces: self.watch_namespace.clone(),
            secrets: self.secrets.into(),
            node: self.node_name.clone(),
            options: objects.options(),
        })
    }
}
