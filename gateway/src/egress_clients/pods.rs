//! What the programs of a pod are told that the webhook has changed.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use portcullis_config::{
    egress::{NoProxyEntry, ProxyUrl},
    model::{ClusterTraffic, Identified, PodInjection},
};

use super::{Assumed, ClientSettings};

/// Where the token of a pod is mounted; the relay looks there by itself.
pub(crate) const TOKEN_FOLDER: &str = "/var/run/secrets/portcullis";
/// The token there.
const TOKEN_FILE: &str = "/var/run/secrets/portcullis/token";
/// Where authorities are mounted that programs trust.
pub(crate) const TRUST_FOLDER: &str = "/etc/portcullis/trust";
/// The file there.
const TRUST_FILE: &str = "/etc/portcullis/trust/bundle.crt";

impl ClientSettings {
    /// Those of a pod. `relay` is where it has one already, and `api_server` the address of the API
    /// server's Service, where they are known.
    pub(crate) fn of_pods(
        injection: &PodInjection,
        relay: Option<SocketAddr>,
        api_server: Option<IpAddr>,
    ) -> Self {
        let mut assumed = Vec::new();
        let (proxy, token_file) = match &injection.identity {
            Identified::Relay(given, _) => {
                assumed.push(Assumed::Relay);
                let given = SocketAddr::from((Ipv4Addr::LOCALHOST, given.port));
                (ProxyUrl::at(relay.unwrap_or(given)), None)
            }
            Identified::Token(_) => {
                assumed.push(Assumed::Token);
                (injection.proxy.clone(), Some(TOKEN_FILE.to_owned()))
            }
            Identified::None => (injection.proxy.clone(), None),
        };
        let mut no_proxy = injection.no_proxy.clone();
        if injection.cluster_traffic == ClusterTraffic::Direct
            && let Some(address) = api_server
        {
            // Many clients read no ranges, and client-go asks for it by its address.
            no_proxy.add(NoProxyEntry::Address(address));
        }
        let trust = injection.trust.as_ref().map(|_| TRUST_FILE.to_owned());
        assumed.extend(trust.is_some().then_some(Assumed::Trust));
        Self {
            proxy,
            no_proxy,
            trust,
            token_file,
            assumed,
        }
    }
}
