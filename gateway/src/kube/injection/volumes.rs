//! Volumes that pods are given: the token, and authorities.

use portcullis_config::model::{ConfigMapKey, Identified, InjectedToken, PodInjection};
use serde_json::{Value, json};

use super::pod::{Container, PodSpec, Volume, VolumeMount};

/// The token of the pod.
pub(super) const TOKEN: &str = "portcullis-egress-token";
/// What the relay judges the proxy's certificate by.
pub(super) const PROXY_CA: &str = "portcullis-egress-proxy-ca";
/// Where that is mounted.
pub(super) const PROXY_CA_FOLDER: &str = "/etc/portcullis/proxy-ca";
/// Whom programs trust.
pub(super) const TRUST: &str = "portcullis-egress-trust";

/// Whether a mount of a volume may be added to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mount {
    /// It is to be.
    Missing,
    /// It is there.
    Present,
    /// Something else is mounted there.
    Taken,
}

/// The volumes that a pod needs, by name; `has_relay` where it has a relay by hand.
pub(super) fn wanted(injection: &PodInjection, has_relay: bool) -> Vec<(&'static str, Value)> {
    let mut volumes = Vec::new();
    match &injection.identity {
        Identified::Relay(relay, of_relay) if !has_relay => {
            volumes.push((TOKEN, token(of_relay)));
            let ca = relay.proxy_ca.as_ref();
            volumes.extend(ca.map(|ca| (PROXY_CA, config_map(PROXY_CA, ca, "ca.crt"))));
        }
        Identified::Token(of_programs) => volumes.push((TOKEN, token(of_programs))),
        Identified::Relay(..) | Identified::None => {}
    }
    let trust = injection.trust.as_ref();
    volumes.extend(trust.map(|trust| (TRUST, config_map(TRUST, trust, "bundle.crt"))));
    volumes
}

/// Those that a pod lacks.
///
/// # Errors
/// A volume of a name of ours that is something else.
pub(super) fn missing(
    wanted: Vec<(&'static str, Value)>,
    spec: &PodSpec,
) -> Result<Vec<Value>, String> {
    let mut missing = Vec::new();
    for (name, volume) in wanted {
        match spec.volumes.iter().find(|known| known.name == name) {
            None => missing.push(volume),
            Some(known) if is_like(known, &volume) => {}
            Some(_) => {
                return Err(format!(
                    "spec.volumes: {name:?} is something else than what this name is kept for"
                ));
            }
        }
    }
    Ok(missing)
}

/// Whether a volume has the source of another. The API server fills in what is not said, so they are
/// not compared word for word.
fn is_like(known: &Volume, wanted: &Value) -> bool {
    let config_map = known.config_map.as_ref().map(|source| source.name.as_str());
    match wanted["configMap"]["name"].as_str() {
        Some(name) => config_map == Some(name),
        None => known.projected.is_some(),
    }
}

/// How a container stands to a mount.
pub(super) fn mount(container: &Container, volume: &str, path: &str) -> Mount {
    let at_path = |mount: &&VolumeMount| mount.mount_path.trim_end_matches('/') == path;
    match container.volume_mounts.iter().find(at_path) {
        None => Mount::Missing,
        Some(mount) if mount.name == volume => Mount::Present,
        Some(_) => Mount::Taken,
    }
}

fn token(token: &InjectedToken) -> Value {
    json!({ "name": TOKEN, "projected": { "sources": [{ "serviceAccountToken": {
        "audience": token.audience,
        "expirationSeconds": token.expiration_seconds,
        "path": "token",
    } }] } })
}

fn config_map(volume: &str, from: &ConfigMapKey, file: &str) -> Value {
    json!({ "name": volume, "configMap": {
        "name": from.config_map,
        "items": [{ "key": from.key, "path": file }],
    } })
}
