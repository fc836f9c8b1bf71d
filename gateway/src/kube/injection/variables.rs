//! Variables that tell programs where the proxy is, and whom to trust.

use portcullis_config::model::{ClusterTraffic, PodInjection};
use serde_json::{Value, json};

use super::pod;

/// Names of one meaning, which have one value: they are set together, or left alone together.
#[derive(Debug)]
pub(super) struct Variable {
    names: &'static [&'static str],
    value: String,
}

/// Where each program looks for authorities that it trusts. Node reads its own beside those that it
/// brings along; for all others the file takes the place of the system's.
const TRUST: [&str; 10] = [
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "PIP_CERT",
    "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO",
    "CARGO_HTTP_CAINFO",
    "AWS_CA_BUNDLE",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "DENO_CERT",
];

/// What tells programs where the proxy is. `api_server` is the address of the API server's Service.
pub(super) fn of_proxy(
    injection: &PodInjection,
    proxy: &str,
    api_server: Option<&str>,
) -> Vec<Variable> {
    let mut no_proxy = injection.no_proxy.clone();
    if injection.cluster_traffic == ClusterTraffic::Direct
        && let Some(address) = api_server
    {
        // Many clients read no ranges, and client-go asks for it by its address.
        no_proxy.push(address.to_owned());
    }
    // Both spellings: curl reads http_proxy in small letters only, others in capitals only.
    let both = |names, value: &str| Variable {
        names,
        value: value.to_owned(),
    };
    vec![
        both(&["HTTP_PROXY", "http_proxy"], proxy),
        both(&["HTTPS_PROXY", "https_proxy"], proxy),
        both(&["NO_PROXY", "no_proxy"], &no_proxy.join(",")),
        // Node reads those above where it is told to (since 22.21 and 24.5).
        both(&["NODE_USE_ENV_PROXY"], "1"),
    ]
}

/// What tells programs whom to trust, each by itself.
pub(super) fn of_trust(file: &str) -> Vec<Variable> {
    let one = |names: &'static [&'static str]| Variable {
        names,
        value: file.to_owned(),
    };
    TRUST.chunks(1).map(one).collect()
}

/// The variables that a container lacks, and the names of those that it sets otherwise. Of names of
/// one meaning none is added then: programs would read one or the other.
pub(super) fn missing(
    wanted: &[Variable],
    set: &[pod::Variable],
) -> (Vec<Value>, Vec<&'static str>) {
    let (mut added, mut left_alone) = (Vec::new(), Vec::new());
    for Variable { names, value } in wanted {
        let find = |name: &str| set.iter().find(|known| known.name == name);
        let is_other =
            |name: &&&str| find(name).is_some_and(|known| known.value.as_ref() != Some(value));
        let others: Vec<&str> = names.iter().filter(is_other).copied().collect();
        if others.is_empty() {
            let lacking = names.iter().filter(|name| find(name).is_none());
            added.extend(lacking.map(|name| json!({ "name": name, "value": value })));
        }
        left_alone.extend(others);
    }
    (added, left_alone)
}
