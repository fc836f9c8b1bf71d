//! Where an egress proxy is, as its clients are told.

use std::{fmt, net::SocketAddr, str::FromStr};

use super::{Authority, Host};

/// Port where a URL names none.
const DEFAULT_PORT: u16 = 3128;

/// Where the proxy is: `http://host:port`, or `https://host:port` where it speaks TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyUrl {
    tls: bool,
    authority: Authority,
}

/// Text that is no [`ProxyUrl`].
#[derive(Debug, thiserror::Error)]
#[error("expected http://HOST:PORT or https://HOST:PORT, without user, path and query")]
pub struct BadProxyUrl;

impl FromStr for ProxyUrl {
    type Err = BadProxyUrl;

    fn from_str(text: &str) -> Result<Self, BadProxyUrl> {
        let (scheme, rest) = text.split_once("://").ok_or(BadProxyUrl)?;
        let tls = match scheme {
            "http" => false,
            "https" => true,
            _ => return Err(BadProxyUrl),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let authority = Authority::parse(rest.as_bytes(), Some(DEFAULT_PORT));
        let authority = authority.map_err(|_| BadProxyUrl)?;
        Ok(Self { tls, authority })
    }
}

impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority)
    }
}

impl ProxyUrl {
    /// One in clear at an address.
    pub fn at(address: SocketAddr) -> Self {
        Self {
            tls: false,
            authority: Authority {
                host: Host::Address(address.ip()),
                port: address.port(),
            },
        }
    }

    /// Host and port.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Whether it speaks TLS.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// Whether it is that very address.
    pub fn is_at(&self, address: SocketAddr) -> bool {
        let here = match &self.authority.host {
            Host::Address(host) => host.to_canonical() == address.ip().to_canonical(),
            Host::Name(name) => name == "localhost" && address.ip().is_loopback(),
        };
        here && self.authority.port == address.port()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_scheme_host_and_port_and_nothing_else() {
        for (text, expected) in [
            (
                "http://proxy.egress.svc:3128",
                "http://proxy.egress.svc:3128",
            ),
            ("https://proxy/", "https://proxy:3128"),
            ("http://10.0.0.1", "http://10.0.0.1:3128"),
            ("http://[fd00::1]:80", "http://[fd00::1]:80"),
        ] {
            let url: ProxyUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), expected);
        }
        for text in [
            "proxy:3128",
            "ftp://proxy:3128",
            "http://",
            "http://user:pass@proxy:3128",
            "http://proxy:3128/path",
            "http://proxy:3128?x",
            "http://proxy:0",
            "http://127.1:3128",
        ] {
            assert!(text.parse::<ProxyUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_url_knows_the_address_that_it_names() {
        let here: SocketAddr = "127.0.0.1:3128".parse().unwrap();
        for (url, expected) in [
            ("http://127.0.0.1:3128", true),
            ("http://localhost:3128", true),
            ("http://[::ffff:127.0.0.1]:3128", true),
            ("http://127.0.0.1:3129", false),
            ("http://10.0.0.1:3128", false),
            ("http://proxy:3128", false),
        ] {
            assert_eq!(
                url.parse::<ProxyUrl>().unwrap().is_at(here),
                expected,
                "{url}"
            );
        }
    }
}
