//! The relay beside the programs of a pod.

use std::net::SocketAddr;

use k8s_openapi::api::core::v1::{Container, PodSpec};
use portcullis_config::{egress::ProxyUrl, model::InjectedRelay};
use serde_json::{Value, json};

use super::volumes::{PROXY_CA, PROXY_CA_FOLDER, TOKEN, TOKEN_FOLDER};

/// The name of its container.
pub(super) const NAME: &str = "portcullis-egress-relay";
/// The port of a relay that says nothing else.
const DEFAULT_PORT: u16 = 3128;
/// The user of the image.
const USER: u32 = 65532;
/// What it asks for; a limit that is lower is all that it asks for.
const REQUESTED_MEMORY: u64 = 32 << 20;

/// Whether a container runs `portcullis egress relay`, whoever has put it there.
pub(super) fn is_relay(container: &Container) -> bool {
    let words: Vec<&String> = words(container).collect();
    words
        .windows(2)
        .any(|pair| pair[0] == "egress" && pair[1] == "relay")
}

/// The port of the relay that a pod has already.
pub(super) fn port_of(spec: &PodSpec) -> Option<u16> {
    let init = spec.init_containers.iter().flatten();
    let relay = init
        .chain(&spec.containers)
        .find(|container| is_relay(container))?;
    let words: Vec<&String> = words(relay).collect();
    let listen = words.iter().enumerate().find_map(|(index, word)| {
        let value = word.strip_prefix("--listen=");
        let next = || words.get(index + 1).map(|next| next.as_str());
        value.or_else(|| next().filter(|_| *word == "--listen"))
    });
    let address = listen.and_then(|listen| listen.parse::<SocketAddr>().ok());
    Some(address.map_or(DEFAULT_PORT, |address| address.port()))
}

fn words(container: &Container) -> impl Iterator<Item = &String> {
    let (command, args) = (&container.command, &container.args);
    command.iter().chain(args).flatten()
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
            "requests": { "cpu": "10m", "memory": relay.memory_limit.min(REQUESTED_MEMORY).to_string() },
            "limits": { "memory": relay.memory_limit.to_string() },
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
