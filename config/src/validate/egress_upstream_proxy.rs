//! Proxies that the egress proxy itself goes through.

use std::{collections::HashSet, time::Duration};

use super::{report::Report, text};
use crate::{
    document,
    egress::{
        Authority, Destinations, Host, UpstreamProxy, UpstreamProxyResolve, UpstreamProxyTls,
    },
};

const DEFAULT_ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The list.
pub(super) fn upstream_proxies(
    wanted: &[document::EgressUpstreamProxy],
    report: &mut Report<'_>,
) -> Vec<UpstreamProxy> {
    let mut names = HashSet::new();
    let mut takes_all: Option<&str> = None;
    let mut proxies = Vec::new();
    for (index, wanted) in wanted.iter().enumerate() {
        let path = format!("egress.upstreamProxies[{index}]");
        text::name(&path, &wanted.name, report);
        if !names.insert(&wanted.name) {
            let taken = format!("the name {:?} is taken", wanted.name);
            report.error(format!("{path}.name"), taken);
        }
        if let Some(before) = takes_all {
            report.warn_hint(
                &path,
                format!("nothing is reached through it: {before:?} takes everything"),
                "the first whose `destinations` fit takes a destination: put it before",
            );
        }
        let proxy = upstream_proxy(&path, wanted, report);
        if takes_all.is_none() && proxy.destinations.is_all() {
            takes_all = Some(&wanted.name);
        }
        proxies.push(proxy);
    }
    proxies
}

fn upstream_proxy(
    path: &str,
    wanted: &document::EgressUpstreamProxy,
    report: &mut Report<'_>,
) -> UpstreamProxy {
    let mut addresses = Vec::new();
    for (index, address) in wanted.addresses.iter().enumerate() {
        match Authority::parse(address.as_bytes(), None) {
            Ok(authority) => addresses.push(authority),
            Err(_) => report.error_hint(
                format!("{path}.addresses[{index}]"),
                format!("{address:?} is not HOST:PORT"),
                "as `proxy.example.com:3128`, without a scheme; what speaks TLS has `tls`",
            ),
        }
    }
    if wanted.addresses.is_empty() {
        report.error(format!("{path}.addresses"), "at least one is expected");
    }
    let file = |field: &str, name: &str, report: &mut Report<'_>| {
        let place = format!("{path}.{field}");
        if name.is_empty() {
            report.error(&place, "a file is missing");
        }
        report.origins().resolve(&place, name)
    };
    let tls = wanted.tls.as_ref().map(|tls| {
        let place = format!("{path}.tls.serverName");
        let host = tls.server_name.as_ref().map(|name| match name.parse() {
            Ok(address) => Ok(Host::Address(address)),
            Err(_) => Host::parse(name),
        });
        if let Some(Err(_)) = host {
            report.error(&place, "not a host name or an address");
        }
        UpstreamProxyTls {
            ca: tls.ca.as_ref().map(|name| file("tls.ca", name, report)),
            server_name: host.and_then(Result::ok),
        }
    });
    let credentials = wanted.credentials.as_ref();
    let credentials = credentials.map(|name| file("credentials", name, report));
    if credentials.is_some() && tls.is_none() {
        report.warn_hint(
            format!("{path}.credentials"),
            "they are sent in clear, where everybody on the way can read them",
            "give it `tls`, where it speaks that",
        );
    }
    let destinations = match &wanted.destinations {
        None => Destinations::all(),
        Some(list) => {
            if list.is_empty() {
                let place = format!("{path}.destinations");
                report.warn(place, "nothing is reached through it: the list is empty");
            }
            let list = self::destinations(&format!("{path}.destinations"), list, report);
            if list.has_ranges() {
                report.warn_hint(
                    format!("{path}.destinations"),
                    "ranges are about destinations that are asked for by address alone, and not about names that have such addresses",
                    "take everything, and leave out by `noProxy`, which knows the addresses of names",
                );
            }
            list
        }
    };
    let place = format!("{path}.noProxy");
    let no_proxy = self::destinations(&place, &wanted.no_proxy, report);
    let resolve = wanted.resolve.unwrap_or_default();
    if resolve == UpstreamProxyResolve::Proxy {
        report.warn_hint(
            format!("{path}.resolve"),
            "no address of a name is judged: the upstream proxy must keep private ones from being reached",
            "`checked` judges those that are found here, where names can be looked up",
        );
        if no_proxy.has_ranges() {
            report.warn(
                place,
                "ranges are about destinations by address alone: names are not looked up here",
            );
        }
    }
    let timeout = wanted.answer_timeout.map(|timeout| timeout.0);
    if timeout.is_some_and(|timeout| timeout.is_zero()) {
        report.error(
            format!("{path}.answerTimeout"),
            "answerTimeout must be more than 0",
        );
    }
    UpstreamProxy {
        name: wanted.name.as_str().into(),
        addresses,
        tls,
        credentials,
        resolve,
        destinations,
        no_proxy,
        answer_timeout: timeout.unwrap_or(DEFAULT_ANSWER_TIMEOUT),
    }
}

fn destinations(path: &str, entries: &[String], report: &mut Report<'_>) -> Destinations {
    let mut list = Destinations::default();
    for (index, entry) in entries.iter().enumerate() {
        report.ok(&format!("{path}[{index}]"), list.add(entry));
    }
    list
}

#[cfg(test)]
mod tests {
    use crate::{
        read::{SourceFile, read},
        validate::validate,
    };

    fn told(proxies: &str) -> Vec<String> {
        let read = read(&[SourceFile {
            name: "a.yaml".into(),
            text: format!("egress: {{listeners: [{{name: p}}], upstreamProxies: [{proxies}]}}"),
        }]);
        let validated = validate(&read.document, &read.origins);
        let problems = read.problems.iter().chain(&validated.problems);
        problems.map(ToString::to_string).collect()
    }

    #[test]
    fn what_cannot_be_meant_is_told_with_its_place() {
        for (fields, place, says) in [
            ("addresses: []", "addresses", "at least one"),
            (
                "addresses: ['http://p:1']",
                "addresses[0]",
                "is not HOST:PORT",
            ),
            ("addresses: [p]", "addresses[0]", "is not HOST:PORT"),
            (
                "addresses: ['p:1'], tls: {ca: ''}",
                "tls.ca",
                "a file is missing",
            ),
            (
                "addresses: ['p:1'], tls: {serverName: 'a b'}",
                "tls.serverName",
                "not a host name",
            ),
            (
                "addresses: ['p:1'], tls: {}, credentials: ''",
                "credentials",
                "a file is missing",
            ),
            (
                "addresses: ['p:1'], credentials: c",
                "credentials",
                "in clear",
            ),
            (
                "addresses: ['p:1'], destinations: []",
                "destinations",
                "nothing is reached",
            ),
            (
                "addresses: ['p:1'], destinations: ['a b']",
                "destinations[0]",
                "no name, address or range",
            ),
            (
                "addresses: ['p:1'], destinations: [10.0.0.0/8]",
                "destinations",
                "by address alone",
            ),
            (
                "addresses: ['p:1'], noProxy: [a, '10.0.0.1/8']",
                "noProxy[1]",
                "10.0.0.0/8 is meant",
            ),
            (
                "addresses: ['p:1'], resolve: proxy",
                "resolve",
                "no address of a name is judged",
            ),
            (
                "addresses: ['p:1'], answerTimeout: 0s",
                "answerTimeout",
                "more than 0",
            ),
        ] {
            let told = told(&format!("{{name: one, {fields}}}"));
            let place = format!("egress.upstreamProxies[0].{place}: ");
            assert!(
                matches!(told.as_slice(), [one] if one.contains(&place) && one.contains(says)),
                "{fields}: {told:?}"
            );
        }
        assert_eq!(told("{name: one, addresses: ['p:1']}"), [""; 0]);
    }

    #[test]
    fn what_never_has_its_turn_is_told() {
        let one = |name: &str, more: &str| format!("{{name: {name}, addresses: ['p:1']{more}}}");
        let some = one("a", ", destinations: [a.example]");
        assert_eq!(told(&format!("{some}, {}", one("b", ""))), [""; 0]);
        let told_of = told(&format!("{}, {some}", one("b", "")));
        assert!(
            matches!(told_of.as_slice(), [one] if one.contains("upstreamProxies[1]") && one.contains("\"b\" takes everything")),
            "{told_of:?}"
        );
        let twice = told(&format!("{some}, {some}"));
        assert!(twice[0].contains("is taken"), "{twice:?}");
    }

    #[test]
    fn ranges_are_not_about_names_that_nobody_looks_up() {
        let told = told("{name: a, addresses: ['p:1'], resolve: proxy, noProxy: [10.0.0.0/8]}");
        assert!(
            told.iter().any(|one| one.contains("by address alone")),
            "{told:?}"
        );
    }
}
