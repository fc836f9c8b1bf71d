//! The destination, from raw bytes.
//!
//! URL libraries repair what they read: full-width letters, octal numbers,
//! backslashes. A gate must not, or it decides on one name and others connect to
//! another. So: ASCII, labels, one trailing dot, strict addresses, nothing else.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// A destination in its one form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Authority {
    /// Name or address.
    pub host: Host,
    /// Port, above 0.
    pub port: u16,
}

/// A host in its one form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A name, lower case, without trailing dot.
    Name(String),
    /// An address literal.
    Address(IpAddr),
}

/// Why a destination is refused; the text is the reason code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// No host and port.
    #[error("bad_authority")]
    Authority,
    /// Not a host name.
    #[error("bad_host")]
    Host,
    /// Bytes beyond ASCII.
    #[error("non_ascii_host")]
    NonAscii,
    /// A number that is no strict dotted quad.
    #[error("numeric_host")]
    Numeric,
    /// An IPv6 zone.
    #[error("zone_id")]
    Zone,
    /// Not a port.
    #[error("bad_port")]
    Port,
}

impl AuthorityError {
    /// The reason code.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Authority => "bad_authority",
            Self::Host => "bad_host",
            Self::NonAscii => "non_ascii_host",
            Self::Numeric => "numeric_host",
            Self::Zone => "zone_id",
            Self::Port => "bad_port",
        }
    }
}

impl Authority {
    /// Parses `host:port`. Where there is no default the port must be there, as
    /// in CONNECT (RFC 9110 section 9.3.6).
    ///
    /// # Errors
    /// See [`AuthorityError`].
    pub fn parse(bytes: &[u8], default_port: Option<u16>) -> Result<Self, AuthorityError> {
        if !bytes.is_ascii() {
            return Err(AuthorityError::NonAscii);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| AuthorityError::NonAscii)?;
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (literal, after) = rest.split_once(']').ok_or(AuthorityError::Host)?;
                if literal.contains('%') {
                    return Err(AuthorityError::Zone);
                }
                let address: Ipv6Addr = literal.parse().map_err(|_| AuthorityError::Host)?;
                let port = match after {
                    "" => None,
                    _ => Some(after.strip_prefix(':').ok_or(AuthorityError::Host)?),
                };
                (Host::Address(address.into()), port)
            }
            None => match text.split_once(':') {
                Some((host, port)) => (Host::parse(host)?, Some(port)),
                None => (Host::parse(text)?, None),
            },
        };
        let port = match (port, default_port) {
            (Some(port), _) => parse_port(port)?,
            (None, Some(port)) => port,
            (None, None) => return Err(AuthorityError::Authority),
        };
        Ok(Self { host, port })
    }
}

impl Host {
    /// Parses a name or an IPv4 address.
    ///
    /// # Errors
    /// See [`AuthorityError`].
    pub fn parse(text: &str) -> Result<Self, AuthorityError> {
        if !text.is_ascii() {
            return Err(AuthorityError::NonAscii);
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.is_empty() || name.len() > 253 {
            return Err(AuthorityError::Host);
        }
        for label in name.split('.') {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            if label.is_empty()
                || label.len() > 63
                || !label.bytes().all(plain)
                || label.starts_with('-')
                || label.ends_with('-')
            {
                return Err(AuthorityError::Host);
            }
        }
        let last = name.rsplit('.').next().unwrap_or(name);
        let lower = last.to_ascii_lowercase();
        let numeric = last.bytes().all(|byte| byte.is_ascii_digit())
            || lower
                .strip_prefix("0x")
                .is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
        if numeric {
            // A name whose last label is a number is an attempt at an IPv4 address
            // (WHATWG URL, "ends in a number"); only the strict form counts.
            let address: Ipv4Addr = name.parse().map_err(|_| AuthorityError::Numeric)?;
            return if name == text {
                Ok(Self::Address(address.into()))
            } else {
                Err(AuthorityError::Numeric)
            };
        }
        Ok(Self::Name(name.to_ascii_lowercase()))
    }
}

fn parse_port(text: &str) -> Result<u16, AuthorityError> {
    if text.is_empty()
        || text.len() > 5
        || text.starts_with('0')
        || !text.bytes().all(|byte| byte.is_ascii_digit())
    {
        return Err(AuthorityError::Port);
    }
    text.parse().map_err(|_| AuthorityError::Port)
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_have_one_form() {
        for (text, form) in [
            ("api.example.com:443", "api.example.com:443"),
            ("API.Example.com.:443", "api.example.com:443"),
            ("xn--bcher-kva.example:443", "xn--bcher-kva.example:443"),
            ("1and1.example:443", "1and1.example:443"),
            ("_sip.example.com:5061", "_sip.example.com:5061"),
            ("93.184.216.34:443", "93.184.216.34:443"),
            ("[2606:2800:220:1::1]:443", "[2606:2800:220:1::1]:443"),
        ] {
            assert_eq!(
                Authority::parse(text.as_bytes(), None).unwrap().to_string(),
                form
            );
        }
    }

    #[test]
    fn every_other_spelling_is_refused() {
        use AuthorityError::{Authority as NoPort, Host as BadHost, NonAscii, Numeric, Port, Zone};
        for (text, error) in [
            ("api.example.com", NoPort),
            (":443", BadHost),
            ("api.example.com..:443", BadHost),
            ("[bad.example.com]:443", BadHost),
            ("[10.0.0.1]:443", BadHost),
            ("[::1]443", BadHost),
            ("[::1:443", BadHost),
            ("[fe80::1%25eth0]:443", Zone),
            ("evil.test%00.example.com:443", BadHost),
            ("user@api.example.com:443", BadHost),
            ("*.example.com:443", BadHost),
            ("api.example.com\t:443", BadHost),
            ("-a.example.com:443", BadHost),
            ("a-.example.com:443", BadHost),
            ("b\u{fc}cher.example:443", NonAscii),
            ("127.1:443", Numeric),
            ("2130706433:443", Numeric),
            ("0177.0.0.1:443", Numeric),
            ("0x7f000001:443", Numeric),
            ("0x7f.1:443", Numeric),
            ("127.0.0.1.:443", Numeric),
            ("169.254.43518:80", Numeric),
            ("0:443", Numeric),
            ("api.example.com:+443", Port),
            ("api.example.com:0443", Port),
            ("api.example.com:0", Port),
            ("api.example.com:65536", Port),
            ("api.example.com:", Port),
            ("api.example.com:443:443", Port),
        ] {
            assert_eq!(
                Authority::parse(text.as_bytes(), None),
                Err(error),
                "{text}"
            );
        }
    }

    #[test]
    fn labels_and_names_have_a_length() {
        let parse = |name: &str| Authority::parse(format!("{name}:443").as_bytes(), None);
        let label = "a".repeat(63);
        assert!(parse(&format!("{label}.test")).is_ok());
        let longer = parse(&format!("{label}a.test"));
        assert_eq!(longer, Err(AuthorityError::Host));
        let name = [&*label, &label, &label, &label[2..]].join(".");
        assert_eq!(name.len(), 253);
        assert!(parse(&name).is_ok());
        assert_eq!(parse(&format!("{name}a")), Err(AuthorityError::Host));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_parsed_without_a_panic_and_stably(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..40)) {
            if let Ok(authority) = Authority::parse(&bytes, None) {
                let again = Authority::parse(authority.to_string().as_bytes(), None);
                proptest::prop_assert_eq!(again, Ok(authority));
            }
        }
    }
}
