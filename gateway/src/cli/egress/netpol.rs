//! `portcullis egress netpol`.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{bail, ensure};
use clap::{Args, ValueEnum};
use portcullis_config::egress::{Label, is_namespace};

use crate::{
    cli::config::load,
    kube::only_way::{self, ClusterSubject, Dns, OnlyWay},
};

#[derive(Args, Debug)]
pub(super) struct NetpolArgs {
    /// Configuration of the proxy, for the ports of `egress.listeners`; may be given more than once.
    #[arg(long, short, value_name = "PATH")]
    config: Vec<PathBuf>,
    /// TCP port that the pods of the proxy listen on, in place of those of a configuration; may
    /// be given more than once. Not the port of a Service.
    #[arg(long, required_unless_present = "config", conflicts_with = "config", value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Vec<u16>,
    /// Namespace that a NetworkPolicy is printed for; may be given more than once.
    #[arg(long, required_unless_present = "cluster", value_name = "NAMESPACE", value_parser = namespace)]
    namespace: Vec<String>,
    /// Namespace of the proxy.
    #[arg(long, value_name = "NAMESPACE", default_value = "portcullis-egress", value_parser = namespace)]
    proxy_namespace: String,
    /// Label of the proxy's pods; may be given more than once.
    #[arg(
        long,
        value_name = "KEY=VALUE",
        value_delimiter = ',',
        default_value = "app.kubernetes.io/name=portcullis,app.kubernetes.io/component=egress"
    )]
    proxy_labels: Vec<Label>,
    /// Let pods ask the DNS of the cluster. Names can carry data out, and the proxy resolves names
    /// itself.
    #[arg(long)]
    allow_dns: bool,
    /// Namespace of the pods that resolve names.
    #[arg(long, value_name = "NAMESPACE", default_value = "kube-system", value_parser = namespace)]
    dns_namespace: String,
    /// Label of these pods; may be given more than once.
    #[arg(
        long,
        value_name = "KEY=VALUE",
        value_delimiter = ',',
        default_value = "k8s-app=kube-dns"
    )]
    dns_labels: Vec<Label>,
    /// Port that these pods listen on.
    #[arg(long, value_name = "PORT", default_value_t = 53, value_parser = clap::value_parser!(u16).range(1..))]
    dns_port: u16,
    /// Whether pods may reach other pods of the cluster, those that resolve names not among them.
    #[arg(long, value_enum, default_value_t = InCluster::Deny, value_name = "WHAT")]
    in_cluster: InCluster,
    /// Print a ClusterNetworkPolicy too, for the namespaces with `--namespace-label`.
    #[arg(long, requires = "namespace_label")]
    cluster: bool,
    /// Label of the namespaces that the ClusterNetworkPolicy is for; may be given more than once,
    /// and a namespace must have all of them.
    #[arg(
        long,
        requires = "cluster",
        value_name = "KEY=VALUE",
        value_delimiter = ','
    )]
    namespace_label: Vec<Label>,
    /// Tier of the ClusterNetworkPolicy. In `baseline` a NetworkPolicy takes its place.
    #[arg(long, requires = "cluster", value_enum, default_value_t = Tier::Admin, value_name = "TIER")]
    tier: Tier,
    /// Its priority there, 0 to 1000; the lowest is asked first.
    #[arg(long, requires = "cluster", default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u16).range(..=1000))]
    priority: u16,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum InCluster {
    Allow,
    Deny,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Tier {
    Admin,
    Baseline,
}

/// Prints the manifests.
pub(super) fn netpol(args: &NetpolArgs) -> anyhow::Result<ExitCode> {
    let cluster = args.cluster.then(|| ClusterSubject {
        namespace_labels: map(&args.namespace_label),
        tier: match args.tier {
            Tier::Admin => only_way::Tier::Admin,
            Tier::Baseline => only_way::Tier::Baseline,
        },
        priority: args.priority,
    });
    let namespaces = args.namespace.iter().cloned().collect();
    let text = args.way()?.manifests(&namespaces, cluster.as_ref())?;
    write!(std::io::stdout(), "{text}")?;
    Ok(ExitCode::SUCCESS)
}

impl NetpolArgs {
    fn way(&self) -> anyhow::Result<OnlyWay> {
        Ok(OnlyWay {
            proxy_namespace: self.proxy_namespace.clone(),
            proxy_labels: map(&self.proxy_labels),
            ports: self.ports()?,
            dns: Dns {
                namespace: self.dns_namespace.clone(),
                labels: map(&self.dns_labels),
                port: self.dns_port,
            },
            allow_dns: self.allow_dns,
            in_cluster: match self.in_cluster {
                InCluster::Allow => only_way::InCluster::Allow,
                InCluster::Deny => only_way::InCluster::Deny,
            },
        })
    }

    fn ports(&self) -> anyhow::Result<BTreeSet<u16>> {
        if self.config.is_empty() {
            return Ok(self.port.iter().copied().collect());
        }
        let snapshot = load(&self.config)?;
        let egress = snapshot.model.egress.as_ref();
        let listeners = egress.map(|egress| egress.listeners.as_slice());
        let mut ports = BTreeSet::new();
        for listener in listeners.unwrap_or_default() {
            let (name, address) = (&listener.name, listener.address);
            ensure!(
                address.port() != 0,
                "the egress listener {name:?} has no port of its own: say --port"
            );
            ensure!(
                !address.ip().is_loopback(),
                "the egress listener {name:?} is at {address}, where no other pod reaches it"
            );
            ports.insert(address.port());
        }
        if ports.is_empty() {
            bail!("the configuration has no `egress.listeners`: say --port");
        }
        Ok(ports)
    }
}

fn namespace(text: &str) -> Result<String, String> {
    if is_namespace(text) {
        Ok(text.to_owned())
    } else {
        Err("not a namespace: small letters, digits and `-`, at most 63".to_owned())
    }
}

fn map(labels: &[Label]) -> BTreeMap<String, String> {
    labels
        .iter()
        .map(|label| (label.key.clone(), label.value.clone()))
        .collect()
}
