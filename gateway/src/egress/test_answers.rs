//! Answers for tests and the demo, which may reach only this machine.
//!
//! A name gets the answer of a script instead of DNS, and an address that was
//! judged is replaced just before the dial. Nothing of the decision is skipped:
//! the scripted answer is classified like any other. There is no way to these
//! but the demo and a hidden command line flag that is logged.

use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

/// Scripted DNS answers and dial replacements. Clones share their script.
#[derive(Clone, Debug, Default)]
pub struct TestAnswers {
    names: Arc<Mutex<BTreeMap<String, VecDeque<Vec<IpAddr>>>>>,
    addresses: Arc<BTreeMap<SocketAddr, SocketAddr>>,
    scripted: bool,
}

impl TestAnswers {
    /// Parses `host=ip[,ip...]` and `ip:port=ip:port` entries. A name that is
    /// given more than once answers in that order, its last answer for ever.
    ///
    /// # Errors
    /// Names the entry that is not of that form.
    pub fn parse(dns: &[String], map: &[String]) -> Result<Self, String> {
        let mut names: BTreeMap<String, VecDeque<Vec<IpAddr>>> = BTreeMap::new();
        for entry in dns {
            let wrong = || format!("{entry:?} is not host=ip[,ip...]");
            let (name, answer) = entry.split_once('=').ok_or_else(wrong)?;
            let answer = answer
                .split(',')
                .map(str::parse)
                .collect::<Result<_, _>>()
                .map_err(|_| wrong())?;
            names
                .entry(name.to_ascii_lowercase())
                .or_default()
                .push_back(answer);
        }
        let mut addresses = BTreeMap::new();
        for entry in map {
            let wrong = || format!("{entry:?} is not ip:port=ip:port");
            let (from, to) = entry.split_once('=').ok_or_else(wrong)?;
            addresses.insert(
                from.parse().map_err(|_| wrong())?,
                to.parse().map_err(|_| wrong())?,
            );
        }
        let scripted = !names.is_empty();
        Ok(Self {
            names: Arc::new(Mutex::new(names)),
            addresses: Arc::new(addresses),
            scripted,
        })
    }

    /// Whether there is anything in it.
    pub fn is_empty(&self) -> bool {
        !self.scripted && self.addresses.is_empty()
    }

    /// Whether names are answered from the script alone.
    pub(super) fn is_scripted(&self) -> bool {
        self.scripted
    }

    /// The next answer for a name; none for one that the script does not know.
    pub(super) fn resolve(&self, name: &str) -> Vec<IpAddr> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        match names.get_mut(name) {
            Some(answers) if answers.len() > 1 => answers.pop_front().unwrap_or_default(),
            Some(answers) => answers.front().cloned().unwrap_or_default(),
            None => Vec::new(),
        }
    }

    /// The address to dial in the stead of a judged one.
    pub(super) fn replace(&self, judged: SocketAddr) -> Option<SocketAddr> {
        self.addresses.get(&judged).copied()
    }
}
