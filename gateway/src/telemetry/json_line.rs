//! One JSON object on one line, written as it is told.
//!
//! A log line is written for each request. A serializer that can write anything
//! brings more code to that than a request's own work is; this one knows text,
//! numbers and addresses.

use std::{
    fmt::Write,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

/// A JSON object that grows field by field.
///
/// Keys are the program's own: they are not escaped.
#[derive(Debug)]
pub(super) struct JsonLine(String);

impl JsonLine {
    /// Begins an object, with room for this many bytes.
    pub(super) fn with_capacity(bytes: usize) -> Self {
        let mut line = String::with_capacity(bytes);
        line.push('{');
        Self(line)
    }

    /// Adds a text.
    pub(super) fn text(&mut self, key: &str, text: &str) -> &mut Self {
        self.key(key);
        self.quoted(text);
        self
    }

    /// Adds a text where there is one.
    pub(super) fn text_or_none(&mut self, key: &str, text: Option<&str>) -> &mut Self {
        if let Some(text) = text {
            self.text(key, text);
        }
        self
    }

    /// Adds a number.
    pub(super) fn boolean(&mut self, key: &str, value: bool) -> &mut Self {
        self.key(key);
        self.0.push_str(if value { "true" } else { "false" });
        self
    }

    pub(super) fn number(&mut self, key: &str, number: u64) -> &mut Self {
        self.key(key);
        self.digits(number);
        self
    }

    /// Adds a time in milliseconds, with three digits behind the point where they say something.
    pub(super) fn millis(&mut self, key: &str, time: Duration) -> &mut Self {
        self.key(key);
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.digits(micros / 1000);
        let rest = micros % 1000;
        if rest > 0 {
            self.0.push('.');
            let digits = [rest / 100, rest / 10 % 10, rest % 10];
            let last = digits.iter().rposition(|&digit| digit > 0).unwrap_or(0);
            for &digit in &digits[..=last] {
                self.digits(digit);
            }
        }
        self
    }

    /// Adds an address.
    pub(super) fn address(&mut self, key: &str, address: IpAddr) -> &mut Self {
        self.key(key);
        self.0.push('"');
        self.ip(address);
        self.0.push('"');
        self
    }

    /// Adds an address and port.
    pub(super) fn socket(&mut self, key: &str, address: SocketAddr) -> &mut Self {
        self.key(key);
        self.0.push('"');
        match address {
            SocketAddr::V4(address) => self.ip(IpAddr::V4(*address.ip())),
            SocketAddr::V6(address) => {
                self.0.push('[');
                self.ip(IpAddr::V6(*address.ip()));
                self.0.push(']');
            }
        }
        self.0.push(':');
        self.digits(address.port().into());
        self.0.push('"');
        self
    }

    /// Adds an object.
    pub(super) fn object(&mut self, key: &str, fill: impl FnOnce(&mut Self)) -> &mut Self {
        self.key(key);
        self.0.push('{');
        fill(self);
        self.0.push('}');
        self
    }

    /// Ends the object and returns its text.
    pub(super) fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }

    fn key(&mut self, key: &str) {
        if !self.0.ends_with('{') {
            self.0.push(',');
        }
        self.0.push('"');
        self.0.push_str(key);
        self.0.push_str("\":");
    }

    fn quoted(&mut self, text: &str) {
        let plain = |byte: u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
        self.0.push('"');
        if text.bytes().all(plain) {
            self.0.push_str(text);
        } else {
            self.escaped(text);
        }
        self.0.push('"');
    }

    /// RFC 8259 section 7.
    #[cold]
    fn escaped(&mut self, text: &str) {
        for letter in text.chars() {
            match letter {
                '"' => self.0.push_str("\\\""),
                '\\' => self.0.push_str("\\\\"),
                '\n' => self.0.push_str("\\n"),
                '\r' => self.0.push_str("\\r"),
                '\t' => self.0.push_str("\\t"),
                '\0'..'\x20' => {
                    // Writing to a String does not fail.
                    let _ = write!(self.0, "\\u{:04x}", u32::from(letter));
                }
                letter => self.0.push(letter),
            }
        }
    }

    fn ip(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => {
                for (index, part) in address.octets().into_iter().enumerate() {
                    if index > 0 {
                        self.0.push('.');
                    }
                    self.digits(part.into());
                }
            }
            IpAddr::V6(address) => {
                // Writing to a String does not fail.
                let _ = write!(self.0, "{address}");
            }
        }
    }

    fn digits(&mut self, number: u64) {
        self.0.push_str(itoa::Buffer::new().format(number));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_line_is_the_object_that_was_told() {
        let mut line = JsonLine::with_capacity(0);
        line.text("a", "plain")
            .text("b", "\"quoted\" \\ \u{1} \n\r\t\u{7f} é 漢 \u{2028}")
            .text_or_none("c", None)
            .text_or_none("d", Some(""))
            .number("e", u64::MAX)
            .address("f", "192.0.2.7".parse().unwrap())
            .address("g", "2001:db8::1".parse().unwrap())
            .socket("h", "192.0.2.7:80".parse().unwrap())
            .socket("i", "[2001:db8::1]:65535".parse().unwrap())
            .object("j", |line| {
                line.text("k", "v").number("l", 0);
            })
            .object("m", |_| {});
        let line = line.end();
        assert!(!line.contains('\n'), "{line}");
        let read: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            read,
            json!({
                "a": "plain",
                "b": "\"quoted\" \\ \u{1} \n\r\t\u{7f} é 漢 \u{2028}",
                "d": "",
                "e": u64::MAX,
                "f": "192.0.2.7",
                "g": "2001:db8::1",
                "h": "192.0.2.7:80",
                "i": "[2001:db8::1]:65535",
                "j": {"k": "v", "l": 0},
                "m": {},
            })
        );
    }

    #[test]
    fn times_have_as_many_digits_as_they_need() {
        for (micros, text) in [
            (0, "0"),
            (7, "0.007"),
            (70, "0.07"),
            (700, "0.7"),
            (1000, "1"),
            (1546, "1.546"),
            (60_000_001, "60000.001"),
        ] {
            let mut line = JsonLine::with_capacity(0);
            line.millis("t", Duration::from_micros(micros));
            assert_eq!(line.end(), format!("{{\"t\":{text}}}"));
        }
    }

    #[test]
    fn every_letter_reads_back() {
        let text: String = ('\0'..'\u{3000}').collect();
        let mut line = JsonLine::with_capacity(0);
        line.text("t", &text);
        let read: Value = serde_json::from_str(&line.end()).unwrap();
        assert_eq!(read["t"], text);
    }
}
