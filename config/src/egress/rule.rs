//! An entry of a list of destinations, and what it matches.

use std::{net::IpAddr, sync::Arc, time::SystemTime};

use percent_encoding::percent_decode_str;

use super::{EgressQuota, Host, Inspection, Request, class::embedded};
use crate::model::HostPattern;

/// A destination with its conditions.
#[derive(Clone, Debug)]
pub struct EgressRule {
    /// As it was written, for the audit log.
    pub text: Arc<str>,
    /// What it names.
    pub target: Target,
    /// Ports; empty means every port.
    pub ports: Vec<u16>,
    /// Methods of requests that can be seen; empty means all.
    pub methods: Vec<String>,
    /// Path prefixes of requests that can be seen, without trailing slash; empty means all.
    pub paths: Vec<String>,
    /// Until when it holds; `None` means for ever.
    pub until: Option<SystemTime>,
    /// Whether private addresses may be reached.
    pub private: bool,
    /// Whether a tunnel may carry something other than TLS.
    pub raw: bool,
    /// What its requests are looked into for, inside TLS or before they are put into it; `None`
    /// where nobody looks.
    pub inspection: Option<Arc<Inspection>>,
    /// Whether tunnels are looked into.
    pub opens_tunnels: bool,
    /// Whether requests in clear are sent over TLS.
    pub originates_tls: bool,
    /// What each client may use of what it allows, or leaves to policies; `None` means any amount.
    pub quota: Option<EgressQuota>,
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

impl EgressRule {
    /// Whether it allows a request, as an entry of `allow`. One with methods or
    /// paths is about requests that can be seen, and a tunnel hides them unless it is looked into.
    /// One that is looked into, or puts requests into TLS, is about TLS: a request in clear would go
    /// round that.
    pub(super) fn allows(&self, request: Request<'_>) -> bool {
        self.covers(request)
            && match request.http {
                Some(seen) => {
                    (seen.tls || !self.is_about_tls())
                        && self.has_path(seen.path)
                        && (self.methods.is_empty()
                            || self.methods.iter().any(|known| known == seen.method)
                                && seen.overriding.is_none_or(|method| self.has_method(method)))
                }
                None => self.opens_tunnels || !self.is_about_seen(),
            }
    }

    /// Whether requests in clear are nothing to it.
    fn is_about_tls(&self) -> bool {
        self.inspection.is_some() || self.originates_tls
    }

    /// Whether it is about requests that are seen, and not about what a tunnel may hide.
    fn is_about_seen(&self) -> bool {
        self.inspection.is_some() || self.is_about_requests()
    }

    /// Whether a floor that leaves a request by it leaves it to those as well who do not look: a
    /// policy whose mode lets pass what no entry of its own allows has nothing that looks.
    pub(super) fn leaves_unseen(&self, request: Request<'_>) -> bool {
        let Some(inspection) = &self.inspection else {
            return true;
        };
        request.http.is_some() && inspection.waf.is_none()
    }

    /// Whether it forbids a request, as an entry of `deny`. An address that a gateway may
    /// translate is that of IPv4 as well. A tunnel may carry just
    /// the request that the entry names, and an origin may take `post` for `POST`.
    pub(super) fn denies(&self, request: Request<'_>) -> bool {
        let authority = request.authority;
        let is_named = self.names(&authority.host)
            || inner(&authority.host).is_some_and(|inner| self.names(&inner));
        is_named
            && self.has_port(authority.port)
            && self.holds(request.now)
            && request.http.is_none_or(|seen| {
                self.may_be_path(seen.path)
                    && (self.methods.is_empty()
                        || seen.methods().any(|method| self.has_method(method)))
            })
    }

    /// Whether an origin may take a method for one of its own.
    fn has_method(&self, method: &str) -> bool {
        let mut methods = self.methods.iter();
        methods.any(|known| known.eq_ignore_ascii_case(method))
    }

    /// Whether it is about some requests to its host, and not about all.
    pub(crate) fn is_about_requests(&self) -> bool {
        !self.methods.is_empty() || !self.paths.is_empty()
    }

    /// Whether it is about the destination of a request, whatever that is.
    pub(super) fn covers(&self, request: Request<'_>) -> bool {
        let authority = request.authority;
        self.names(&authority.host) && self.has_port(authority.port) && self.holds(request.now)
    }

    pub(super) fn holds(&self, now: SystemTime) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    pub(crate) fn names(&self, host: &Host) -> bool {
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

    pub(crate) fn has_port(&self, port: u16) -> bool {
        self.ports.is_empty() || self.ports.contains(&port)
    }

    fn has_path(&self, path: &str) -> bool {
        let under = |prefix: &String| {
            path.strip_prefix(prefix.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.paths.is_empty() || self.paths.iter().any(under)
    }

    /// Whether an origin may take a path for one below its own: many decode every escape, look at
    /// no parameters of segments (RFC 3986 section 3.3) and not at the case.
    fn may_be_path(&self, path: &str) -> bool {
        let under = |prefix: &String| lenient(path).starts_with(&lenient(prefix));
        self.paths.is_empty() || self.paths.iter().any(under)
    }
}

/// The segments of a path as the most lenient origin reads them.
fn lenient(path: &str) -> Vec<Vec<u8>> {
    let segments = path.split('/').map(|segment| {
        let name: Vec<u8> = percent_decode_str(segment).collect();
        // Its parameters, also behind an escaped semicolon.
        let end = name.iter().position(|&byte| byte == b';');
        name[..end.unwrap_or(name.len())].to_ascii_lowercase()
    });
    segments.filter(|segment| !segment.is_empty()).collect()
}

/// The address of IPv4 that one of IPv6 carries.
fn inner(host: &Host) -> Option<Host> {
    match host {
        Host::Address(IpAddr::V6(address)) => embedded(*address).map(IpAddr::V4).map(Host::Address),
        Host::Address(IpAddr::V4(_)) | Host::Name(_) => None,
    }
}
