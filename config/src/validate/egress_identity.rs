//! Who the clients of the egress proxy are, and which of them a policy is about.

use std::time::Duration;

use super::{report::Report, text};
use crate::{
    document,
    egress::{ServiceAccounts, Subject, Subjects, TokenSettings},
    model::{EgressIdentity, EgressIdentityLevel, EgressProtocol},
};

const DEFAULT_CLOCK_SKEW: Duration = Duration::from_secs(10);
/// A token is good for ten minutes at least: half of that makes no old one new.
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(300);

pub(super) fn identity(
    section: &document::Egress,
    report: &mut Report<'_>,
) -> Option<EgressIdentity> {
    let wanted = section.identity.as_ref()?;
    let level = wanted.level.unwrap_or_default();
    if level == EgressIdentityLevel::Required {
        for (index, listener) in section.listeners.iter().enumerate() {
            if listener.protocol == Some(EgressProtocol::Socks5) {
                report.warn_hint(
                    format!("egress.listeners[{index}].protocol"),
                    "every client of this listener is refused: SOCKS5 carries no token, and one is required",
                    "`egress.identity.level: none` lets clients without a token be known by their addresses",
                );
            }
        }
    }
    let path = "egress.identity.serviceAccountTokens";
    let tokens = &wanted.service_account_tokens;
    let place = format!("{path}.jwks");
    if tokens.jwks.is_empty() {
        report.error_hint(
            &place,
            "a file is missing",
            "write one with `kubectl get --raw /openid/v1/jwks`",
        );
    }
    for (field, text) in [("issuer", &tokens.issuer), ("audience", &tokens.audience)] {
        if text.is_empty() || text.trim() != text {
            report.error(
                format!("{path}.{field}"),
                format!("{text:?} is in no token: it is empty, or has blanks around it"),
            );
        }
    }
    // The usual audiences of the API server: its issuer, and its Service.
    if tokens.audience == tokens.issuer
        || tokens
            .audience
            .starts_with("https://kubernetes.default.svc")
    {
        report.warn_hint(
            format!("{path}.audience"),
            "tokens for the API server may have this audience: whoever sees one here can use it there",
            "name an audience of its own, such as `portcullis`, in the projected volume and here",
        );
    }
    let clock_skew = tokens.clock_skew.map_or(DEFAULT_CLOCK_SKEW, |skew| skew.0);
    if clock_skew > MAX_CLOCK_SKEW {
        report.error(
            format!("{path}.clockSkew"),
            "clockSkew is at most 5m: an expired token is good for so long",
        );
    }
    Some(EgressIdentity {
        level,
        jwks: report.origins().resolve(&place, &tokens.jwks),
        tokens: TokenSettings {
            issuer: tokens.issuer.clone(),
            audience: tokens.audience.clone(),
            clock_skew,
        },
    })
}

/// The clients of a policy.
pub(super) fn subjects(
    path: &str,
    wanted: &[document::EgressSubject],
    has_identity: bool,
    report: &mut Report<'_>,
) -> Subjects {
    if wanted.is_empty() {
        report.error_hint(
            path,
            "a policy without subjects selects nobody",
            "name addresses, namespaces or ServiceAccounts of clients",
        );
    }
    let mut subjects = Subjects::default();
    for (index, subject) in wanted.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let place = format!("{path}.addresses");
        if subject.service_account.is_some() && subject.namespace.is_none() {
            report.error_hint(
                format!("{path}.serviceAccount"),
                "a ServiceAccount without its namespace may be anybody's",
                "name its `namespace` too",
            );
        } else if subject.addresses.is_none() && subject.namespace.is_none() {
            report.error(
                &path,
                "a subject without addresses or a namespace selects nobody",
            );
        }
        if subject.addresses.as_ref().is_some_and(Vec::is_empty) {
            report.error(&place, "a list without addresses selects nobody");
        }
        if !has_identity && subject.namespace.is_some() {
            report.error_hint(
                format!("{path}.namespace"),
                "it selects nobody: without `egress.identity` no client has a namespace",
                "say under `egress.identity` how tokens are verified",
            );
        }
        let addresses = subject.addresses.as_ref();
        let addresses = addresses.map(|addresses| text::networks(&place, addresses, report));
        subjects.add(Subject {
            accounts: accounts(&path, subject, report),
            addresses,
        });
    }
    subjects
}

fn accounts(
    path: &str,
    subject: &document::EgressSubject,
    report: &mut Report<'_>,
) -> Option<ServiceAccounts> {
    let namespace = subject.namespace.as_ref()?;
    if !is_label(namespace, 63) {
        report.error(
            format!("{path}.namespace"),
            format!("{namespace:?} is no name of a namespace: a-z, 0-9 and `-`, at most 63"),
        );
    }
    let name = subject.service_account.as_ref();
    if let Some(name) = name
        && (name.len() > 253 || !name.split('.').all(|label| is_label(label, 253)))
    {
        report.error(
            format!("{path}.serviceAccount"),
            format!(
                "{name:?} is no name of a ServiceAccount: a-z, 0-9, `-` and `.`, at most 253; \
                 its namespace stands in `namespace`"
            ),
        );
    }
    Some(ServiceAccounts {
        namespace: namespace.clone(),
        name: name.cloned(),
    })
}

/// A label as the names of objects have it (RFC 1123), of so many characters.
fn is_label(text: &str, longest: usize) -> bool {
    let is_inner = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    (1..=longest).contains(&text.len())
        && text.bytes().all(is_inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}
