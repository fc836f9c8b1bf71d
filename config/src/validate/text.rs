//! Names, addresses, hosts, paths, headers and patterns from text.

use std::net::SocketAddr;

use http::{HeaderName, HeaderValue, Method};
use regex::RegexBuilder;

use super::report::Report;
use crate::{
    access::{AddressSet, parse_network},
    document::Document,
    model::{EndpointAddress, HostPattern},
    route::{CanonicalPath, PathTemplate, canonical_path},
};

/// Longest name of an item.
const MAX_NAME: usize = 128;
/// Longest name of one that was made of an object: namespace, name, and what is in it.
const MAX_OBJECT_NAME: usize = 1024;
/// Largest compiled regular expression.
const MAX_REGEX_BYTES: usize = 1 << 20;

/// Judges the name of an item.
pub(super) fn name(path: &str, name: &str, report: &mut Report<'_>) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    // `/` and `:` are kept for names that are made of objects, so that none is taken from
    // them. What these are made of, the cluster has judged.
    let is_plain = name.len() <= MAX_NAME && name.bytes().all(plain);
    let good = !name.is_empty()
        && (is_plain || name.len() <= MAX_OBJECT_NAME && report.is_of_object(path));
    if !good {
        report.error_hint(
            format!("{path}.name"),
            format!("{name:?} is not a name"),
            "letters, digits, `-`, `_` and `.`, at most 128",
        );
    }
    good
}

/// Judges text that is shown to people as it is: one line, without blanks around it, and nothing
/// that a terminal takes for a command or that changes the order of what is read.
pub(super) fn one_line(text: &str) -> Result<(), String> {
    let is_hidden = |letter: char| {
        letter.is_control()
            // Separators of lines, directions of writing, letters without a width.
            || matches!(letter, '\u{2028}' | '\u{2029}' | '\u{61c}' | '\u{200b}'..='\u{200f}'
                | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    if text.is_empty() || text.trim() != text {
        return Err(format!("{text:?} is empty, or begins or ends with a blank"));
    }
    match text.chars().find(|letter| is_hidden(*letter)) {
        None => Ok(()),
        Some(letter) => Err(format!(
            "{text:?} has U+{:04X} in it: one line of letters that are seen is expected",
            u32::from(letter)
        )),
    }
}

/// Parses an address with its port; never a name, which would need a resolver.
pub(super) fn socket_address(text: &str) -> Result<SocketAddr, String> {
    if text.contains('%') {
        return Err(format!("{text:?} has a zone, which is not supported"));
    }
    text.parse().map_err(|_| {
        let form = "an address with a port, as 10.0.0.7:8080 or [fd00::7]:8080";
        match text.rsplit_once(':') {
            Some((name, _))
                if name.bytes().any(|byte| byte.is_ascii_alphabetic()) && !name.contains(':') =>
            {
                format!("{text:?} has a name, and names are not looked up here: write {form}")
            }
            _ => format!("{text:?} is not {form}"),
        }
    })
}

/// Parses an address with its port, or a name with one.
pub(super) fn endpoint_address(text: &str) -> Result<EndpointAddress, String> {
    let named = text
        .rsplit_once(':')
        .filter(|(name, _)| !name.contains([':', '[', ']', '%']))
        .filter(|(name, _)| name.bytes().any(|byte| byte.is_ascii_alphabetic()));
    let Some((name, port)) = named else {
        if text.contains("://")
            || text.bytes().any(|byte| byte.is_ascii_alphabetic()) && !text.contains(':')
        {
            return Err(format!(
                "{text:?} is not an address or name with a port, as 10.0.0.7:8080 or shop.internal:8080"
            ));
        }
        return socket_address(text).map(EndpointAddress::Socket);
    };
    let HostPattern::Exact(host) = host_pattern(name)? else {
        return Err(format!("{name:?} is a pattern, not a name"));
    };
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|_| digits);
    let port = port.ok_or_else(|| format!("{text:?} has no port after the name"))?;
    Ok(EndpointAddress::Name { host, port })
}

/// Parses addresses and CIDR ranges. One entry may hold several, separated by
/// commas or blanks, because people fold long lists.
pub(super) fn networks(path: &str, entries: &[String], report: &mut Report<'_>) -> AddressSet {
    let mut set = AddressSet::default();
    for (index, entry) in entries.iter().enumerate() {
        let place = format!("{path}[{index}]");
        let mut parts = entry
            .split([',', ' ', '\n', '\t', '\r'])
            .filter(|part| !part.is_empty())
            .peekable();
        if parts.peek().is_none() {
            report.error_hint(
                &place,
                "an empty entry",
                "remove it; an empty list says what an empty entry does not",
            );
        }
        for part in parts {
            match parse_network(part) {
                Ok((network, masked)) => {
                    if masked {
                        report.warn(
                            &place,
                            format!("{part} has host bits set; {network} is meant"),
                        );
                    }
                    set.insert(network);
                }
                Err(reason) => report.error(&place, reason),
            }
        }
    }
    set
}

/// Parses a host name or `*.suffix`.
pub(super) fn host_pattern(text: &str) -> Result<HostPattern, String> {
    if text == "*" {
        return Err("`*` is not a host pattern; leave `hosts` out to match every host".into());
    }
    if text.contains('/') {
        return Err(format!("{text:?} is a URL; write the host alone"));
    }
    let (name, wildcard) = match text.strip_prefix("*.") {
        Some(suffix) => (suffix, true),
        None => (text, false),
    };
    if !text.is_ascii() {
        return Err(format!(
            "{text:?} is not in ASCII; write the A-label form, xn--..."
        ));
    }
    if name.contains('*') {
        return Err(format!(
            "{text:?} is not a host pattern; `*.` stands only at the beginning"
        ));
    }
    let (host, port) = crate::route::canonical_host(name)
        .map_err(|reason| format!("{text:?} is not a host name: {reason}"))?;
    if port.is_some() || name.contains(':') && !name.starts_with('[') {
        return Err(format!("{text:?} has a port; hosts are matched without it"));
    }
    let host = host.into_owned();
    Ok(if wildcard {
        HostPattern::Suffix(host)
    } else {
        HostPattern::Exact(host)
    })
}

/// Parses the hosts of an item; one that stands twice is told and taken once.
pub(super) fn hosts(path: &str, wanted: &[String], report: &mut Report<'_>) -> Vec<HostPattern> {
    let mut hosts: Vec<HostPattern> = Vec::new();
    for (index, host) in wanted.iter().enumerate() {
        let place = format!("{path}.hosts[{index}]");
        let Some(host) = report.ok(&place, host_pattern(host)) else {
            continue;
        };
        match hosts.contains(&host) {
            true => report.warn(place, "the host stands twice"),
            false => hosts.push(host),
        }
    }
    hosts
}

/// Judges the listeners that an item names.
pub(super) fn listeners(
    path: &str,
    wanted: &[String],
    document: &Document,
    report: &mut Report<'_>,
) {
    for (index, name) in wanted.iter().enumerate() {
        let mut known = document.listeners.iter().map(|known| known.name.as_str());
        if !known.clone().any(|known| known == name) {
            let place = format!("{path}.listeners[{index}]");
            report.unknown(&place, "listeners", "listener", name, &mut known);
        }
    }
}

/// Judges a path that a request is compared with, or rewritten to.
pub(super) fn path(text: &str) -> Result<String, String> {
    if text.contains(['?', '#']) {
        return Err(format!(
            "{text:?} has a query or fragment; a path is compared without them"
        ));
    }
    let canonical = canonical_path(text.as_bytes())
        .and_then(CanonicalPath::without_escaped_separator)
        .map_err(|problem| match text.starts_with('/') {
            true => format!("{text:?} is not a path: {problem}"),
            false => format!("{text:?} is not a path: it must start with /"),
        })?;
    if canonical.canonical() != text {
        return Err(format!(
            "{text:?} never matches; paths are compared in the form {:?}",
            canonical.canonical()
        ));
    }
    Ok(text.to_owned())
}

/// Reads a path with places for groups of a regular expression.
pub(super) fn path_template(text: &str) -> Result<PathTemplate, String> {
    let template = PathTemplate::parse(text)?;
    // A group may be anything that was in a path; a plain letter stands for it.
    path(&template.with("x")).map_err(|reason| match template.groups().next() {
        None => reason,
        Some(_) => format!("with x for each group: {reason}"),
    })?;
    Ok(template)
}

/// Drops the slash at the end of a prefix, so that `/` is the empty text.
pub(super) fn without_slash(prefix: &str) -> String {
    prefix.strip_suffix('/').unwrap_or(prefix).to_owned()
}

/// Parses a method.
pub(super) fn method(text: &str) -> Result<Method, String> {
    Method::from_bytes(text.as_bytes())
        .ok()
        .filter(|_| !text.bytes().any(|byte| byte.is_ascii_lowercase()))
        .ok_or_else(|| format!("{text:?} is not a method; methods are written in capitals"))
}

/// Compiles a regular expression that must match the whole text.
pub(super) fn whole_regex(pattern: &str) -> Result<regex::Regex, String> {
    let compile = |text: &str| {
        RegexBuilder::new(text)
            .size_limit(MAX_REGEX_BYTES)
            .build()
            .map_err(|error| {
                let text = error.to_string();
                // The library draws a picture; its last line says what is wrong.
                let reason = text.rsplit("error: ").next().unwrap_or(&text).trim();
                format!("{pattern:?} is not a regular expression: {reason}")
            })
    };
    // By itself first: in a group of ours, `a)|(b` would get out of its anchors.
    compile(pattern)?;
    compile(&format!("^(?:{pattern})$"))
}

/// Parses a header name.
pub(super) fn header_name(text: &str) -> Result<HeaderName, String> {
    HeaderName::from_bytes(text.as_bytes()).map_err(|_| format!("{text:?} is not a header name"))
}

/// Parses the name of a header that a rule may change: what frames a message or
/// belongs to one connection is not among them.
pub(super) fn changeable_header(text: &str) -> Result<HeaderName, String> {
    let name = header_name(text)?;
    let reserved = matches!(
        name.as_str(),
        "host"
            | "content-length"
            | "transfer-encoding"
            | "connection"
            | "keep-alive"
            | "te"
            | "trailer"
            | "upgrade"
            | "proxy-connection"
    );
    match (reserved, name.as_str()) {
        (true, "host") => Err("Host is changed with `rewrite.host`".into()),
        (true, _) => Err(format!(
            "{text} belongs to the connection and cannot be changed"
        )),
        _ => Ok(name),
    }
}

/// Judges the name of a cookie: a token (RFC 6265 section 4.1.1).
pub(super) fn cookie_name(text: &str) -> Result<(), String> {
    // Names of fields are tokens too, in any case.
    match HeaderName::from_bytes(text.as_bytes()) {
        Ok(_) => Ok(()),
        Err(_) => Err(format!(
            "{text:?} is not a cookie name: it has no blanks, quotes, `;`, `,` or `=`"
        )),
    }
}

/// Judges the value of a cookie: what it may hold according to RFC 6265 section 4.1.1.
pub(super) fn cookie_value(text: &str) -> Result<(), String> {
    let good = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b',' | b';' | b'\\');
    match text.bytes().all(good) {
        true => Ok(()),
        false => Err(format!(
            "{text:?} is not a cookie value: it has no blanks, `;`, `,` or `\\`"
        )),
    }
}

/// Parses the name of a header that tells a backend who a client is.
pub(super) fn identity_header(text: &str) -> Result<HeaderName, String> {
    let name = changeable_header(text)?;
    let told_by_gateway = matches!(
        name.as_str(),
        "cookie"
            | "expect"
            | "forwarded"
            | "proxy"
            | "set-cookie"
            | "x-forwarded-for"
            | "x-forwarded-host"
            | "x-forwarded-port"
            | "x-forwarded-proto"
            | "x-real-ip"
            | "x-request-id"
    );
    if told_by_gateway {
        return Err(format!("{text} cannot carry an identity"));
    }
    Ok(name)
}

/// Parses a header value.
pub(super) fn header_value(text: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_str(text).map_err(|_| format!("{text:?} is not a header value"))
}
