//! What clients reach without the proxy, as their `NO_PROXY` says it.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::{IpNet, Ipv4Net};

use super::Host;
use crate::access::parse_network;

/// A list of [`NoProxyEntry`], each once. Shown as `NO_PROXY` has it, with commas and no blanks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NoProxy(Vec<NoProxyEntry>);

/// An entry of `NO_PROXY`, of those that curl, wget, Go, Python and Node read alike, or pass over.
///
/// No standard says what the variable means. Stars, ports and brackets are read by some clients alone,
/// and a range of IPv6 ends Python's httpx: there are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoProxyEntry {
    /// A name, and, for all of these but Node, what is below it. In small letters, without a dot at its end.
    Name(String),
    /// What is below a name, which is here without the dot that the entry begins with.
    Suffix(String),
    /// A destination that is asked for by its address.
    Address(IpAddr),
    /// Destinations that are asked for by such an address. wget, npm, Node and Python's urllib read none.
    Range(Ipv4Net),
}

/// Text that is no [`NoProxyEntry`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{entry:?} is not read alike by all clients: {reason}")]
pub struct BadNoProxyEntry {
    entry: String,
    reason: &'static str,
}

impl NoProxy {
    /// The loopback: `localhost`, `127.0.0.1` and `::1`.
    pub fn loopback() -> Self {
        Self(vec![
            NoProxyEntry::Name("localhost".to_owned()),
            NoProxyEntry::Address([127, 0, 0, 1].into()),
            NoProxyEntry::Address([0, 0, 0, 0, 0, 0, 0, 1].into()),
        ])
    }

    /// Adds what it does not have.
    pub fn add(&mut self, entry: NoProxyEntry) {
        if !self.0.contains(&entry) {
            self.0.push(entry);
        }
    }

    /// The entries, in their order.
    pub fn entries(&self) -> &[NoProxyEntry] {
        &self.0
    }
}

impl fmt::Display for NoProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, entry) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            write!(f, "{entry}")?;
        }
        Ok(())
    }
}

impl FromStr for NoProxyEntry {
    type Err = BadNoProxyEntry;

    fn from_str(said: &str) -> Result<Self, BadNoProxyEntry> {
        let bad = |reason| BadNoProxyEntry {
            entry: said.to_owned(),
            reason,
        };
        // Blanks around a range are none of it, as in all other lists of ranges.
        let entry = match said.contains('/') {
            true => said.trim(),
            false => said,
        };
        if entry.contains([' ', '\t', ',']) {
            return Err(bad("an entry is one item, without blanks and commas"));
        }
        if entry.contains('*') {
            return Err(bad("most know no star; `.suffix` is what is below a name"));
        }
        if entry.contains("://") {
            return Err(bad("it is a host, without a scheme"));
        }
        if entry.contains('/') {
            return match parse_network(entry) {
                Ok((IpNet::V4(range), _)) => Ok(Self::Range(range)),
                Ok((IpNet::V6(_), _)) => Err(bad(
                    "Python's httpx fails at a range of IPv6, and with it every program that uses it: name single addresses, or a `.suffix`",
                )),
                Err(_) => Err(bad("it is neither a host nor a range of IPv4")),
            };
        }
        if let Ok(address) = entry.parse() {
            return Ok(Self::Address(address));
        }
        let name = entry.strip_prefix('.');
        match Host::parse(name.unwrap_or(entry)) {
            Ok(Host::Name(_)) if entry.ends_with('.') => Err(bad("it has a dot at its end")),
            Ok(Host::Name(known)) if name.is_some() => Ok(Self::Suffix(known)),
            Ok(Host::Name(known)) => Ok(Self::Name(known)),
            _ => Err(bad(
                "a name, `.suffix`, an address without brackets or a range of IPv4 is, each without a port",
            )),
        }
    }
}

impl fmt::Display for NoProxyEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Suffix(name) => write!(f, ".{name}"),
            Self::Address(address) => write!(f, "{address}"),
            Self::Range(range) => write!(f, "{range}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn egr_29_an_entry_is_what_all_clients_read_alike() {
        let mut list = NoProxy::loopback();
        for entry in [
            "LOCALHOST",
            ".Corp.test",
            "db.test",
            "10.96.0.7/12",
            "10.96.0.1",
            "FD00::1",
            "db.test",
            " 192.168.0.0/16",
            "198.51.100.0/24\n",
            "\t203.0.113.0/24 ",
        ] {
            list.add(entry.parse().expect(entry));
        }
        assert_eq!(
            list.to_string(),
            "localhost,127.0.0.1,::1,.corp.test,db.test,10.96.0.0/12,10.96.0.1,fd00::1,192.168.0.0/16,198.51.100.0/24,203.0.113.0/24"
        );
    }

    #[test]
    fn egr_29_what_they_read_otherwise_is_refused_by_name() {
        for (entry, says) in [
            ("*", "no star"),
            ("*.corp.test", "`.suffix`"),
            (" .corp.test", "without blanks"),
            ("a.test b.test", "without blanks"),
            ("10.0.0.0/8 10.1.0.0/16", "without blanks"),
            (" 10.0.0.0/8,", "commas"),
            (" 10.*/8", "no star"),
            (" http://10.0.0.0/8", "without a scheme"),
            (" fd00::/8", "httpx"),
            ("a.test,b.test", "commas"),
            ("http://a.test", "without a scheme"),
            ("a.test/x", "neither a host nor a range"),
            ("10.0.0.0/33", "neither a host nor a range"),
            ("fd00::/8", "httpx"),
            ("a.test.", "a dot at its end"),
            (".a.test.", "a dot at its end"),
            ("a.test:8443", "without a port"),
            ("[::1]", "without brackets"),
            ("1.2", "a name"),
            ("..a.test", "a name"),
            (".", "a name"),
            ("", "a name"),
            ("a$b", "a name"),
            ("a'b", "a name"),
        ] {
            let told = entry.parse::<NoProxyEntry>().expect_err(entry).to_string();
            assert!(told.contains(says), "{entry:?}: {told}");
            assert!(told.starts_with(&format!("{entry:?} ")), "{told}");
        }
    }
}
