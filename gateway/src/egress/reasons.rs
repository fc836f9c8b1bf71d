//! What reason codes mean, in words for people who are refused.
//!
//! `docs/refusals.md` explains each code to those who write policies; a test holds the two
//! together.

/// A reason code in words.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reason {
    /// The stable code.
    pub code: &'static str,
    /// What is the matter; a clause.
    pub says: &'static str,
    /// What can be done.
    pub then: Then,
}

/// What somebody who is refused can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Ask those who look after policies and identities for this.
    Ask(&'static str),
    /// Do this.
    Do(&'static str),
    /// Nothing.
    Nothing,
}

use Then::{Ask, Do, Nothing};

/// Finds a code.
pub(super) fn find(code: &str) -> Option<&'static Reason> {
    REASONS.iter().find(|reason| reason.code == code)
}

const fn reason(code: &'static str, says: &'static str, then: Then) -> Reason {
    Reason { code, says, then }
}

const ONE_FORM: Then = Do("write the name, or an address as a dotted quad or in brackets");
const SHOW_TOKEN: Then =
    Do("send a token of the ServiceAccount with the proxy's audience, that of now");
const SHOW_ONE: Then =
    Do("send it once, in Proxy-Authorization, as Bearer or as the password of Basic");
const ASK_IDENTITY: Then = Ask("ask for an identity that the proxy knows");
const AGAIN: Then = Do("try again in a moment");
const HTTP: Then = Do("send HTTP as RFC 9112 says");
const SOCKS: Then = Do("speak SOCKS5 without authentication, and CONNECT alone");
const PROXY_URL: Then = Do("use CONNECT, or http:// with the whole URL");
const TELL: Then = Ask("tell those who run the proxy");
const MORE: Then = Ask("wait for as long as Retry-After says, or ask for more");
const TLS_TO_IT: Then = Do("speak TLS to that very name");

/// All codes, as they come in `docs/refusals.md`.
#[rustfmt::skip]
pub(super) const REASONS: &[Reason] = &[
    reason("bad_request_line", "the request line is not that of RFC 9112", HTTP),
    reason("bad_head", "the request head is not that of RFC 9112", HTTP),
    reason("bad_line_ending", "a line of the request head ends with a bare line feed", HTTP),
    reason("bad_framing", "the length of the request body has two readings", HTTP),
    reason("duplicate_host", "there is more than one Host", HTTP),
    reason("not_a_proxy_request", "the request is one for an origin server", PROXY_URL),
    reason("bad_scheme", "the scheme is not http", PROXY_URL),
    reason("http1_required", "a plain request came over HTTP/2, which is for CONNECT", Do("send it over HTTP/1.1")),
    reason("connect_with_body", "a CONNECT has a body", PROXY_URL),
    reason("bad_uri", "the target of the request has two readings", Do("write it without user, fragment and backslash")),
    reason("non_canonical_path", "the path has two readings", Do("write it without escaped separators")),
    reason("override_refused", "a field asks for another path, or for more than one method", Do("leave X-Original-URL and the like out")),
    reason("second_request", "another request came behind the first", Do("send it on a connection of its own")),
    reason("head_too_large", "the request head is too large", Do("send less")),
    reason("too_many_headers", "the request has too many header fields", Do("send fewer")),
    reason("token_missing", "the proxy asks who the client is, and no token was shown", SHOW_TOKEN),
    reason("socks_without_token", "the proxy asks who the client is, and SOCKS5 cannot carry a token", Do("use the HTTP proxy, or the relay")),
    reason("duplicate_credentials", "there is more than one Proxy-Authorization", SHOW_ONE),
    reason("unsupported_scheme", "Proxy-Authorization is neither Bearer nor Basic", SHOW_ONE),
    reason("bad_credentials", "there is no token in Proxy-Authorization", SHOW_ONE),
    reason("token_too_large", "the token is too large", SHOW_TOKEN),
    reason("bad_token", "what was shown is no token that can be read", SHOW_TOKEN),
    reason("unknown_key", "the key that the token is signed with is not known", Ask("ask whether the proxy knows the keys of this cluster")),
    reason("bad_algorithm", "the token is not signed as its key signs", SHOW_TOKEN),
    reason("bad_signature", "the signature of the token is not good", SHOW_TOKEN),
    reason("token_rejected", "the API server does not take the token for good", SHOW_TOKEN),
    reason("token_review_failed", "the API server could not be asked about the token", AGAIN),
    reason("bad_issuer", "the token is of another issuer", SHOW_TOKEN),
    reason("bad_audience", "the token is for another audience", SHOW_TOKEN),
    reason("token_expired", "the token has expired", SHOW_TOKEN),
    reason("token_not_yet_valid", "the token is not valid yet", Do("compare the clocks")),
    reason("not_service_account", "the token is of no ServiceAccount, or never ends", SHOW_TOKEN),
    reason("pod_gone", "the pod of the token is gone", SHOW_TOKEN),
    reason("token_without_pod", "the token is bound to no pod", Do("take one of a projected volume")),
    reason("identity_mismatch", "the token is of another pod than the one that asks", Do("send the token of the pod itself")),
    reason("identity_unknown", "the address that asks is not known to be that of a pod", AGAIN),
    reason("node_address", "the address that asks is that of a node, which pods share", ASK_IDENTITY),
    reason("pods_unknown", "the proxy does not know the pods of the cluster now", AGAIN),
    reason("socks_version", "something else than SOCKS5 is spoken", SOCKS),
    reason("socks_method", "the client insists on authentication", SOCKS),
    reason("socks_command", "this command of SOCKS5 is not served", SOCKS),
    reason("socks_address_type", "this kind of address is not served", SOCKS),
    reason("socks_request", "the request is not that of RFC 1928", SOCKS),
    reason("relay_token_unreadable", "the relay has no token to show to the proxy", TELL),
    reason("relay_proxy_unreachable", "the relay does not reach the proxy", TELL),
    reason("relay_proxy_tls_failed", "the relay does not trust the TLS of the proxy", TELL),
    reason("relay_bad_answer", "the proxy does not answer the relay as one", TELL),
    reason("relay_answer_timeout", "the proxy does not answer the relay in time", AGAIN),
    reason("quota_bytes_out", "this client has sent all bytes that it may send for now", MORE),
    reason("quota_connections", "as many connections of this client are open as may be", Ask("close some, or ask for more")),
    reason("quota_rate", "connections of this client come faster than they may", MORE),
    reason("quota_state_full", "the proxy keeps as many counts of quotas as it may", TELL),
    reason("bad_authority", "the destination is not HOST:PORT", ONE_FORM),
    reason("bad_host", "the destination is no host name", ONE_FORM),
    reason("bad_port", "the port is no number from 1 to 65535", ONE_FORM),
    reason("non_ascii_host", "the host has letters beyond ASCII", Do("write it in Punycode")),
    reason("numeric_host", "the host is a number that is no dotted quad", ONE_FORM),
    reason("zone_id", "the address has a zone", ONE_FORM),
    reason("certificate_untrusted", "the certificate of the client is not trusted any more", Do("connect again, with one that is")),
    reason("no_policy", "no policy is about this client", Ask("ask for a policy that selects it")),
    reason("policy_closed", "a policy lets this client reach nothing", Ask("ask those who look after that policy")),
    reason("not_allowed", "no entry allows this host", Ask("ask for an entry that does")),
    reason("ip_literal", "no entry allows this address", Ask("name the host, or ask for an entry with the address")),
    reason("port_not_allowed", "this host is allowed, and not on this port", Ask("ask for the port")),
    reason("request_not_allowed", "this host is allowed, and not this method, path or tunnel", Ask("ask for it")),
    reason("clear_refused", "requests to this host are sent over TLS, and this tunnel would carry them in clear", Do("send the plain request itself, or open a tunnel to port 443")),
    reason("grant_expired", "the entry that allowed it has ended", Ask("ask for a later end")),
    reason("denied_host", "an entry denies this host", Ask("ask why")),
    reason("denied_address", "an entry denies an address of it", Ask("ask why")),
    reason("not_delegated", "a policy allows it, and the cluster does not leave that to policies", Ask("ask those who look after the cluster")),
    reason("private_address", "it has a private address, and no entry that allows it says that it may", Ask("ask for that, if it is meant")),
    reason("mixed_answer", "it has public and private addresses at once", Ask("ask for its DNS zone to be mended")),
    reason("ech_public_name", "this name stands for all sites of a provider", Nothing),
    reason("policy_changed", "it was allowed when it was asked for, and is not any more", Do("ask again, to be told what holds now")),
    reason("always_blocked", "such an address is never reached through the proxy", Nothing),
    reason("self_connect", "this is the proxy itself", Nothing),
    reason("dns_nxdomain", "the name has no address", Do("look at its spelling")),
    reason("dns_failed", "the name could not be looked up", AGAIN),
    reason("dns_timeout", "the name was not looked up in time", AGAIN),
    reason("connect_timeout", "the destination does not answer", AGAIN),
    reason("upstream_timeout", "the destination was silent for too long", AGAIN),
    reason("connect_failed", "the destination refuses connections", AGAIN),
    reason("upstream_refused", "the destination has not taken the request", AGAIN),
    reason("upstream_failed", "the destination broke off", AGAIN),
    reason("upstream_proxy_failed", "the proxy before the destination is not reached, or does not speak as one", TELL),
    reason("upstream_proxy_timeout", "the proxy before the destination does not answer in time", AGAIN),
    reason("upstream_proxy_unauthorized", "the proxy before the destination wants other credentials", TELL),
    reason("upstream_proxy_refused", "the proxy before the destination does not let it be reached", TELL),
    reason("upstream_proxy_unreachable", "the proxy before the destination does not reach it", AGAIN),
    reason("not_ready", "the proxy starts", AGAIN),
    reason("sni_mismatch", "the ClientHello names another host", TLS_TO_IT),
    reason("sni_missing", "the ClientHello names no host", TLS_TO_IT),
    reason("not_tls", "something else than TLS came through the tunnel", TLS_TO_IT),
    reason("encrypted_client_hello", "the ClientHello may name another host than it shows", Do("switch ECH off in the client")),
    reason("client_hello_timeout", "the ClientHello did not come in time", TLS_TO_IT),
    reason("client_hello_too_large", "the ClientHello is too large", TLS_TO_IT),
    reason("authority_mismatch", "the request inside the tunnel is for another host", Do("open a tunnel to that host")),
    reason("upgrade_refused", "the request would turn the connection into something that cannot be looked into", Ask("ask for an entry without inspection")),
    reason("trace_refused", "the answer would be the request, with what the proxy adds to it", Do("use another method")),
    reason("foreign_credential", "the proxy adds the credential, and the request has one of its own", Do("leave it out")),
    reason("credential_missing", "the proxy has not got the credential that it adds", TELL),
    reason("waf_blocked", "a rule refuses what the request would carry out", Ask("ask why, with the id of the request")),
    reason("waf_body_too_large", "the body is larger than what can be looked into", Do("send less at once")),
    reason("body_timeout", "the body did not come in time", Do("send it without pauses")),
    reason("buffers_spent", "the proxy has no memory for the body now", AGAIN),
    reason("upstream_untrusted", "the certificate of the destination is not good for its name", TELL),
    reason("upstream_tls_failed", "the destination does not speak TLS as it should", AGAIN),
    reason("client_rejected_ca", "the client does not trust the authority of the proxy", Do("trust the certificate of egress.inspection")),
    reason("client_handshake_failed", "the client broke off its TLS", Do("trust the certificate of egress.inspection")),
    reason("inspection_failed", "the proxy has no certificate to show", TELL),
];

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    /// Outcomes of connections, which are no refusals.
    const OUTCOMES: [&str; 2] = ["handshake_failed", "client_certificate_refused"];

    fn is_code(text: &str) -> bool {
        let is_plain =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        text.contains('_') && text.bytes().all(is_plain)
    }

    fn read(path: &str) -> String {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        fs::read_to_string(root.join(path)).expect("it is there")
    }

    #[test]
    fn the_page_about_refusals_has_these_codes_and_no_others() {
        let page = read("docs/refusals.md");
        let (_, section) = page.split_once("\n## Egress\n").expect("its section");
        let section = section.split("\n## ").next().unwrap_or_default();
        let told: BTreeSet<&str> = section.split('`').filter(|text| is_code(text)).collect();
        let mut known: BTreeSet<&str> = REASONS.iter().map(|reason| reason.code).collect();
        assert_eq!(known.len(), REASONS.len(), "a code stands twice");
        known.extend(OUTCOMES);
        assert_eq!(told, known);
    }

    #[test]
    fn what_the_proxy_and_the_decision_refuse_with_is_among_them() {
        // Where a code stands right behind these it is one that clients or the audit log get.
        let before = [
            "Refusal::new(400, ",
            "Refusal::new(403, ",
            "Refusal::new(407, ",
            "Refusal::new(408, ",
            "Refusal::new(413, ",
            "Refusal::new(421, ",
            "object(wanted, ",
            "object(self.wanted, ",
            "Refusal::new(502, ",
            "Refusal::new(503, ",
            "Refusal::new(504, ",
            "Self::new(502, ",
            "Self::new(504, ",
            "bad(",
            "refused(",
            "Refused::never(",
            "then_some(",
            "#[error(",
            "=> ",
            "Err(",
            "not_good(",
            "failed(",
            "spent(",
            "Spent::new(",
        ];
        let mut found = BTreeSet::new();
        for folder in [
            "gateway/src/egress",
            "gateway/src/egress/inspection",
            "gateway/src/egress/quota",
            "gateway/src/egress/relay",
            "config/src/egress",
        ] {
            let root = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("..")
                .join(folder);
            for file in fs::read_dir(root).expect("a folder") {
                let path = file.expect("an entry").path();
                if path.extension().is_none_or(|extension| extension != "rs") {
                    continue;
                }
                let text = fs::read_to_string(&path).expect("a file");
                let code = text
                    .split("#[cfg(test)]\nmod tests")
                    .next()
                    .unwrap_or_default();
                for (at, _) in code.match_indices('"') {
                    let behind = before.iter().any(|before| code[..at].ends_with(before));
                    let end = code[at + 1..].find('"').map(|end| at + 1 + end);
                    let literal = end.and_then(|end| code.get(at + 1..end));
                    found.extend(
                        literal
                            .filter(|text| behind && is_code(text))
                            .map(str::to_owned),
                    );
                }
            }
        }
        let told = [
            OUTCOMES[0],
            OUTCOMES[1],
            "would_deny",
            "allow_all",
            "idle_timeout",
            "client_closed",
        ];
        let unknown: Vec<&String> = found
            .iter()
            .filter(|code| find(code).is_none() && !told.contains(&code.as_str()))
            .collect();
        assert!(unknown.is_empty(), "{unknown:?}");
        assert!(found.len() > 60, "{}: {found:?}", found.len());
    }

    #[test]
    fn words_are_clauses() {
        for Reason { code, says, then } in REASONS {
            let advice = match then {
                Ask(advice) | Do(advice) => advice,
                Nothing => "nothing",
            };
            for text in [says, advice] {
                assert!(!text.ends_with('.') && text.len() < 90, "{code}: {text}");
                assert!(
                    text.is_ascii() && !text.contains(['"', '\n']),
                    "{code}: {text}"
                );
            }
        }
    }
}
