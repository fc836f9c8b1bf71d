//! What a pod is given when it is created, so that its programs find the egress proxy.
//!
//! ```text
//! pod -> is it left out? -> volumes -> variables and mounts of each container -> relay -> patch
//! ```
//!
//! It goes in as the API server has it, and what comes out are additions. What its author has set is left
//! alone and told: in a warning, and in an annotation of the pod. What is given opens nothing, and a pod
//! that goes without it is kept in by NetworkPolicies all the same.

mod patch;
mod relay;
mod variables;
mod volumes;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use portcullis_config::{
    egress::{Host, ProxyUrl},
    model::{EgressWorkloads, Identified, InjectedIdentity, PodInjection},
};
use serde_json::{Value, json};

use self::{
    patch::Patch,
    variables::Variable,
    volumes::{Mount, TOKEN, TOKEN_FOLDER, TRUST, TRUST_FILE, TRUST_FOLDER},
};
use super::{
    OF_CLUSTER,
    review::{Request, Review, Verdict, told},
};

/// Label of a pod that is left out, where it has the value `disabled`.
const OPT_OUT: &str = "portcullis.dev/egress-injection";
/// Annotation that says what was given.
const INJECTED: &str = "portcullis.dev/egress-injected";
/// Annotation that says what was left alone.
const LEFT_ALONE: &str = "portcullis.dev/egress-left-alone";
/// Annotation of what a kubelet runs by itself, of which the API server has but a mirror.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// What is given, and what is known of the cluster.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around<'a> {
    /// What is in force.
    pub(super) workloads: Option<&'a EgressWorkloads>,
    /// The namespace that this process runs in; empty where it is not known.
    pub(super) own_namespace: &'a str,
    /// The address of the API server's Service.
    pub(super) api_server: Option<&'a str>,
}

/// The answer to a question about a pod.
pub(super) fn answer(review: Review, around: Around<'_>) -> Value {
    let uid = review.request.uid.clone();
    verdict(review.request, around).into_answer(&uid)
}

fn verdict(request: Request, around: Around<'_>) -> Verdict {
    if !request.is_created() || !request.is::<Pod>() {
        return Verdict::default();
    }
    let namespace = request.namespace.clone();
    let injection = around.workloads.and_then(|known| known.injection.as_ref());
    let of_proxy = injection.and_then(|injection| service_namespace(&injection.proxy));
    let is_left_out = OF_CLUSTER.contains(&namespace.as_str())
        || namespace == around.own_namespace
        || of_proxy == Some(&namespace);
    if is_left_out {
        return Verdict::warned(format!(
            "pods of {namespace} are given nothing for the egress proxy: the cluster, or the proxy, runs by them"
        ));
    }
    let pod: Pod = match request.into_object() {
        Ok(pod) => pod,
        Err(error) => return Verdict::refused(error),
    };
    let Some(injection) = injection else {
        return Verdict::warned(
            "no `egress.workloads.injection` is in force: the pod is given nothing for the egress proxy".to_owned(),
        );
    };
    match left_out(&pod) {
        Some(LeftOut::Silently) => Verdict::default(),
        Some(LeftOut::Since(reason)) => Verdict::warned(format!(
            "the pod is given nothing for the egress proxy: {reason}"
        )),
        None => inject(&pod, injection, around.api_server).unwrap_or_else(Verdict::refused),
    }
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

enum LeftOut {
    Silently,
    Since(&'static str),
}

fn left_out(pod: &Pod) -> Option<LeftOut> {
    let annotations = pod.metadata.annotations.as_ref();
    let labels = pod.metadata.labels.as_ref();
    let spec = pod.spec.as_ref();
    if annotations.is_some_and(|known| known.contains_key(MIRROR)) {
        return Some(LeftOut::Silently);
    }
    let opts_out = |value: &String| value == "disabled";
    if labels
        .and_then(|known| known.get(OPT_OUT))
        .is_some_and(opts_out)
    {
        return Some(LeftOut::Since(
            "its label portcullis.dev/egress-injection says so",
        ));
    }
    if spec.is_some_and(|spec| spec.host_network == Some(true)) {
        return Some(LeftOut::Since(
            "it has the network of its node (hostNetwork), which no NetworkPolicy closes",
        ));
    }
    let os = spec.and_then(|spec| spec.os.as_ref());
    os.filter(|os| os.name == "windows")
        .map(|_| LeftOut::Since("it is for Windows"))
}

/// What is done to a pod. Done again, it is nothing.
///
/// # Errors
/// What in the pod is in the way.
fn inject(
    pod: &Pod,
    injection: &PodInjection,
    api_server: Option<&str>,
) -> Result<Verdict, String> {
    let spec = pod.spec.as_ref().ok_or("the Pod has no spec")?;
    let init = spec.init_containers.as_deref().unwrap_or_default();
    let known_relay = relay::port_of(spec);
    let mut wanted = Wanted::of(injection, known_relay, api_server);
    let has_relay = known_relay.is_some();
    let added = volumes::missing(volumes::wanted(injection, has_relay), spec)?;
    let mut patch = Patch::default();
    let has = spec.volumes.as_ref().map_or(0, Vec::len);
    patch.append("/spec/volumes", has, added);
    for (list, containers) in [("initContainers", init), ("containers", &spec.containers)] {
        for (index, container) in containers.iter().enumerate() {
            wanted.give((list, index), container, &mut patch);
        }
    }
    if let (Identified::Relay(relay, _), false) = (&injection.identity, has_relay) {
        wanted.warn_of_port(spec, relay.port);
        if init
            .iter()
            .chain(&spec.containers)
            .any(|known| known.name == relay::NAME)
        {
            return Err(format!(
                "spec.containers: {:?} is a name that is kept for the relay, and this is none",
                relay::NAME
            ));
        }
        // Last: what was said of the others is by their places of before. And first of them all, since those
        // that come after it may use it.
        let sidecar = relay::container(relay, &injection.proxy);
        patch.prepend("/spec/initContainers", init.len(), sidecar);
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
    /// What was left alone, by container.
    left_alone: Vec<String>,
    warnings: Vec<String>,
}

impl Wanted {
    fn of(injection: &PodInjection, known_relay: Option<u16>, api_server: Option<&str>) -> Self {
        let proxy = match &injection.identity {
            Identified::Relay(relay, _) => {
                format!("http://127.0.0.1:{}", known_relay.unwrap_or(relay.port))
            }
            Identified::Token(_) | Identified::None => injection.proxy.to_string(),
        };
        let trust = injection.trust.as_ref();
        Self {
            proxy: variables::of_proxy(injection, &proxy, api_server),
            trust: trust.map(|_| variables::of_trust(TRUST_FILE)),
            mounts_token: matches!(injection.identity, Identified::Token(_)),
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
        let set = container.env.as_deref().unwrap_or_default();
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
        let place = format!("spec.{list}[{index}] {:?}", container.name);
        if !left_alone.is_empty() {
            let names = left_alone.join(", ");
            self.warnings
                .push(format!("{place}: set already, and left alone: {names}"));
            self.left_alone.push(format!("{}: {names}", container.name));
        }
        if container.env_from.iter().flatten().next().is_some() && !variables.is_empty() {
            self.warnings.push(format!(
                "{place}: what its `envFrom` says of the proxy does not hold: variables of its own come before that"
            ));
        }
        let path = format!("/spec/{list}/{index}");
        patch.append(&format!("{path}/env"), set.len(), variables);
        let has = container.volume_mounts.as_ref().map_or(0, Vec::len);
        patch.append(&format!("{path}/volumeMounts"), has, mounts);
    }

    /// Tells of a port that the relay takes.
    fn warn_of_port(&mut self, spec: &PodSpec, port: u16) {
        let init = spec.init_containers.iter().flatten();
        let ports = init
            .chain(&spec.containers)
            .flat_map(|container| container.ports.iter().flatten());
        if ports
            .into_iter()
            .any(|known| known.container_port == i32::from(port))
        {
            self.warnings.push(format!(
                "the pod has port {port}, on which the relay listens: a program cannot have it on all addresses (`egress.workloads.injection.relay.port`)"
            ));
        }
    }
}

#[cfg(test)]
mod tests;
