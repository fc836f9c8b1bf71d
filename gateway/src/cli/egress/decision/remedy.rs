//! What would have to be written where, so that a request is let through.

use std::net::IpAddr;

use portcullis_config::egress::{
    AddressClass,
    CertificateIdentity::{CommonName, Spiffe},
    Client, Host, HttpRequest, Refused, Request,
};

use super::answer::Asked;

/// Says it; `None` where nothing does, or where that is not a matter of policies.
pub(super) fn remedy(
    reason: &str,
    refused: Option<&Refused>,
    request: Request<'_>,
    asked: Asked<'_>,
) -> Option<String> {
    let (host, port) = (&request.authority.host, request.authority.port);
    let policy = refused.and_then(|refused| refused.policy.as_ref());
    let policy = policy.and_then(|policy| asked.places.policy(policy));
    let policy = policy.map_or_else(|| "a policy".to_owned(), |place| place.path);
    let rule = refused.and_then(|refused| refused.rule.as_ref());
    let rule = rule.and_then(|rule| asked.places.entry(rule));
    let entry = entry(request, asked);
    Some(match (reason, rule.map(|rule| rule.path)) {
        ("no_policy", _) => format!(
            "a policy in egress.policies with {} among its `subjects`, and {entry} in `allow`",
            subject(asked.shown.client())
        ),
        ("not_allowed" | "ip_literal", _) => format!("{entry} in {policy}.allow"),
        ("port_not_allowed", Some(rule)) => format!("{port} in {rule}.ports"),
        ("request_not_allowed", rule) => match (request.http, rule) {
            (Some(HttpRequest { method, path, .. }), Some(rule)) => {
                format!("{method} in {rule}.methods and {path} in {rule}.paths, where it has these")
            }
            _ => format!(
                "{entry}, without `methods` and `paths`, which a tunnel hides, in {policy}.allow"
            ),
        },
        ("grant_expired", Some(rule)) => format!("a later {rule}.until"),
        ("denied_host" | "denied_address", Some(rule)) => {
            format!("take {rule} away: nothing else lifts it")
        }
        ("not_delegated", _) => {
            format!("{entry} in {policy}.delegate.allow, and an entry of a policy that allows it")
        }
        ("private_address", Some(rule)) => format!("{rule}.private: true, if that is meant"),
        ("private_address", None) => {
            let private = match host {
                Host::Name(name) => format!("{{host: {name}, ports: [{port}], private: true}}"),
                Host::Address(_) => entry,
            };
            format!("{private} in {policy}.allow, if that is meant")
        }
        _ => return None,
    })
}

/// An entry of `allow` for just this.
fn entry(request: Request<'_>, asked: Asked<'_>) -> String {
    let port = request.authority.port;
    match &request.authority.host {
        Host::Name(name) if matches!(port, 80 | 443) => name.clone(),
        Host::Name(name) => format!("{{host: {name}, ports: [{port}]}}"),
        Host::Address(address) => {
            let bits = match address {
                IpAddr::V4(_) => 32,
                IpAddr::V6(_) => 128,
            };
            let class = AddressClass::of(*address, &asked.egress.cluster_ranges);
            let private = match class {
                AddressClass::Private => ", private: true",
                _ => "",
            };
            format!("{{cidr: \"{address}/{bits}\", ports: [{port}]{private}}}")
        }
    }
}

/// A subject that selects just this client.
fn subject(client: Client<'_>) -> String {
    match (client.identity, client.certificate) {
        (Some(identity), _) => format!(
            "{{namespace: {}, serviceAccount: {}}}",
            identity.namespace, identity.service_account
        ),
        (None, Some(Spiffe(id))) => format!("{{spiffeId: {:?}}}", id.as_str()),
        (None, Some(CommonName(name))) => format!("{{certificateName: {name:?}}}"),
        (None, None) => format!("{{addresses: [{:?}]}}", client.address.to_string()),
    }
}
