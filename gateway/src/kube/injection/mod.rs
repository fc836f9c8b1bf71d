//! What a pod is given when it is created, so that its programs find the egress proxy.
//!
//! ```text
//! pod -> is it left out? -> volumes -> variables and mounts of each container -> relay -> patch
//! ```
//!
//! It goes in as the API server has it, and what comes out are additions. What its author has set is left
//! alone and told: in a warning, and in an annotation of the pod. What is given opens nothing, and a pod
//! that goes without it is kept in by NetworkPolicies all the same.

mod left_out;
mod patch;
mod pod;
mod relay;
mod variables;
mod volumes;

use std::net::IpAddr;

use k8s_openapi::api::core::v1;
use portcullis_config::{
    egress::{Host, ProxyUrl},
    model::{EgressWorkloads, Identified, InjectedIdentity, PodInjection},
};
use serde_json::{Value, json};

use self::{
    left_out::{LeftOut, left_out},
    patch::Patch,
    pod::{Container, Pod, PodSpec},
    volumes::{Mount, TOKEN, TRUST},
};
use super::{
    OF_CLUSTER,
    review::{Review, Verdict, told},
};
use crate::egress_clients::{ClientSettings, TOKEN_FOLDER, TRUST_FOLDER, Variable};

/// Annotation that says what was given.
const INJECTED: &str = "portcullis.dev/egress-injected";
/// Annotation that says what was left alone.
const LEFT_ALONE: &str = "portcullis.dev/egress-left-alone";

/// What is given, and what is known of the cluster.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around<'a> {
    /// What is in force.
    pub(super) workloads: Given<'a>,
    /// The namespace that this process runs in; empty where it is not known.
    pub(super) own_namespace: &'a str,
    /// The address of the API server's Service.
    pub(super) api_server: Option<IpAddr>,
}

/// What namespaces with a label get.
#[derive(Clone, Copy, Debug)]
pub(super) enum Given<'a> {
    /// No configuration has been put in force since the process began.
    NotYet,
    /// What the configuration says, if anything.
    Known(Option<&'a EgressWorkloads>),
}

/// The answer to a question about a pod. There is none as long as it is not known what pods are given: a pod
/// that were let through would go without it for as long as it lives.
pub(super) fn answer(review: &Review, around: Around<'_>) -> Option<Value> {
    Some(verdict(review, around)?.into_answer(review.uid()))
}

fn verdict(review: &Review, around: Around<'_>) -> Option<Verdict> {
    if !review.is_created() || !review.is::<v1::Pod>() {
        return Some(Verdict::default());
    }
    let namespace = review.namespace();
    let runs_here = OF_CLUSTER.contains(&namespace) || namespace == around.own_namespace;
    if runs_here {
        return Some(of_the_proxy(namespace));
    }
    let Given::Known(workloads) = around.workloads else {
        return None;
    };
    if workloads.is_some_and(|workloads| proxy_namespaces(workloads).any(|of| of == namespace)) {
        return Some(of_the_proxy(namespace));
    }
    let Some(injection) = workloads.and_then(|known| known.injection.as_ref()) else {
        return Some(Verdict::warned(
            "no `egress.workloads.injection` is in force: the pod is given nothing for the egress proxy".to_owned(),
        ));
    };
    let pod: Pod = match review.object() {
        Ok(pod) => pod,
        Err(error) => return Some(Verdict::refused(error)),
    };
    Some(match left_out(&pod) {
        Some(LeftOut::Silently) => Verdict::default(),
        Some(LeftOut::Since(reason)) => Verdict::warned(format!(
            "the pod is given nothing for the egress proxy: {reason}"
        )),
        None => inject(&pod, injection, around.api_server).unwrap_or_else(Verdict::refused),
    })
}

fn of_the_proxy(namespace: &str) -> Verdict {
    Verdict::warned(format!(
        "pods of {namespace} are given nothing for the egress proxy: the cluster, or the proxy, runs by them"
    ))
}

/// Where the proxy may run besides: the namespace of its Service, and that which NetworkPolicies open.
fn proxy_namespaces(workloads: &EgressWorkloads) -> impl Iterator<Item = &str> {
    let injection = workloads.injection.as_ref();
    let of_service = injection.and_then(|injection| service_namespace(&injection.proxy));
    let policies = workloads.network_policies.as_ref();
    let opened = policies.and_then(|policies| policies.proxy_namespace.as_deref());
    of_service.into_iter().chain(opened)
}

/// The namespace of a Service, where a proxy is named by one: `NAME.NAMESPACE.svc`, with or without
/// the domain of the cluster.
fn service_namespace(proxy: &ProxyUrl) -> Option<&str> {
    let Host::Name(name) = &proxy.authority().host else {
        return None;
    };
    let mut labels = name.split('.').skip(1);
    let namespace = labels.next()?;
    (labels.next() == Some("svc")).then_some(namespace)
}

/// What is done to a pod. Done again, it is nothing.
///
/// # Errors
/// What in the pod is in the way.
fn inject(
    pod: &Pod,
    injection: &PodInjection,
    api_server: Option<IpAddr>,
) -> Result<Verdict, String> {
    let spec = pod.spec.as_ref().ok_or("the Pod has no spec")?;
    spec.check()?;
    let known_relay = relay::known(spec);
    let mut wanted = Wanted::of(injection, known_relay, api_server);
    let has_relay = known_relay.is_some();
    let added = volumes::missing(volumes::wanted(injection, has_relay), spec)?;
    let mut patch = Patch::default();
    patch.append("/spec/volumes", spec.volumes.len(), added);
    for (list, index, container) in spec.all() {
        wanted.give((list, index), container, &mut patch);
    }
    if let (Identified::Relay(relay, _), false) = (&injection.identity, has_relay) {
        wanted.warn_of_port(spec, relay.port);
        if spec.all().any(|(.., known)| known.name == relay::NAME) {
            return Err(format!(
                "spec.containers: {:?} is a name that is kept for the relay, and this is none",
                relay::NAME
            ));
        }
        // Last: what was said of the others is by their places of before. And first of them all, since those
        // that come after it may use it.
        let sidecar = relay::container(relay, &injection.proxy);
        patch.prepend("/spec/initContainers", spec.init_containers.len(), sidecar);
    }
    let annotations = pod.metadata.annotations.as_ref();
    let mut notes = vec![(INJECTED, word(injection.identity.kind()).to_owned())];
    if !wanted.left_alone.is_empty() {
        notes.push((LEFT_ALONE, told(wanted.left_alone).join("; ")));
    }
    notes.retain(|(key, value)| annotations.and_then(|known| known.get(*key)) != Some(value));
    patch.set("/metadata/annotations", annotations.is_some(), &notes);
    Ok(Verdict {
        warnings: wanted.warnings,
        patch: patch.into_operations(),
        ..Verdict::default()
    })
}

fn word(identity: InjectedIdentity) -> &'static str {
    match identity {
        InjectedIdentity::Relay => "relay",
        InjectedIdentity::Token => "token",
        InjectedIdentity::None => "none",
    }
}

/// What each container is to have, and what has been said of those before.
struct Wanted {
    proxy: Vec<Variable>,
    trust: Option<Vec<Variable>>,
    mounts_token: bool,
    /// Init containers that have ended when the relay begins.
    before_relay: usize,
    /// What was left alone, by container.
    left_alone: Vec<String>,
    warnings: Vec<String>,
}

impl Wanted {
    fn of(
        injection: &PodInjection,
        known_relay: Option<relay::Known>,
        api_server: Option<IpAddr>,
    ) -> Self {
        let before_relay = match (&injection.identity, known_relay) {
            (Identified::Relay(..), Some(known)) => known.begins_after,
            _ => 0,
        };
        let at = known_relay.map(|known| known.address);
        let settings = ClientSettings::of_pods(injection, at, api_server);
        Self {
            proxy: settings.proxy_variables(),
            trust: settings.trust.is_some().then(|| settings.trust_variables()),
            mounts_token: matches!(injection.identity, Identified::Token(_)),
            before_relay,
            left_alone: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Gives a container what it lacks.
    fn give(&mut self, (list, index): (&str, usize), container: &Container, patch: &mut Patch) {
        // A relay is no program that goes through one.
        if relay::is_relay(container) {
            return;
        }
        let place = format!("spec.{list}[{index}] {:?}", container.name);
        if list == pod::INIT_CONTAINERS && index < self.before_relay {
            self.warnings.push(format!(
                "{place}: given nothing: it has ended when the relay of the pod begins, and nobody would answer it"
            ));
            let name = &container.name;
            self.left_alone.push(format!("{name}: before the relay"));
            return;
        }
        let set = &*container.env;
        let (mut variables, mut left_alone) = variables::missing(&self.proxy, set);
        let mut mounts = Vec::new();
        let mut mount = |volume: &'static str, path: &'static str| {
            let mount = volumes::mount(container, volume, path);
            if mount == Mount::Missing {
                mounts.push(json!({ "name": volume, "mountPath": path, "readOnly": true }));
            }
            mount != Mount::Taken
        };
        if let Some(trust) = &self.trust {
            match mount(TRUST, TRUST_FOLDER) {
                true => {
                    let (added, known) = variables::missing(trust, set);
                    variables.extend(added);
                    left_alone.extend(known);
                }
                // Variables that name a file which is not there would break every handshake.
                false => left_alone.push(TRUST_FOLDER),
            }
        }
        if self.mounts_token && !mount(TOKEN, TOKEN_FOLDER) {
            left_alone.push(TOKEN_FOLDER);
        }
        if !left_alone.is_empty() {
            let names = left_alone.join(", ");
            self.warnings
                .push(format!("{place}: set already, and left alone: {names}"));
            self.left_alone.push(format!("{}: {names}", container.name));
        }
        if !container.env_from.is_empty() && !variables.is_empty() {
            self.warnings.push(format!(
                "{place}: what its `envFrom` says of the proxy does not hold: variables of its own come before that"
            ));
        }
        let path = format!("/spec/{list}/{index}");
        patch.append(&format!("{path}/env"), set.len(), variables);
        let has = container.volume_mounts.len();
        patch.append(&format!("{path}/volumeMounts"), has, mounts);
    }

    /// Tells of a port that the relay takes.
    fn warn_of_port(&mut self, spec: &PodSpec, port: u16) {
        let mut ports = spec
            .all()
            .flat_map(|(.., container)| container.ports.iter());
        if ports.any(|known| known.container_port == i64::from(port)) {
            self.warnings.push(format!(
                "the pod has port {port}, on which the relay listens: a program cannot have it on all addresses (`egress.workloads.injection.relay.port`)"
            ));
        }
    }
}

#[cfg(test)]
mod tests;
