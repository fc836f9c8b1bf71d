//! `NO_PROXY` in the patterns of Java and ssh, which have stars and no ranges.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use portcullis_config::egress::NoProxyEntry;

/// A pattern: a name or an address with at most one star, at one of its ends.
pub(super) enum Pattern {
    /// Of names, or of IPv4.
    Plain(String),
    /// An address of IPv6, without brackets.
    V6(String),
}

/// The patterns that mean an entry. A name stands for what is below it too, as it does for curl, Go and Python.
pub(super) fn patterns(entry: &NoProxyEntry) -> Vec<Pattern> {
    let plain = match entry {
        // Nothing is below it, and each list would have one more entry.
        NoProxyEntry::Name(name) if name == "localhost" => vec![name.clone()],
        NoProxyEntry::Name(name) => vec![name.clone(), format!("*.{name}")],
        NoProxyEntry::Suffix(name) => vec![format!("*.{name}")],
        NoProxyEntry::Address(address) if address.is_ipv6() => {
            return vec![Pattern::V6(address.to_string())];
        }
        NoProxyEntry::Address(address) => vec![address.to_string()],
        NoProxyEntry::Range(range) => of_range(*range),
    };
    plain.into_iter().map(Pattern::Plain).collect()
}

/// A range by the octets that its addresses begin with: one that ends within an octet is as many as it has
/// there. All of IPv4 is 256: a star alone would be all names as well.
fn of_range(range: Ipv4Net) -> Vec<String> {
    let octets = range.prefix_len().div_ceil(8).max(1);
    let written = |first: Ipv4Addr| {
        let parts = first.octets();
        let parts = parts.iter().take(usize::from(octets));
        let parts: Vec<String> = parts.map(u8::to_string).collect();
        match octets {
            4 => first.to_string(),
            _ => format!("{}.*", parts.join(".")),
        }
    };
    // One that is as long or longer cannot be refused.
    let parts = range.subnets(octets * 8).into_iter().flatten();
    parts.map(|part| written(part.network())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(entry: &str) -> Vec<String> {
        let entry = entry.parse().expect(entry);
        let text = |pattern| match pattern {
            Pattern::Plain(text) => text,
            Pattern::V6(text) => format!("v6 {text}"),
        };
        patterns(&entry).into_iter().map(text).collect()
    }

    #[test]
    fn egr_29_patterns_mean_what_the_entry_means() {
        for (entry, expected) in [
            ("localhost", &["localhost"][..]),
            ("db.test", &["db.test", "*.db.test"]),
            (".corp.test", &["*.corp.test"]),
            ("10.96.0.1", &["10.96.0.1"]),
            ("::1", &["v6 ::1"]),
            ("10.0.0.0/8", &["10.*"]),
            ("10.244.0.0/16", &["10.244.*"]),
            ("192.0.2.0/24", &["192.0.2.*"]),
            ("192.0.2.7/32", &["192.0.2.7"]),
            ("192.0.2.4/31", &["192.0.2.4", "192.0.2.5"]),
            ("172.16.0.0/15", &["172.16.*", "172.17.*"]),
        ] {
            assert_eq!(of(entry), expected, "{entry}");
        }
        let services = of("10.96.0.0/12");
        assert_eq!(services.len(), 16);
        assert_eq!(
            (services.first(), services.last()),
            (Some(&"10.96.*".to_owned()), Some(&"10.111.*".to_owned()))
        );
        assert_eq!(of("0.0.0.0/1").len(), 128);
        // Addresses, and no names.
        let all = of("0.0.0.0/0");
        assert_eq!(all.len(), 256);
        assert_eq!(
            (all.first(), all.last()),
            (Some(&"0.*".to_owned()), Some(&"255.*".to_owned()))
        );
    }
}
