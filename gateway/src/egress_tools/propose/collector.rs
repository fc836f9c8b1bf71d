//! What was seen of each workload, within bounds.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::SystemTime,
};

use portcullis_config::egress::Host;

use super::{
    super::record::{Record, Verdict, Workload},
    Mode, Options,
    seen::{Seen, is_quota, judge},
};

/// Methods of one destination that are kept. Clients make them up, and those in use are fewer.
pub(super) const MAX_METHODS: usize = 32;

/// More distinct destinations than may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the log has more than {limit} distinct destinations of workloads: read less of it, or raise --max-entries. Nothing is proposed, since a policy from a part of the log would refuse the rest"
)]
pub struct TooMany {
    /// How many may be kept.
    pub limit: usize,
}

/// Everything that was seen, by workload.
#[derive(Debug)]
pub struct Collector {
    pub(super) options: Options,
    pub(super) workloads: BTreeMap<Workload, Found>,
    /// Records of requests inside tunnels. Those of their tunnels stand for them.
    pub(super) inside: u64,
    /// When the first and the last record ended.
    pub(super) reach: Option<(SystemTime, SystemTime)>,
    kept: usize,
}

/// What was seen of one workload.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Its records.
    pub records: u64,
    /// What an entry would let pass.
    pub destinations: BTreeMap<Destination, Facts>,
    /// What none is proposed for, by reason, with how often.
    pub left_out: BTreeMap<String, BTreeMap<Option<Destination>, u64>>,
    /// Where its tunnels are looked into, each with the policies that allow them. None is proposed
    /// for these: what is allowed inside, and which WAF rules see it, is in no record.
    pub looked_into: BTreeSet<(Destination, Option<String>)>,
    /// Whether something passed that no entry allows.
    pub passed_without_entry: bool,
    /// Whether a ClientHello may have named another host than it showed.
    pub hidden_name: bool,
}

/// A host and port. Names come before addresses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Destination {
    pub host: Target,
    pub port: u16,
}

/// What an entry names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    /// A name.
    Name(String),
    /// Every name below this one.
    Below(String),
    /// An address.
    Address(std::net::IpAddr),
}

/// What a destination needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    pub times: u64,
    pub raw: bool,
    pub private: bool,
    /// Whether there was a tunnel to it.
    pub tunnel: bool,
    /// Methods of plain requests to it, with how often: the first ones by name, so that their order
    /// in the log does not matter.
    pub methods: BTreeMap<String, u64>,
    /// Plain requests to it.
    pub requests: u64,
    /// Whether plain requests to it were sent over TLS.
    pub originated_tls: bool,
}

impl Facts {
    /// The methods that an entry names. One with methods allows no tunnel; one for tunnels
    /// hides what is in them.
    pub(super) fn listed_methods(&self) -> BTreeSet<String> {
        match self.tunnel {
            true => BTreeSet::new(),
            false => self.methods.keys().cloned().collect(),
        }
    }

    /// Requests with methods that an entry does not name, since they are too many.
    pub(super) fn unlisted(&self) -> u64 {
        match self.tunnel {
            true => 0,
            false => self.requests - self.methods.values().sum::<u64>(),
        }
    }

    fn note(&mut self, method: &str) {
        self.requests += 1;
        *self.methods.entry(method.to_owned()).or_default() += 1;
        if self.methods.len() > MAX_METHODS {
            // One that is in the end among the first was never the last of more, so that its count is whole.
            self.methods.pop_last();
        }
    }
}

impl Collector {
    /// Begins with nothing.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            workloads: BTreeMap::new(),
            inside: 0,
            reach: None,
            kept: 0,
        }
    }

    /// Takes a record.
    ///
    /// # Errors
    /// When it is of a destination that may not be kept any more.
    pub fn add(&mut self, record: &Record) -> Result<(), TooMany> {
        self.reached(record.time);
        if record.in_tunnel {
            self.inside += 1;
            return Ok(());
        }
        let seen = judge(record, &self.options);
        let destination = record.destination.as_ref().map(|(host, port)| Destination {
            host: match host {
                Host::Name(name) => Target::Name(name.clone()),
                Host::Address(address) => Target::Address(address.to_canonical()),
            },
            port: *port,
        });
        let found = self.workloads.entry(record.workload.clone()).or_default();
        let before = found.kept();
        found.records += 1;
        found.passed_without_entry |= passed_without_entry(record);
        match (seen, destination) {
            (_, Some(destination)) if record.inspected => {
                found
                    .looked_into
                    .insert((destination, record.policy.clone()));
            }
            (
                Seen::Entry {
                    raw,
                    private,
                    hidden_name,
                },
                Some(destination),
            ) => {
                found.hidden_name |= hidden_name;
                let facts = found.destinations.entry(destination).or_default();
                facts.times += 1;
                facts.raw |= raw;
                facts.private |= private;
                facts.originated_tls |= record.originated_tls;
                match &record.method {
                    None => facts.tunnel = true,
                    Some(method) => facts.note(method),
                }
            }
            (Seen::Entry { .. }, None) => {}
            (Seen::LeftOut(reason), destination) => {
                let times = found.left_out.entry(reason).or_default();
                *times.entry(destination).or_default() += 1;
            }
        }
        let added = found.kept() - before;
        self.kept += added;
        if self.kept > self.options.max_entries {
            return Err(TooMany {
                limit: self.options.max_entries,
            });
        }
        Ok(())
    }

    fn reached(&mut self, time: SystemTime) {
        let (first, last) = self.reach.get_or_insert((time, time));
        *first = time.min(*first);
        *last = time.max(*last);
    }
}

/// Whether it passed though nothing allowed it, since its policy does not enforce that. What a
/// policy allows by `allowAll` is allowed, and an entry of `deny` that is tried says nothing of
/// what else may pass.
fn passed_without_entry(record: &Record) -> bool {
    let reason = record.reason.as_str();
    let is_of_entry = matches!(
        reason,
        "allowed"
            | "allow_all"
            | "denied_host"
            | "denied_address"
            | "not_delegated"
            | "encrypted_client_hello"
    );
    let is_of_entry = is_of_entry || is_quota(reason);
    matches!(record.verdict, Verdict::Allow | Verdict::WouldDeny) && !is_of_entry
}

impl Found {
    /// How many destinations are kept, those without an entry by reason or policy.
    fn kept(&self) -> usize {
        let left_out: usize = self.left_out.values().map(BTreeMap::len).sum();
        self.destinations.len() + left_out + self.looked_into.len()
    }

    /// Whether tunnels to a destination are looked into.
    pub(super) fn looks_into(&self, destination: &Destination) -> bool {
        let mut from = self.looked_into.range((destination.clone(), None)..);
        from.next().is_some_and(|(first, _)| first == destination)
    }

    /// The mode that opens nothing which was not open.
    pub(super) fn mode(&self, asked: Option<Mode>) -> Mode {
        asked.unwrap_or(match self.passed_without_entry {
            true => Mode::Report,
            false => Mode::Enforce,
        })
    }
}
