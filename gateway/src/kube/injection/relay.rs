//! The relay beside the programs of a pod.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use portcullis_config::{egress::ProxyUrl, model::InjectedRelay};
use serde_json::{Value, json};

use super::{
    pod::{Container, INIT_CONTAINERS, PodSpec},
    volumes::{PROXY_CA, PROXY_CA_FOLDER, TOKEN},
};
use crate::egress_clients::TOKEN_FOLDER;

/// The name of its container.
pub(super) const NAME: &str = "portcullis-egress-relay";
/// The port of a relay that says nothing else.
const DEFAULT_PORT: u16 = 3128;
/// The user of the image.
const USER: u32 = 65532;

/// Whether a container runs `portcullis egress relay`, whoever has put it there.
pub(super) fn is_relay(container: &Container) -> bool {
    let words: Vec<&String> = words(container).collect();
    words
        .windows(2)
        .any(|pair| pair[0] == "egress" && pair[1] == "relay")
}

/// A relay that a pod has already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// Where programs of the pod reach it.
    pub(super) address: SocketAddr,
    /// How many init containers have ended when it begins.
    pub(super) begins_after: usize,
}

/// The relay that a pod has already.
pub(super) fn known(spec: &PodSpec) -> Option<Known> {
    let (list, index, relay) = spec.all().find(|(.., container)| is_relay(container))?;
    let begins_after = match list {
        INIT_CONTAINERS => index,
        _ => spec.init_containers.len(),
    };
    Some(Known {
        address: reached_at(listen(relay)),
        begins_after,
    })
}

/// Where a relay listens, as its words say.
fn listen(relay: &Container) -> SocketAddr {
    let words: Vec<&String> = words(relay).collect();
    let listen = words.iter().enumerate().find_map(|(index, word)| {
        let value = word.strip_prefix("--listen=");
        let next = || words.get(index + 1).map(|next| next.as_str());
        value.or_else(|| next().filter(|_| *word == "--listen"))
    });
    let address = listen.and_then(|listen| listen.parse().ok());
    address.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT)))
}

/// Where programs of its pod reach what listens on an address: all addresses are no destination.
fn reached_at(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

fn words(container: &Container) -> impl Iterator<Item = &String> {
    container.command.iter().chain(container.args.iter())
}

/// The relay as a native sidecar: programs wait for it, and it ends after them.
pub(super) fn container(relay: &InjectedRelay, proxy: &ProxyUrl) -> Value {
    let listen = format!("--listen=127.0.0.1:{}", relay.port);
    let mut args = vec![
        "egress".to_owned(),
        "relay".to_owned(),
        format!("--proxy={proxy}"),
        listen.clone(),
    ];
    let mut mounts = vec![mount(TOKEN, TOKEN_FOLDER)];
    if relay.proxy_ca.is_some() {
        args.push(format!("--proxy-ca={PROXY_CA_FOLDER}/ca.crt"));
        mounts.push(mount(PROXY_CA, PROXY_CA_FOLDER));
    }
    let mut limits = json!({ "memory": relay.memory_limit.to_string() });
    if let Some(cpu) = relay.cpu_limit {
        limits["cpu"] = json!(cpu.to_string());
    }
    json!({
        "name": NAME,
        "image": relay.image,
        "restartPolicy": "Always",
        "args": args,
        "startupProbe": {
            "exec": { "command": ["portcullis", "egress", "relay", "--probe", listen] },
            "periodSeconds": 1,
            "failureThreshold": 60,
        },
        "resources": {
            "requests": {
                "cpu": relay.cpu_request.to_string(),
                "memory": relay.memory_request.to_string(),
            },
            "limits": limits,
        },
        // That of Pod Security "restricted".
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": USER,
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": { "drop": ["ALL"] },
            "seccompProfile": { "type": "RuntimeDefault" },
        },
        "volumeMounts": mounts,
    })
}

fn mount(volume: &str, path: &str) -> Value {
    json!({ "name": volume, "mountPath": path, "readOnly": true })
}
