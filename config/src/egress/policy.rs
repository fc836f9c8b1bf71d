//! Policies and their decision.

use std::{net::IpAddr, time::SystemTime};

use super::{AddressClass, Authority, Client, EgressRules, Host, Subjects};
use crate::{
    access::AddressSet,
    document::{EgressMode, EncryptedClientHello},
    model::HostPattern,
};

/// Names of metadata services and of the machine itself; no policy opens them.
const BLOCKED_NAMES: [&str; 6] = [
    "localhost",
    "metadata",
    "metadata.google.internal",
    "metadata.goog",
    "instance-data",
    "instance-data.ec2.internal",
];

/// Names that providers put in the clear part of a ClientHello whose true name is encrypted
/// (ECH, RFC 9849): who may reach one reaches any site of its provider, and nobody sees which.
const ECH_PUBLIC_NAMES: [&str; 3] = ["cloudflare-ech.com", "public.tls-ech.dev", "cover.defo.ie"];

/// Whether a name is one that stands for others whose names are encrypted.
pub fn is_ech_public_name(name: &str) -> bool {
    ECH_PUBLIC_NAMES.contains(&name)
}

/// Who may reach what.
#[derive(Clone, Debug)]
pub struct EgressPolicy {
    /// Unique name.
    pub name: String,
    /// Clients it selects.
    pub subjects: Subjects,
    /// Enforce, report or open.
    pub mode: EgressMode,
    /// What is done with a ClientHello that may name another host than it shows.
    pub encrypted_client_hello: EncryptedClientHello,
    /// What may be reached.
    pub allow: EgressRules,
    /// What may not, first.
    pub deny: EgressRules,
    /// Whether every public name may be reached that `deny` does not name.
    pub allow_all: bool,
}

/// A destination with its conditions.
#[derive(Clone, Debug)]
pub struct EgressRule {
    /// As it was written, for the audit log.
    pub text: String,
    /// What it names.
    pub target: Target,
    /// Ports; empty means every port.
    pub ports: Vec<u16>,
    /// Methods of plain HTTP; empty means all.
    pub methods: Vec<String>,
    /// Path prefixes of plain HTTP, without trailing slash; empty means all.
    pub paths: Vec<String>,
    /// Until when it holds; `None` means for ever.
    pub until: Option<SystemTime>,
    /// Whether private addresses may be reached.
    pub private: bool,
    /// Whether a tunnel may carry something other than TLS.
    pub raw: bool,
}

/// What a rule names.
#[derive(Clone, Debug)]
pub enum Target {
    /// A name or suffix.
    Host(HostPattern),
    /// Names that match as a whole.
    Regex(regex::Regex),
    /// Address literals in a network.
    Network(ipnet::IpNet),
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The destination.
    pub authority: &'a Authority,
    /// Method and canonical path of a plain HTTP request; `None` for a tunnel.
    pub http: Option<(&'a str, &'a str)>,
    /// When it is asked.
    pub now: SystemTime,
}

/// What a policy says of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether it may pass.
    pub allowed: bool,
    /// Whether no mode lifts the refusal.
    pub always: bool,
    /// Stable reason code.
    pub reason: &'static str,
    /// Text of the rule that decided.
    pub rule: Option<String>,
    /// Whether private addresses may be reached.
    pub private: bool,
    /// Whether a tunnel may carry something other than TLS.
    pub raw: bool,
    /// Until when what is allowed stays so; `None` means for ever.
    pub until: Option<SystemTime>,
}

impl Decision {
    fn deny(reason: &'static str, rule: Option<&EgressRule>) -> Self {
        Self {
            allowed: false,
            always: false,
            reason,
            rule: rule.map(|rule| rule.text.clone()),
            private: false,
            raw: false,
            until: None,
        }
    }

    /// A refusal that no mode lifts.
    fn never(reason: &'static str) -> Self {
        Self {
            always: true,
            ..Self::deny(reason, None)
        }
    }
}

/// Finds the policy of a client: the first that selects it.
pub fn select<'p>(policies: &'p [EgressPolicy], client: Client<'_>) -> Option<&'p EgressPolicy> {
    policies
        .iter()
        .find(|policy| policy.subjects.contains(client))
}

/// Decides on a destination by its name or literal address, before any look-up.
pub fn decide(policy: &EgressPolicy, request: Request<'_>, cluster: &AddressSet) -> Decision {
    match &request.authority.host {
        Host::Name(name) => {
            if BLOCKED_NAMES.contains(&name.as_str()) || name.ends_with(".localhost") {
                return Decision::never("always_blocked");
            }
            if is_ech_public_name(name) {
                return Decision::never("ech_public_name");
            }
        }
        Host::Address(address) => {
            if AddressClass::of(*address, cluster) == AddressClass::AlwaysBlocked {
                return Decision::never("always_blocked");
            }
        }
    }
    let host = &request.authority.host;
    if let Some(rule) = policy.deny.first(host, |rule| rule.denies(request)) {
        let reason = if matches!(rule.target, Target::Network(_)) {
            "denied_address"
        } else {
            "denied_host"
        };
        return Decision::deny(reason, Some(rule));
    }
    if let Some(rule) = policy.allow.first(host, |rule| rule.allows(request)) {
        return Decision {
            allowed: true,
            always: false,
            reason: "allowed",
            rule: Some(rule.text.clone()),
            private: rule.private,
            raw: rule.raw,
            until: rule.until,
        };
    }
    if policy.allow_all && matches!(host, Host::Name(_)) {
        return Decision {
            allowed: true,
            reason: "allow_all",
            ..Decision::deny("", None)
        };
    }
    let port = request.authority.port;
    let of_port = |rule: &EgressRule| rule.names(host) && rule.has_port(port);
    let near = policy.allow.first(host, of_port);
    let near = near.or_else(|| policy.allow.first(host, |rule| rule.names(host)));
    match (near, host) {
        (Some(rule), _) if !rule.has_port(port) => Decision::deny("port_not_allowed", Some(rule)),
        (Some(rule), _) if !rule.holds(request.now) => Decision::deny("grant_expired", Some(rule)),
        (Some(rule), _) => Decision::deny("request_not_allowed", Some(rule)),
        (None, Host::Address(_)) => Decision::deny("ip_literal", None),
        (None, Host::Name(_)) => Decision::deny("not_allowed", None),
    }
}

/// Judges all answers of a look-up, or the one literal address, before any dial.
///
/// # Errors
/// A refusal: an address that is always blocked, a private one that the rule
/// does not open, private and public ones mixed, one that `deny` names.
pub fn judge_addresses(
    policy: &EgressPolicy,
    decision: &Decision,
    request: Request<'_>,
    addresses: &[IpAddr],
    cluster: &AddressSet,
) -> Result<(), Decision> {
    let classes: Vec<AddressClass> = addresses
        .iter()
        .map(|address| AddressClass::of(*address, cluster))
        .collect();
    if classes.contains(&AddressClass::AlwaysBlocked) {
        return Err(Decision::never("always_blocked"));
    }
    for address in addresses {
        let literal = Authority {
            host: Host::Address(address.to_canonical()),
            port: request.authority.port,
        };
        let request = Request {
            authority: &literal,
            http: None,
            ..request
        };
        if let Some(rule) = policy
            .deny
            .first(&literal.host, |rule| rule.denies(request))
        {
            return Err(Decision::deny("denied_address", Some(rule)));
        }
    }
    if classes.contains(&AddressClass::Private) {
        if classes.contains(&AddressClass::Public) {
            return Err(Decision::deny("mixed_answer", None));
        }
        if !decision.private {
            return Err(Decision::deny("private_address", None));
        }
    }
    Ok(())
}

impl EgressRule {
    /// Whether it allows a request, as an entry of `allow`. One with methods or
    /// paths is about requests that can be seen, and a tunnel hides them.
    fn allows(&self, request: Request<'_>) -> bool {
        self.covers(request)
            && match request.http {
                Some((method, path)) => {
                    self.has_path(path)
                        && (self.methods.is_empty()
                            || self.methods.iter().any(|known| known == method))
                }
                None => self.methods.is_empty() && self.paths.is_empty(),
            }
    }

    /// Whether it forbids a request, as an entry of `deny`. A tunnel may carry just
    /// the request that the entry names, and an origin may take `post` for `POST`.
    fn denies(&self, request: Request<'_>) -> bool {
        self.covers(request)
            && request.http.is_none_or(|(method, path)| {
                let is_method = |known: &String| known.eq_ignore_ascii_case(method);
                self.has_path(path)
                    && (self.methods.is_empty() || self.methods.iter().any(is_method))
            })
    }

    fn covers(&self, request: Request<'_>) -> bool {
        let authority = request.authority;
        self.names(&authority.host) && self.has_port(authority.port) && self.holds(request.now)
    }

    fn holds(&self, now: SystemTime) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    pub(super) fn names(&self, host: &Host) -> bool {
        match (&self.target, host) {
            (Target::Host(HostPattern::Exact(name)), Host::Name(host)) => name == host,
            (Target::Host(HostPattern::Suffix(suffix)), Host::Name(host)) => host
                .strip_suffix(suffix.as_str())
                .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
            (Target::Regex(regex), Host::Name(host)) => regex.is_match(host),
            (Target::Network(network), Host::Address(address)) => {
                network.contains(&address.to_canonical())
            }
            (Target::Host(_) | Target::Regex(_), Host::Address(_))
            | (Target::Network(_), Host::Name(_)) => false,
        }
    }

    fn has_port(&self, port: u16) -> bool {
        self.ports.is_empty() || self.ports.contains(&port)
    }

    fn has_path(&self, path: &str) -> bool {
        let under = |prefix: &String| {
            path.strip_prefix(prefix.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.paths.is_empty() || self.paths.iter().any(under)
    }
}
