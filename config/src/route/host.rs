//! One canonical host.

use std::{borrow::Cow, net::Ipv6Addr};

/// Longest host name (RFC 1035 section 2.3.4).
const MAX_HOST: usize = 253;

/// Finds the host of a Host header or `:authority` (RFC 9110 section 7.2), in
/// lower case, without its port and one trailing dot.
///
/// # Errors
/// Says what is wrong: user information, zones, a bad port, bytes that no host
/// name has.
pub fn canonical_host(text: &str) -> Result<(Cow<'_, str>, Option<u16>), &'static str> {
    if let Some(rest) = text.strip_prefix('[') {
        let (literal, after) = rest
            .split_once(']')
            .ok_or("an IPv6 address without its closing bracket")?;
        let address: Ipv6Addr = literal
            .parse()
            .map_err(|_| "not an IPv6 address in brackets")?;
        let port = match after {
            "" => None,
            after => Some(
                after
                    .strip_prefix(':')
                    .ok_or("text after an IPv6 address")?,
            ),
        };
        // One address has many spellings (RFC 5952 section 4).
        let plain = &text[..literal.len() + 2];
        let canonical = format!("[{address}]");
        let host = match canonical == plain {
            true => Cow::Borrowed(plain),
            false => Cow::Owned(canonical),
        };
        return Ok((host, self::port(port)?));
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.is_empty() || host.len() > MAX_HOST {
        return Err("an empty or too long host");
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if !host.bytes().all(plain)
        || host
            .split('.')
            .any(|label| label.is_empty() || label.len() > 63)
    {
        return Err("an empty or too long label, or a character that no host name has");
    }
    let lower = if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    };
    Ok((lower, self::port(port)?))
}

fn port(text: Option<&str>) -> Result<Option<u16>, &'static str> {
    match text {
        None | Some("") => Ok(None),
        Some(digits) if digits.len() <= 5 && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            let port = digits.parse().map_err(|_| "a port above 65535")?;
            Ok(Some(port))
        }
        Some(_) => Err("a port that is no number"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_one_form() {
        for (text, host, port) in [
            ("Shop.Test", "shop.test", None),
            ("shop.test:8080", "shop.test", Some(8080)),
            ("shop.test.:443", "shop.test", Some(443)),
            ("shop.test:", "shop.test", None),
            ("10.0.0.1:80", "10.0.0.1", Some(80)),
            ("[2001:DB8::1]:80", "[2001:db8::1]", Some(80)),
            ("[2001:db8:0:0::1]", "[2001:db8::1]", None),
            ("_dmarc.shop.test", "_dmarc.shop.test", None),
        ] {
            assert_eq!(canonical_host(text), Ok((host.into(), port)), "{text}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in [
            "",
            ".",
            "a..b",
            "a b",
            "a/b",
            "u@a",
            "a:80:80",
            "a:+80",
            "a:99999",
            "a:x",
            "[::1",
            "[::1]x",
            "[fe80::1%25eth0]",
            "[a]",
            "caf\u{e9}.test",
            "a%00",
            "a\t",
        ] {
            assert!(canonical_host(text).is_err(), "{text:?}");
        }
    }
}
