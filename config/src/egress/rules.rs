//! The entries of a list of destinations, found by what is asked for and not one by one.
//!
//! A list may have tens of thousands of names. A name is looked up, and so is each of its
//! parents; what must be asked entry by entry are regular expressions and networks.

use std::{collections::HashMap, fmt, ops::Deref};

use super::{EgressRule, Host, Target};
use crate::model::HostPattern;

/// Entries in their order.
#[derive(Clone, Default)]
pub struct EgressRules {
    all: Vec<EgressRule>,
    /// Places of the entries for a name.
    names: HashMap<String, Vec<usize>>,
    /// Places of the entries for the names below another.
    suffixes: HashMap<String, Vec<usize>>,
    /// Places of the regular expressions.
    regexes: Vec<usize>,
    /// Places of the networks.
    networks: Vec<usize>,
    has_quotas: bool,
}

impl Deref for EgressRules {
    type Target = [EgressRule];

    fn deref(&self) -> &[EgressRule] {
        &self.all
    }
}

/// The entries: where each is found follows from them, and has no order.
impl fmt::Debug for EgressRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.all.fmt(f)
    }
}

impl FromIterator<EgressRule> for EgressRules {
    fn from_iter<I: IntoIterator<Item = EgressRule>>(rules: I) -> Self {
        let mut made = Self::default();
        for (place, rule) in rules.into_iter().enumerate() {
            match &rule.target {
                Target::Host(HostPattern::Exact(name)) => {
                    made.names.entry(name.clone()).or_default().push(place);
                }
                Target::Host(HostPattern::Suffix(suffix)) => {
                    made.suffixes.entry(suffix.clone()).or_default().push(place);
                }
                Target::Regex(_) => made.regexes.push(place),
                Target::Network(_) => made.networks.push(place),
            }
            made.has_quotas |= rule.quota.is_some();
            made.all.push(rule);
        }
        made
    }
}

impl EgressRules {
    /// The first entry that accepts; asked are those alone that may name the host.
    pub(super) fn first(
        &self,
        host: &Host,
        accepts: impl Fn(&EgressRule) -> bool,
    ) -> Option<&EgressRule> {
        let mut first: Option<usize> = None;
        for places in self.candidates(host) {
            let sooner = places
                .iter()
                .take_while(|place| first.is_none_or(|first| **place < first));
            let found = sooner
                .copied()
                .find(|place| self.all.get(*place).is_some_and(&accepts));
            first = found.or(first);
        }
        self.all.get(first?)
    }

    /// All entries that accept, in their order; asked are those alone that may name the host.
    pub(super) fn all(
        &self,
        host: &Host,
        accepts: impl Fn(&EgressRule) -> bool,
    ) -> Vec<&EgressRule> {
        let mut places: Vec<usize> = self.candidates(host).flatten().copied().collect();
        places.sort_unstable();
        let rules = places.into_iter().filter_map(|place| self.all.get(place));
        rules.filter(|rule| accepts(rule)).collect()
    }

    /// Whether an entry has a quota.
    pub(super) fn have_quotas(&self) -> bool {
        self.has_quotas
    }

    /// The places of the entries that may name a host: some lists, each in order.
    fn candidates<'a>(&'a self, host: &'a Host) -> impl Iterator<Item = &'a [usize]> {
        let (name, others) = match host {
            Host::Name(name) => (name.as_str(), &self.regexes),
            Host::Address(_) => ("", &self.networks),
        };
        let parents = name.match_indices('.').filter(|(dot, _)| *dot > 0);
        let parents = parents.filter_map(|(dot, _)| self.suffixes.get(name.get(dot + 1..)?));
        self.names
            .get(name)
            .into_iter()
            .chain(parents)
            .chain([others])
            .map(Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str, port: u16) -> EgressRule {
        let target = match (text.strip_prefix("*."), text.strip_prefix('~')) {
            (Some(suffix), _) => Target::Host(HostPattern::Suffix(suffix.to_owned())),
            (_, Some(regex)) => Target::Regex(regex::Regex::new(regex).expect("a pattern")),
            _ => match text.parse() {
                Ok(network) => Target::Network(network),
                Err(_) => Target::Host(HostPattern::Exact(text.to_owned())),
            },
        };
        EgressRule {
            text: format!("{text}:{port}").into(),
            target,
            ports: vec![port],
            methods: Vec::new(),
            paths: Vec::new(),
            until: None,
            private: false,
            raw: false,
            inspection: None,
            opens_tunnels: false,
            originates_tls: false,
            quota: None,
        }
    }

    fn host(text: &str) -> Host {
        match text.parse() {
            Ok(address) => Host::Address(address),
            Err(_) => Host::Name(text.to_owned()),
        }
    }

    #[test]
    fn forty_thousand_names_are_not_asked_one_by_one() {
        let names = (0..40_000).map(|number| match number % 2 {
            0 => rule(&format!("host-{number}.test"), 443),
            _ => rule(&format!("*.host-{number}.test"), 443),
        });
        let rules: EgressRules = names.collect();
        let asked = |name: &str| -> usize { rules.candidates(&host(name)).map(<[_]>::len).sum() };
        for (name, expected) in [
            ("host-39998.test", 1),
            ("a.b.host-39999.test", 1),
            ("host-39999.test", 0),
            ("unknown.test", 0),
            ("192.0.2.1", 0),
        ] {
            assert_eq!(asked(name), expected, "{name}");
            let found = rules.first(&host(name), |_| true);
            assert_eq!(found.is_some(), expected > 0, "{name}");
        }
    }

    #[test]
    fn the_first_entry_of_all_kinds_is_found_as_if_each_were_asked() {
        let texts = [
            "a.test",
            "*.test",
            "~a.*",
            "10.0.0.0/8",
            "*.a.test",
            "a.test",
            "b.a.test",
            "~.*b.*",
            "10.1.0.0/16",
            "*.test",
        ];
        let all: Vec<EgressRule> = texts
            .iter()
            .zip(1..)
            .map(|(text, port)| rule(text, port))
            .collect();
        let hosts = [
            "a.test",
            "b.a.test",
            "test",
            ".test",
            "c.b.a.test",
            "b",
            "10.1.2.3",
            "10.2.0.1",
            "::1",
        ];
        // From each place on, and backwards.
        for reversed in [false, true] {
            for from in 0..all.len() {
                let mut part = all[from..].to_vec();
                if reversed {
                    part.reverse();
                }
                let rules: EgressRules = part.iter().cloned().collect();
                for text in hosts {
                    let host = host(text);
                    let is_odd = |rule: &EgressRule| rule.ports[0] % 2 == 1;
                    for odd in [false, true] {
                        let accepts =
                            |rule: &EgressRule| rule.names(&host) && (!odd || is_odd(rule));
                        let one_by_one = part.iter().find(|rule| accepts(rule));
                        let found = rules.first(&host, accepts);
                        let place = format!("{text} from {from}, reversed {reversed}");
                        assert_eq!(
                            found.map(|rule| &rule.text),
                            one_by_one.map(|rule| &rule.text),
                            "{place}"
                        );
                        let asked = part.iter().filter(|rule| accepts(rule));
                        let asked: Vec<_> = asked.map(|rule| &rule.text).collect();
                        let all = rules.all(&host, accepts);
                        let all: Vec<_> = all.iter().map(|rule| &rule.text).collect();
                        assert_eq!(all, asked, "{place}");
                    }
                }
            }
        }
    }
}
