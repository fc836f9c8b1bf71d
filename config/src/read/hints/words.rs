//! Words of other proxies, and what they are called here.

/// Words of other proxies, the word that must be known here, and what to write.
const WORDS: [(&[&str], &str, &str); 10] = [
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
    (&["optional_no_ca"], "unverified", "write `unverified`"),
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
pub(in crate::read) fn for_word(word: &str, known: &[&str]) -> Option<String> {
    let has = |way: &str| known.contains(&way);
    if word.starts_with('/') && has("prefix") && has("exact") {
        return Some(format!(
            "write `path: {{prefix: {word}}}`, or `exact` in place of `prefix`"
        ));
    }
    if has("builtin") && has("file") {
        return Some(match word {
            "baseline" => "write `builtin: baseline`".into(),
            _ => format!("write `file: {word}` for a file of rules"),
        });
    }
    let lower = word.to_lowercase();
    WORDS
        .iter()
        .filter(|(_, here, _)| known.contains(here))
        .find(|(words, ..)| words.contains(&lower.as_str()))
        .map(|(.., hint)| (*hint).to_owned())
}
