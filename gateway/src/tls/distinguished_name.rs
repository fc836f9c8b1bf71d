//! Names in certificates as text (RFC 4514), with nothing in it that could end
//! a header or a log line.

use std::fmt::Write;

use x509_parser::{
    objects::{oid_registry, oid2abbrev},
    x509::{AttributeTypeAndValue, X509Name},
};

use super::read::hex;

/// Writes a name: the last part first, `CN=client,O=Example`.
pub(super) fn distinguished_name(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> = name
        .iter_rdn()
        .map(|part| {
            let attributes: Vec<String> = part.iter().map(attribute).collect();
            attributes.join("+")
        })
        .collect();
    parts.reverse();
    parts.join(",")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let kind = match oid2abbrev(attribute.attr_type(), oid_registry()) {
        Ok(short) => short.to_owned(),
        Err(_) => attribute.attr_type().to_id_string(),
    };
    match attribute.as_str() {
        Ok(value) => format!("{kind}={}", escaped(value)),
        Err(_) => format!("{kind}=#{}", hex(attribute.as_slice())),
    }
}

/// Escapes a value (RFC 4514 section 2.4); control characters and what is not
/// ASCII go as hex pairs.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let last = value.len().saturating_sub(1);
    for (at, byte) in value.bytes().enumerate() {
        let edge = (at == 0 && matches!(byte, b' ' | b'#')) || (at == last && byte == b' ');
        match byte {
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' => {
                text.push('\\');
                text.push(char::from(byte));
            }
            _ if edge => {
                text.push('\\');
                text.push(char::from(byte));
            }
            0x20..0x7f => text.push(char::from(byte)),
            _ => {
                // Writing into a String does not fail.
                let _ = write!(text, "\\{byte:02X}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_end_a_name_a_header_or_a_line() {
        for (value, text) in [
            ("client", "client"),
            ("a,O=Admins", "a\\,O=Admins"),
            ("a\r\nX: y", "a\\0D\\0AX: y"),
            (" a ", "\\ a\\ "),
            ("#a", "\\#a"),
            ("J\u{fc}rgen", "J\\C3\\BCrgen"),
            ("a\"b\\c", "a\\\"b\\\\c"),
            ("", ""),
        ] {
            assert_eq!(escaped(value), text, "{value:?}");
        }
    }
}
