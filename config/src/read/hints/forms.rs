//! A value of another shape than is wanted: the right one, with what was written.

use super::layout::{Level, level};

/// What is meant by a text where a list stands.
pub(in crate::read) fn for_list(path: &str, text: &str) -> Option<String> {
    let key = last_key(path)?;
    let parts = text.split([',', ' ']).filter(|part| !part.is_empty());
    let items: Option<Vec<String>> = match level(&format!("{path}[]")) {
        Some(level) => parts.map(|part| map_of(level, part)).collect(),
        None => Some(parts.map(scalar).collect()),
    };
    Some(match items {
        Some(items) if !items.is_empty() => format!("write `{key}: [{}]`", items.join(", ")),
        _ => format!("write `{key}:` and its items below, each after `- `"),
    })
}

/// What to do about a map where a list stands.
pub(in crate::read) fn for_map_as_list() -> String {
    "begin each item with `- `".into()
}

/// What to do about a list where a map stands.
pub(in crate::read) fn for_list_as_map() -> String {
    "it is one map: write its keys without `- `".into()
}

/// What is meant by a text where a map stands.
pub(in crate::read) fn for_map(path: &str, text: &str) -> Option<String> {
    let key = last_key(path);
    let write = |map: String| match key {
        Some(key) => format!("write `{key}: {map}`"),
        // An item of a list.
        None => format!("write `{map}`"),
    };
    let level = level(path)?;
    let is_off = matches!(text, "false" | "off" | "no" | "0" | "none");
    let is_on = matches!(text, "true" | "on" | "yes");
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let hint = match level.kind.as_str() {
        "Ejection" if is_off => "`ejection: {failures: 0}` leaves out none".into(),
        "Ejection" => "it is on by default; `ejection: {failures: 5}` sets one of its keys".into(),
        "Health" if is_off => "leave `health` out".into(),
        "Health" if text.starts_with('/') => write(format!("{{path: {}}}", scalar(text))),
        "Health" => "`health: {}` makes a connection, `health: {path: /healthz}` asks for a path".into(),
        "Affinity" if is_on || text == "cookie" => write("{cookie: NAME}".into()),
        "RetryBudget" => write("{percent: 20}".into()),
        "Retries" if is_off => write("{attempts: 0}".into()),
        "Retries" if is_number => write(format!("{{attempts: {text}}}")),
        "Timeouts" => "one time is not for all: `request`, `backendRequest`, `connect` and `read` bound different things".into(),
        "BackendTls" if is_on || is_off => format!("{}, the name in the certificate of the endpoints", write("{serverName: NAME}".into())),
        "ListenerTls" if is_on => "`protocol: https` says so; leave `tls` out".into(),
        "GrpcHealth" if is_on => write("{}".into()),
        "GrpcHealth" => write(format!("{{service: {}}}", scalar(text))),
        "Cors" | "Compression" | "RouteWaf" if is_off => format!("leave it out, or {} to lift what is inherited", write("{}".into())),
        "Cors" if is_on => write("{allowOrigins: [\"https://app.example.com\"]}".into()),
        "Cors" => write(format!("{{allowOrigins: [{}]}}", scalar(text))),
        "Compression" if is_on => write("{algorithms: [zstd, br, gzip]}".into()),
        "Compression" => write(format!("{{algorithms: [{}]}}", scalar(text))),
        "RouteWaf" if is_on => write("{profile: NAME}".into()),
        "RouteWaf" => write(format!("{{profile: {}}}", scalar(text))),
        "Respond" if is_number => write(format!("{{status: {text}}}")),
        "Respond" => write(format!("{{status: 200, body: {}}}", scalar(text))),
        "Redirect" if matches!(text, "https" | "true") => "write `policies: {https: redirect}`".into(),
        "Redirect" if text.starts_with('/') => write(format!("{{path: {}}}", scalar(text))),
        "Redirect" => write(redirect(text)?),
        "ExternalAuthentication" => "name one of `backends`: `external: {backend: NAME, path: /auth}`".into(),
        "Rewrite" if text.starts_with('/') => format!("{}, or `prefix` in place of `path`", write(format!("{{path: {}}}", scalar(text)))),
        "Logs" => write(format!("{{access: {}}}", scalar(text))),
        "Management" | "Admin" => write(format!("{{address: {}}}", scalar(text))),
        "Resolver" | "EgressResolver" => write(format!("{{servers: [{}]}}", scalar(text))),
        "ClientAddress" => write(format!("{{trustedProxies: [{}]}}", scalar(text))),
        "MinBodyRate" | "ResponseBandwidth" => write(format!("{{rate: {}}}", scalar(text))),
        _ => write(map_of(level, text)?),
    };
    Some(hint)
}

/// A redirect to a URL.
fn redirect(url: &str) -> Option<String> {
    let url: http::Uri = url.parse().ok()?;
    let port = url.port_u16().map(|port| format!(", port: {port}"));
    Some(format!(
        "{{scheme: {}, host: {}{}, path: {}}}",
        url.scheme_str()?,
        scalar(url.host()?),
        port.unwrap_or_default(),
        scalar(url.path())
    ))
}

/// A map with a text as its one value, where that can only be one.
fn map_of(level: &Level, text: &str) -> Option<String> {
    if text.starts_with('/') && level.kind == "Match" {
        return Some(format!("{{path: {{prefix: {}}}}}", scalar(text)));
    }
    match level.kind.as_str() {
        // A host may be written as it is.
        "EgressRule" => return Some(scalar(text)),
        // A name may be that of a namespace, or of a ServiceAccount.
        "EgressSubject" if crate::access::parse_network(text).is_ok() => {
            return Some(format!("{{addresses: [{}]}}", scalar(text)));
        }
        "WafRules" if text == "baseline" => return Some("{builtin: baseline}".into()),
        "WafRules" => return Some(format!("{{file: {}}}", scalar(text))),
        _ => {}
    }
    let mut required = level.keys.iter().filter(|key| key.is_required);
    match (required.next(), required.next()) {
        (Some(key), None) if key.is_list => Some(format!("{{{}: [{}]}}", key.name, scalar(text))),
        (Some(key), None) if key.kind.is_empty() => {
            Some(format!("{{{}: {}}}", key.name, scalar(text)))
        }
        _ => None,
    }
}

/// The key at the end of a path; none where it ends with an item of a list.
fn last_key(path: &str) -> Option<&str> {
    path.rsplit('.').next().filter(|key| !key.ends_with(']'))
}

/// A text as YAML that is text wherever it stands.
fn scalar(text: &str) -> String {
    let is_plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/' | b'-' | b'_');
    let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/');
    match begins && text.bytes().all(is_plain) {
        true => text.to_owned(),
        false => format!("{text:?}"),
    }
}
