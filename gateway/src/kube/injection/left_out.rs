//! Pods that are given nothing, since it would be of no use to them or since they say so.

use super::pod::{Pod, PodSpec};

/// Label of a pod that is left out, where it has the value `disabled`.
const OPT_OUT: &str = "portcullis.dev/egress-injection";
/// Label of nodes that says what they run, by which a pod chooses them.
const NODE_OS: &str = "kubernetes.io/os";
/// Annotation of what a kubelet runs by itself, of which the API server has but a mirror.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// How a pod is left out.
#[derive(Debug)]
pub(super) enum LeftOut {
    /// Nobody needs to know.
    Silently,
    /// Its author is told the reason.
    Since(&'static str),
}

/// Whether a pod is left out.
pub(super) fn left_out(pod: &Pod) -> Option<LeftOut> {
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
    spec.is_some_and(is_for_windows)
        .then_some(LeftOut::Since("it is for Windows"))
}

/// Few pods say their system; most choose a node by its label.
fn is_for_windows(spec: &PodSpec) -> bool {
    let os = spec.os.as_ref().map(|os| os.name.as_str());
    let chosen = spec.node_selector.as_ref();
    let chosen = chosen.and_then(|labels| labels.get(NODE_OS));
    os == Some("windows") || chosen.is_some_and(|os| os == "windows")
}
