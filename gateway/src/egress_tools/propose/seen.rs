//! What a record says of its destination: whether an entry would let it pass, and which.

use portcullis_config::{
    access::AddressSet,
    egress::{AddressClass, Host, is_ech_public_name},
};

use super::{
    super::record::{Record, Verdict},
    Options,
};

/// What is proposed for one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// An entry would let it pass.
    Entry {
        /// It is no TLS.
        raw: bool,
        /// It is at a private address.
        private: bool,
        /// The ClientHello may name another host than it shows.
        hidden_name: bool,
    },
    /// It is not proposed, for this reason.
    LeftOut(String),
}

/// Reason under which private addresses are left out, also where the record has another.
const PRIVATE: &str = "private_address";
const NEVER: &str = "always_blocked";

/// Judges a record.
pub(super) fn judge(record: &Record, options: &Options) -> Seen {
    let left_out = |reason: &str| Seen::LeftOut(reason.to_owned());
    let reason = record.reason.as_str();
    let Some((host, _)) = &record.destination else {
        return left_out(reason);
    };
    let refused = record.verdict == Verdict::Deny;
    let (raw, hidden_name) = match reason {
        "allowed" | "allow_all" => (false, false),
        "no_policy" | "not_allowed" | "ip_literal" | "port_not_allowed" | "request_not_allowed"
            if !refused || options.denied =>
        {
            (false, false)
        }
        PRIVATE if !refused || options.denied => (false, false),
        // It is allowed, and somebody used more of it than a quota says.
        reason if is_quota(reason) && !refused => (false, false),
        // It was connected to, and so decided on; what failed came behind that.
        "upstream_failed" | "upstream_refused" | "upstream_timeout" => (false, false),
        "encrypted_client_hello" if !refused || options.denied => (false, true),
        // One that was refused is not known to be what the workload needs: any program can be
        // told to send something else than TLS to an allowed host.
        "not_tls" if !refused && record.method.is_none() => (true, false),
        _ => return left_out(reason),
    };
    let private = match class(record, host, &options.cluster_ranges) {
        Class::Never(reason) => return left_out(reason),
        Class::Mixed => return left_out("mixed_answer"),
        Class::Private => true,
        Class::Public => reason == PRIVATE,
    };
    if private && !options.private {
        return left_out(PRIVATE);
    }
    Seen::Entry {
        raw,
        private,
        hidden_name,
    }
}

enum Class {
    Never(&'static str),
    Mixed,
    Private,
    Public,
}

/// What kind of address the destination was at. A later reason takes the place of an earlier one
/// in a record, so that `not_tls` may hide `private_address`: addresses tell.
fn class(record: &Record, host: &Host, cluster: &AddressSet) -> Class {
    let literal = match host {
        Host::Address(address) => Some(*address),
        Host::Name(name) if is_ech_public_name(name) => return Class::Never("ech_public_name"),
        Host::Name(name) if name == "localhost" || name.ends_with(".localhost") => {
            return Class::Never(NEVER);
        }
        Host::Name(_) => None,
    };
    let (mut public, mut private) = (false, false);
    for address in literal.iter().chain(&record.resolved) {
        match AddressClass::of(*address, cluster) {
            AddressClass::AlwaysBlocked => return Class::Never(NEVER),
            AddressClass::Private => private = true,
            AddressClass::Public => public = true,
        }
    }
    match (public, private) {
        (true, true) => Class::Mixed,
        (false, true) => Class::Private,
        (_, false) => Class::Public,
    }
}

/// Whether a quota refuses, or would.
pub(super) fn is_quota(reason: &str) -> bool {
    reason.starts_with("quota_")
}

/// Why what has this reason is left out, and what can be done.
pub(super) fn why(reason: &str) -> &'static str {
    match reason {
        NEVER | "self_connect" => "no policy and no mode opens it",
        "ech_public_name" => {
            "no policy opens it: behind the name any site of its provider may be meant"
        }
        quota if is_quota(quota) => "over a quota of what is allowed",
        "denied_host" | "denied_address" => "an entry of `deny` has it",
        "policy_closed" => "a policy is closed",
        "grant_expired" => "its entry has ended: whoever grants it again says until when",
        PRIVATE => "--private proposes it with `private: true`",
        "mixed_answer" => "the name has public and private addresses: mend the DNS zone",
        "no_policy"
        | "not_allowed"
        | "ip_literal"
        | "port_not_allowed"
        | "request_not_allowed"
        | "encrypted_client_hello" => "refused by an enforced policy; --denied proposes it",
        "not_tls" => "refused; where that is meant, write an entry with `raw: true`",
        "sni_mismatch" | "sni_missing" => {
            "the ClientHello does not name the host that was asked for"
        }
        "client_hello_timeout" => {
            "the client said nothing; where the server speaks first, write an entry with `raw: true`"
        }
        "client_hello_too_large" => "the ClientHello is over its limit",
        "dns_nxdomain" | "dns_failed" | "dns_timeout" => "the name was not found",
        "connect_failed" | "connect_timeout" => "nothing answered there",
        "token_missing" | "socks_without_token" => "the client has shown no token",
        "not_ready" | "policy_changed" => "it came at the wrong moment",
        "allowed" | "allow_all" => "it is not understood",
        _ => "no entry lets it pass",
    }
}

#[cfg(test)]
mod tests;
