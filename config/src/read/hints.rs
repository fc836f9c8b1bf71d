//! What people write who come from elsewhere, and what it is called here.

/// Words of other proxies, the word that must be known here, and what to write.
const WORDS: [(&[&str], &str, &str); 9] = [
    (
        &[
            "least_conn",
            "least-conn",
            "leastconn",
            "least-connections",
            "least_request",
            "least-request",
        ],
        "least-requests",
        "write `least-requests`",
    ),
    (
        &["round_robin", "roundrobin", "rr", "random"],
        "round-robin",
        "write `round-robin`",
    ),
    (&["ewma", "peak_ewma"], "peak-ewma", "write `peak-ewma`"),
    (
        &["ip_hash", "ip-hash", "source", "source-ip", "address"],
        "hash",
        "write `balance: {hash: address}`",
    ),
    (&["uri", "url"], "hash", "write `balance: {hash: path}`"),
    (
        &[
            "ring-hash",
            "ring_hash",
            "maglev",
            "consistent-hash",
            "header",
            "cookie",
        ],
        "hash",
        "write `balance: {hash: {header: NAME}}`, or cookie, address or path",
    ),
    (
        &["https", "grpcs", "tls"],
        "http2",
        "TLS is said with `tls: {serverName: ...}`; `protocol` is http1 or http2",
    ),
    (&["grpc", "h2", "h2c", "http/2"], "http2", "write `http2`"),
    (&["http", "http/1.1", "http1.1"], "http1", "write `http1`"),
];

/// What is meant by a word that is not among those that are known.
pub(super) fn for_word(word: &str, known: &[&str]) -> Option<String> {
    let lower = word.to_lowercase();
    WORDS
        .iter()
        .filter(|(_, here, _)| known.contains(here))
        .find(|(words, ..)| words.contains(&lower.as_str()))
        .map(|(.., hint)| (*hint).to_owned())
}

/// What is meant by a text where a map with these fields stands.
pub(super) fn for_map(text: &str, fields: &[&str]) -> Option<String> {
    let off = matches!(text, "false" | "off" | "no" | "0" | "none");
    let has = |field: &str| fields.contains(&field);
    let hint = if has("maxEjected") {
        if off {
            "`ejection: {failures: 0}` leaves out none".into()
        } else {
            "it is on by default; `ejection: {failures: 5}` sets one of its keys".into()
        }
    } else if has("unhealthyAfter") {
        if off {
            "leave `health` out".into()
        } else if text.starts_with('/') {
            format!("write `health: {{path: {text}}}`")
        } else {
            "`health: {}` makes a connection, `health: {path: /healthz}` asks for a path".into()
        }
    } else if has("sameSite") {
        "write `affinity: {cookie: NAME}`".into()
    } else if has("minPerSecond") {
        "write `retryBudget: {percent: 20}`".into()
    } else if has("statuses") && has("attempts") {
        let attempts = if off { "0" } else { text };
        if !attempts.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        format!("write `retries: {{attempts: {attempts}}}`")
    } else if has("backendRequest") {
        "one time is not for all: `request`, `backendRequest`, `connect` and `read` bound different things".into()
    } else if has("subjectAltNames") {
        "write `tls: {serverName: NAME}`, the name in the certificate of the endpoints".into()
    } else if has("address") && has("weight") {
        format!("write `{{address: {text:?}}}`")
    } else if fields == ["service"] {
        format!("write `grpc: {{service: {text}}}`")
    } else {
        return None;
    };
    Some(hint)
}
