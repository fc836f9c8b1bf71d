//! Which certificate a host is served with: the first that is said to be for it, and another of
//! the same owner while that one is not valid.
//!
//! An owner is a namespace of Kubernetes, or all that the files say: nobody takes over a host with
//! a certificate of their own because somebody else's has expired. Time passes without a change
//! of any object, so who stands in is decided at each handshake.

use std::collections::BTreeMap;

use portcullis_config::{
    model::Certificate,
    problem::{Category, Severity},
};

use super::CertificateProblem;

/// Hosts, each with its certificates by number.
#[derive(Debug, Default)]
pub(super) struct HostOwners {
    exact: BTreeMap<String, Choice>,
    /// The same by the suffix after `*.`.
    wildcard: BTreeMap<String, Choice>,
}

/// The certificates of one host.
#[derive(Debug)]
struct Choice {
    /// That which stands first; `None` where it could not be read.
    first: Option<usize>,
    /// Those that may stand in for it, as they stand.
    others: Vec<usize>,
}

impl Choice {
    /// The first that is valid; where none is, the first that there is.
    fn choose(&self, is_valid: impl Fn(usize) -> bool) -> Option<usize> {
        let all = || self.first.iter().chain(&self.others).copied();
        all()
            .find(|&index| is_valid(index))
            .or_else(|| all().next())
    }
}

impl HostOwners {
    /// The certificate of a name in lower case: exact, then by a wildcard of one label. None
    /// where there is none, or it could not be read.
    pub(super) fn find(&self, name: &str, is_valid: impl Fn(usize) -> bool) -> Option<usize> {
        let exact = self.exact.get(name);
        let choice = exact.or_else(|| self.wildcard.get(name.split_once('.')?.1))?;
        choice.choose(is_valid)
    }
}

/// The hosts as certificates come that are said to be for them.
#[derive(Debug, Default)]
pub(super) struct Claims<'c> {
    hosts: BTreeMap<String, Claim<'c>>,
    problems: Vec<CertificateProblem>,
}

/// A host, and who stands first for it.
#[derive(Debug)]
struct Claim<'c> {
    certificate: &'c Certificate,
    choice: Choice,
    /// The names of those that may stand in.
    others: Vec<&'c str>,
}

/// A certificate that could be read: its number, and whether clients take it for a host.
type Readable<'a> = (usize, &'a dyn Fn(&str) -> bool);

impl<'c> Claims<'c> {
    /// Adds the hosts of a certificate, behind those of all before it. One that could not be
    /// read has them all the same.
    pub(super) fn add(
        &mut self,
        certificate: &'c Certificate,
        hosts: &[String],
        readable: Option<Readable<'_>>,
    ) {
        for host in hosts {
            let Some(claim) = self.hosts.get_mut(host) else {
                let choice = Choice {
                    first: readable.map(|(index, _)| index),
                    others: Vec::new(),
                };
                let claim = Claim {
                    certificate,
                    choice,
                    others: Vec::new(),
                };
                self.hosts.insert(host.clone(), claim);
                continue;
            };
            let Some((index, covers)) =
                readable.filter(|(index, _)| claim.choice.first != Some(*index))
            else {
                continue;
            };
            let (first, name) = (claim.certificate, &claim.certificate.name);
            let is_of_object = certificate.namespace().is_some();
            let is_of_owner = first.namespace() == certificate.namespace();
            // Only who is said to be for a host stands in: what others happen to cover does not.
            let is_said = !certificate.hosts.is_empty();
            let reason = match is_of_owner && is_said {
                true if covers(host) => {
                    claim.choice.others.push(index);
                    claim.others.push(&certificate.name);
                    // Of objects it is told where they are translated, with the field.
                    if is_of_object {
                        continue;
                    }
                    format!(
                        "{host} is served by certificate {name:?}, which stands first, as long as that is valid"
                    )
                }
                true => format!(
                    "{host} is served by certificate {name:?}, which stands first; this one is not for it and cannot stand in"
                ),
                false if claim.choice.first.is_none() => {
                    format!("{host} is that of a certificate which stands first and is broken")
                }
                false => format!("{host} is served by certificate {name:?}, which stands first"),
            };
            self.problems
                .push(warning(certificate, reason, Category::Conflict));
        }
    }

    /// The hosts, and what is to be told of them: also who stands in for whom now.
    pub(super) fn settle(
        self,
        is_valid: &dyn Fn(usize) -> bool,
    ) -> (HostOwners, Vec<CertificateProblem>) {
        let mut owners = HostOwners::default();
        let mut problems = self.problems;
        for (host, claim) in self.hosts {
            let chosen = claim.choice.choose(is_valid);
            let other = claim
                .choice
                .others
                .iter()
                .position(|&other| chosen == Some(other));
            if let Some(other) = other {
                let reason = format!(
                    "{host} is served by certificate {:?} while this one is not valid",
                    claim.others[other]
                );
                problems.push(warning(
                    claim.certificate,
                    reason,
                    Category::CertificateInvalid,
                ));
            }
            let (map, key) = match host.strip_prefix("*.") {
                Some(suffix) => (&mut owners.wildcard, suffix.to_owned()),
                None => (&mut owners.exact, host),
            };
            map.insert(key, claim.choice);
        }
        (owners, problems)
    }
}

fn warning(certificate: &Certificate, reason: String, category: Category) -> CertificateProblem {
    CertificateProblem {
        name: certificate.name.clone(),
        reason,
        severity: Severity::Warning,
        category,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(name: &str, hosts: &[&str]) -> Certificate {
        Certificate {
            name: name.to_owned(),
            certificate: "a.crt".into(),
            key: "a.key".into(),
            ocsp: None,
            hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
        }
    }

    /// What `a.test` is served with: of each certificate its name, whether it could be read,
    /// and whether it is valid.
    fn served<'n>(certificates: &[(&'n str, bool, bool)]) -> (Option<&'n str>, usize) {
        let made: Vec<Certificate> = certificates
            .iter()
            .map(|(name, ..)| certificate(name, &["a.test"]))
            .collect();
        let mut claims = Claims::default();
        for (index, (known, (_, is_read, _))) in made.iter().zip(certificates).enumerate() {
            let readable: Option<Readable<'_>> = is_read.then_some((index, &|_| true));
            claims.add(known, &known.hosts, readable);
        }
        let is_valid = |index: usize| certificates[index].2;
        let (owners, problems) = claims.settle(&is_valid);
        let found = owners.find("a.test", is_valid);
        (found.map(|index| certificates[index].0), problems.len())
    }

    #[test]
    fn another_of_the_same_owner_stands_in_while_the_first_is_not_valid() {
        for (certificates, expected, told) in [
            (
                &[("s/old", true, true), ("s/new", true, true)][..],
                Some("s/old"),
                0,
            ),
            (
                &[("s/old", true, false), ("s/new", true, true)],
                Some("s/new"),
                1,
            ),
            (
                &[("s/old", false, false), ("s/new", true, true)],
                Some("s/new"),
                1,
            ),
            (
                &[("s/old", true, false), ("s/new", true, false)],
                Some("s/old"),
                0,
            ),
            (
                &[("s/old", true, false), ("s/new", false, false)],
                Some("s/old"),
                0,
            ),
            (
                &[("s/old", false, false), ("s/new", true, false)],
                Some("s/new"),
                1,
            ),
            (
                &[
                    ("s/old", true, false),
                    ("s/two", true, false),
                    ("s/three", true, true),
                ],
                Some("s/three"),
                1,
            ),
            // Never of another namespace, nor of the settings.
            (
                &[("s/old", true, false), ("t/new", true, true)],
                Some("s/old"),
                1,
            ),
            (&[("s/old", false, false), ("t/new", true, true)], None, 1),
            (
                &[("file", true, false), ("t/new", true, true)],
                Some("file"),
                1,
            ),
            (&[("one", true, false), ("two", true, true)], Some("two"), 2),
        ] {
            assert_eq!(served(certificates), (expected, told), "{certificates:?}");
        }
    }

    #[test]
    fn who_does_not_cover_a_host_or_is_not_said_to_be_for_it_does_not_stand_in() {
        let first = certificate("s/old", &["*.a.test"]);
        let uncovered = certificate("s/new", &["*.a.test"]);
        let unsaid = certificate("s/any", &[]);
        let mut claims = Claims::default();
        claims.add(&first, &first.hosts, Some((0, &|_| true)));
        claims.add(&uncovered, &uncovered.hosts, Some((1, &|_| false)));
        claims.add(&unsaid, &first.hosts, Some((2, &|_| true)));
        let (owners, problems) = claims.settle(&|index| index > 0);
        assert_eq!(owners.find("x.a.test", |index| index > 0), Some(0));
        assert_eq!(owners.find("x.x.a.test", |_| true), None);
        assert_eq!(problems.len(), 2, "{problems:?}");
    }
}
