//! Which destinations are reached through another proxy.

use std::{net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use ipnet::IpNet;

use super::{Authority, Host};
use crate::access::parse_network;
pub use crate::document::UpstreamProxyResolve;

/// A proxy that destinations are reached through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamProxy {
    /// Unique name.
    pub name: Arc<str>,
    /// Where it is, to be tried in turn.
    pub addresses: Vec<Authority>,
    /// TLS under it; `None` means in clear.
    pub tls: Option<UpstreamProxyTls>,
    /// File with user and password.
    pub credentials: Option<PathBuf>,
    /// Who looks names up.
    pub resolve: UpstreamProxyResolve,
    /// What is reached through it.
    pub destinations: Destinations,
    /// What of that is not.
    pub no_proxy: Destinations,
    /// Time until it answers that a destination is connected.
    pub answer_timeout: Duration,
}

/// TLS to an upstream proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamProxyTls {
    /// File with authorities that are trusted beside those of the system.
    pub ca: Option<PathBuf>,
    /// The name that its certificate must have; `None` means the host that it is reached by.
    pub server_name: Option<Host>,
}

impl UpstreamProxy {
    /// The one that takes a destination, before its name is looked up.
    ///
    /// Ranges of `noProxy` may take it out again, when its addresses are known: [`Self::spares`].
    pub fn of<'p>(proxies: &'p [Self], authority: &Authority) -> Option<&'p Self> {
        let taken = proxies
            .iter()
            .find(|proxy| proxy.destinations.name(authority));
        taken.filter(|proxy| !proxy.no_proxy.name(authority))
    }

    /// Whether a destination with these addresses is reached without it.
    pub fn spares(&self, authority: &Authority, addresses: &[IpAddr]) -> bool {
        self.no_proxy.hold(authority, addresses)
    }

    /// Whether the names of its destinations are looked up here.
    pub fn looks_up(&self) -> bool {
        self.resolve != UpstreamProxyResolve::Proxy
    }
}

/// A list of destinations as `NO_PROXY` has them. No standard says what that means; this is what
/// Go's `net/http` and curl agree on, with `*.` besides, and with ranges for names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Destinations(Vec<Destination>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Destination {
    what: What,
    /// `None` means every port.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    All,
    /// A name and, where `below_only`, only what is below it.
    Name {
        name: String,
        below_only: bool,
    },
    Network(IpNet),
}

impl Destinations {
    /// Everything.
    pub fn all() -> Self {
        Self(vec![Destination {
            what: What::All,
            port: None,
        }])
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// What is none, in words.
    pub fn add(&mut self, entry: &str) -> Result<(), String> {
        self.0.push(Destination::parse(entry)?);
        Ok(())
    }

    /// Whether a destination is among them by what it is asked for by.
    pub fn name(&self, authority: &Authority) -> bool {
        let is_it = |destination: &Destination| match (&destination.what, &authority.host) {
            (What::All, _) => true,
            (What::Name { name, below_only }, Host::Name(host)) => {
                (!below_only && host == name) || is_below(host, name)
            }
            (What::Network(network), Host::Address(address)) => {
                network.contains(&address.to_canonical())
            }
            (What::Name { .. }, Host::Address(_)) | (What::Network(_), Host::Name(_)) => false,
        };
        self.any(authority, is_it)
    }

    /// Whether their ranges have all these addresses, of which there are some.
    pub fn hold(&self, authority: &Authority, addresses: &[IpAddr]) -> bool {
        let has = |address: &IpAddr| {
            let address = address.to_canonical();
            self.any(authority, |destination| match &destination.what {
                What::Network(network) => network.contains(&address),
                What::All | What::Name { .. } => false,
            })
        };
        !addresses.is_empty() && addresses.iter().all(has)
    }

    /// Whether they are everything.
    pub fn is_all(&self) -> bool {
        let is_it = |one: &Destination| one.what == What::All && one.port.is_none();
        self.0.iter().any(is_it)
    }

    /// Whether there are ranges among them.
    pub fn has_ranges(&self) -> bool {
        let mut all = self.0.iter();
        all.any(|one| matches!(one.what, What::Network(_)))
    }

    fn any(&self, authority: &Authority, is_it: impl Fn(&Destination) -> bool) -> bool {
        let has_port = |one: &Destination| one.port.is_none_or(|port| port == authority.port);
        self.0.iter().any(|one| has_port(one) && is_it(one))
    }
}

fn is_below(host: &str, name: &str) -> bool {
    let rest = host.strip_suffix(name);
    rest.is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

impl Destination {
    fn parse(entry: &str) -> Result<Self, String> {
        // Lists come from variables, where blanks stand behind commas.
        let entry = entry.trim_matches(' ');
        let bad = || format!("{entry:?} is no name, address or range");
        if let Ok((network, masked)) = parse_network(entry) {
            return match masked {
                true => Err(format!("{entry} has host bits set; {network} is meant")),
                false => Ok(Self::network(network, None)),
            };
        }
        // Not to be taken for a name: `10.0.0.0/33`, `http://a.example`.
        if entry.contains('/') {
            return Err(bad());
        }
        let (below_only, rest) = match (entry.strip_prefix("*."), entry.strip_prefix('.')) {
            (Some(rest), _) | (None, Some(rest)) => (true, rest),
            (None, None) => (false, entry),
        };
        let (host, port) = match rest.rsplit_once(':') {
            None => (rest, None),
            // Within brackets, and no port.
            Some((_, digits)) if digits.ends_with(']') => (rest, None),
            Some((host, digits)) => {
                let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
                let port = digits.parse().ok().filter(|port| is_number && *port != 0);
                (host, Some(port.ok_or_else(bad)?))
            }
        };
        if host == "*" && !below_only {
            return Ok(Self {
                what: What::All,
                port,
            });
        }
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        if let Some(Ok(address)) = bare.map(str::parse::<IpAddr>) {
            // As authorities and answers have it: one mapped into IPv6 is one of IPv4.
            return Ok(Self::network(address.to_canonical().into(), port));
        }
        match Host::parse(host) {
            Ok(Host::Name(name)) => Ok(Self {
                what: What::Name { name, below_only },
                port,
            }),
            Ok(Host::Address(address)) if !below_only => Ok(Self::network(address.into(), port)),
            Ok(Host::Address(_)) | Err(_) => Err(bad()),
        }
    }

    fn network(network: IpNet, port: Option<u16>) -> Self {
        Self {
            what: What::Network(network),
            port,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[&str]) -> Destinations {
        let mut list = Destinations::default();
        for entry in entries {
            list.add(entry).expect(entry);
        }
        list
    }

    fn authority(text: &str) -> Authority {
        Authority::parse(text.as_bytes(), Some(443)).expect(text)
    }

    #[test]
    fn a_destination_is_named_as_no_proxy_names_it() {
        for (entry, named, others) in [
            (
                "Example.com",
                &["example.com", "a.example.com", "b.a.example.com:80"][..],
                &["anexample.com", "example.com.org", "com", "192.0.2.1"][..],
            ),
            (
                ".example.com",
                &["a.example.com", "b.a.example.com"],
                &["example.com", "anexample.com"],
            ),
            (
                "*.example.com",
                &["a.example.com"],
                &["example.com", "anexample.com"],
            ),
            (
                "example.com:8443",
                &["example.com:8443", "a.example.com:8443"],
                &["example.com", "a.example.com:443"],
            ),
            (
                "192.0.2.1",
                &["192.0.2.1", "[::ffff:192.0.2.1]:80"],
                &["192.0.2.2", "a.example"],
            ),
            ("192.0.2.1:80", &["192.0.2.1:80"], &["192.0.2.1:443"]),
            ("192.0.2.0/24", &["192.0.2.7"], &["192.0.3.7", "a.example"]),
            ("2001:db8::/32", &["[2001:db8::1]"], &["[2001:db9::1]"]),
            ("[2001:db8::1]", &["[2001:db8::1]:80"], &["[2001:db8::2]"]),
            (
                "[::ffff:192.0.2.1]",
                &["192.0.2.1", "[::ffff:192.0.2.1]:80"],
                &["192.0.2.2"],
            ),
            (
                "[::ffff:192.0.2.1]:80",
                &["192.0.2.1:80"],
                &["192.0.2.1:443"],
            ),
            (" example.com ", &["example.com"], &["example.org"]),
            (
                "[2001:db8::1]:80",
                &["[2001:db8::1]:80"],
                &["[2001:db8::1]"],
            ),
            ("2001:db8::1", &["[2001:db8::1]"], &["[2001:db8::2]"]),
            ("*", &["a.example", "192.0.2.1:1"], &[]),
            ("*:80", &["a.example:80"], &["a.example"]),
        ] {
            let list = list(&[entry]);
            for is_it in named {
                assert!(list.name(&authority(is_it)), "{entry}: {is_it}");
            }
            for other in others {
                assert!(!list.name(&authority(other)), "{entry}: {other}");
            }
        }
    }

    #[test]
    fn what_is_no_destination_is_told() {
        for entry in [
            "",
            ".",
            "*.",
            "http://a.example",
            "10.0.0.0/33",
            "10.0.0.1/8",
            "a.example:",
            "a:0",
            "a.example:+80",
            "a.example:99999",
            "127.1",
            "*.10.0.0.1",
            "a_b\u{e9}",
            "a b",
            "**",
            "[a.example]",
            "a.*.example",
        ] {
            let told = Destination::parse(entry).expect_err(entry);
            assert!(told.contains(entry), "{told}");
        }
    }

    #[test]
    fn a_name_is_in_a_range_where_all_its_addresses_are() {
        let list = list(&[
            "10.0.0.0/8:x".trim_end_matches(":x"),
            "a.example",
            "fd00::/8",
        ]);
        let asked = authority("b.example");
        let addresses = |texts: &[&str]| -> Vec<IpAddr> {
            texts.iter().map(|text| text.parse().expect(text)).collect()
        };
        assert!(list.hold(&asked, &addresses(&["10.1.2.3", "10.3.2.1"])));
        assert!(list.hold(&asked, &addresses(&["::ffff:10.1.2.3"])));
        assert!(list.hold(&asked, &addresses(&["10.1.2.3", "fd00::1"])));
        assert!(!list.hold(&asked, &addresses(&["10.1.2.3", "192.0.2.1"])));
        assert!(!list.hold(&asked, &[]));
        assert!(list.has_ranges() && !list.is_all() && Destinations::all().is_all());
    }

    #[test]
    fn the_first_takes_a_destination_and_no_proxy_leaves_it_to_nobody() {
        let proxy = |name: &str, destinations: &[&str], no_proxy: &[&str]| UpstreamProxy {
            name: name.into(),
            addresses: Vec::new(),
            tls: None,
            credentials: None,
            resolve: UpstreamProxyResolve::Pinned,
            destinations: list(destinations),
            no_proxy: list(no_proxy),
            answer_timeout: Duration::from_secs(1),
        };
        let proxies = [
            proxy(
                "one",
                &["one.example"],
                &["direct.one.example", "10.0.0.0/8"],
            ),
            proxy("rest", &["*"], &["10.0.0.0/8"]),
        ];
        let found = |text: &str| UpstreamProxy::of(&proxies, &authority(text));
        let name = |text: &str| found(text).map(|proxy| proxy.name.to_string());
        assert_eq!(name("a.one.example").as_deref(), Some("one"));
        assert_eq!(name("direct.one.example"), None);
        assert_eq!(name("two.example").as_deref(), Some("rest"));
        assert_eq!(name("10.1.1.1"), None);
        let one = found("one.example").expect("it is taken");
        let inner = [IpAddr::from([10, 1, 1, 1])];
        assert!(one.spares(&authority("one.example"), &inner));
        assert!(!one.spares(&authority("one.example"), &[IpAddr::from([192, 0, 2, 1])]));
    }
}
