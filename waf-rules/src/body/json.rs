//! JSON -> fields with dotted names: `{"a":[{"b":1}]}` is `json.a.0.b` = `1`.
//!
//! A scalar at the top is `json`. `null` and empty containers have an empty
//! value, so that every key shows in a name. So has an array that is the value of
//! a key, before its elements: rules look for the end of a key, and the names of
//! elements end with an index. Every value of a repeated key is
//! a field. The parser is strict (RFC 8259) save for a byte order mark, keeps a
//! stack of its own, and stops at the first problem.

use super::{ParseOptions, Parsed};

/// Parses a body. An empty one has no fields and no problem.
pub(super) fn parse(body: &[u8], options: &ParseOptions<'_>) -> Parsed {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let mut parsed = Parsed::default();
    let mut reader = Reader {
        body,
        at: 0,
        options,
        name: b"json".to_vec(),
        stack: Vec::new(),
        name_bytes: 0,
    };
    reader.skip_space();
    if reader.at == body.len() {
        return parsed;
    }
    match reader.document(&mut parsed) {
        Ok(()) => {}
        Err(Stop::End) if options.truncated => {}
        Err(Stop::End) => parsed.fail("the text ends too early"),
        Err(Stop::TooManyArguments) => {}
        Err(Stop::Problem(problem)) => parsed.fail(format!("{problem} at byte {}", reader.at)),
    }
    parsed
}

/// Why reading stops.
enum Stop {
    End,
    TooManyArguments,
    Problem(&'static str),
}

/// An open container.
struct Open {
    /// Length of the name of the container itself.
    name_length: usize,
    /// The index of the next element, for an array.
    index: Option<usize>,
    empty: bool,
    /// Whether the name of the container is a field already.
    named: bool,
}

struct Reader<'a> {
    body: &'a [u8],
    at: usize,
    options: &'a ParseOptions<'a>,
    /// The name of the value that is being read.
    name: Vec<u8>,
    stack: Vec<Open>,
    name_bytes: usize,
}

impl Reader<'_> {
    fn document(&mut self, parsed: &mut Parsed) -> Result<(), Stop> {
        loop {
            self.value(parsed)?;
            // Closes every container that ends here; leaves when there is none open.
            loop {
                self.skip_space();
                let Some(open) = self.stack.last_mut() else {
                    return match self.at == self.body.len() {
                        true => Ok(()),
                        false => Err(Stop::Problem("text follows the value")),
                    };
                };
                self.name.truncate(open.name_length);
                let closing = if open.index.is_some() { b']' } else { b'}' };
                let (first, unnamed) = (open.empty, !open.named);
                match self.body.get(self.at) {
                    None => return Err(Stop::End),
                    Some(byte) if *byte == closing => {
                        self.at += 1;
                        if first && unnamed {
                            self.emit(parsed, b"")?;
                        }
                        self.stack.pop();
                        continue;
                    }
                    Some(b',') if !first => {
                        self.at += 1;
                        self.skip_space();
                    }
                    Some(_) if first => {}
                    Some(_) => {
                        return Err(Stop::Problem(
                            "expected a comma or the end of the container",
                        ));
                    }
                }
                self.key()?;
                break;
            }
        }
    }

    /// Reads the key of the next member, or counts the next element.
    fn key(&mut self) -> Result<(), Stop> {
        let Some(open) = self.stack.last_mut() else {
            return Ok(());
        };
        open.empty = false;
        self.name.push(b'.');
        if let Some(index) = &mut open.index {
            self.name.extend_from_slice(index.to_string().as_bytes());
            *index += 1;
            return Ok(());
        }
        match self.body.get(self.at) {
            Some(b'"') => {}
            None => return Err(Stop::End),
            Some(_) => return Err(Stop::Problem("expected a key")),
        }
        let key = self.string()?;
        self.name.extend_from_slice(&key);
        self.skip_space();
        match self.body.get(self.at) {
            Some(b':') => self.at += 1,
            None => return Err(Stop::End),
            Some(_) => return Err(Stop::Problem("expected a colon")),
        }
        Ok(())
    }

    /// Reads a scalar, or opens a container.
    fn value(&mut self, parsed: &mut Parsed) -> Result<(), Stop> {
        self.skip_space();
        match self.body.get(self.at) {
            None => Err(Stop::End),
            Some(opening @ (b'{' | b'[')) => {
                if self.stack.len() >= self.options.limits.max_json_depth {
                    return Err(Stop::Problem("too deeply nested"));
                }
                self.at += 1;
                let index = (*opening == b'[').then_some(0);
                let has_key = self.stack.last().is_some_and(|open| open.index.is_none());
                let named = index.is_some() && has_key;
                self.stack.push(Open {
                    name_length: self.name.len(),
                    index,
                    empty: true,
                    named,
                });
                match named {
                    true => self.emit(parsed, b""),
                    false => Ok(()),
                }
            }
            Some(b'"') => {
                let value = match self.string() {
                    Ok(value) => value,
                    // The value that a limit cuts is still worth looking at.
                    Err(Stop::End) if self.options.truncated => {
                        let rest = self.body[self.at..].to_vec();
                        self.at = self.body.len();
                        rest
                    }
                    Err(stop) => return Err(stop),
                };
                self.emit(parsed, &value)
            }
            Some(_) => {
                let rest = &self.body[self.at..];
                let end = rest.iter().position(|byte| {
                    matches!(byte, b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r')
                });
                let token = &rest[..end.unwrap_or(rest.len())];
                match token {
                    b"null" => self.emit(parsed, b"")?,
                    b"true" | b"false" => self.emit(parsed, token)?,
                    _ if is_number(token) => self.emit(parsed, token)?,
                    _ if end.is_none() && self.options.truncated => return Err(Stop::End),
                    _ => return Err(Stop::Problem("expected a value")),
                }
                self.at += token.len();
                Ok(())
            }
        }
    }

    fn emit(&mut self, parsed: &mut Parsed, value: &[u8]) -> Result<(), Stop> {
        self.name_bytes += self.name.len();
        if self.name_bytes > self.options.limits.max_json_name_bytes {
            return Err(Stop::Problem("the names of nested keys are too long"));
        }
        match parsed.argument(&self.name, value, self.options.max_arguments) {
            true => Ok(()),
            false => Err(Stop::TooManyArguments),
        }
    }

    /// Reads a string that begins at its quote; leaves `at` unchanged on failure.
    fn string(&mut self) -> Result<Vec<u8>, Stop> {
        let mut output = Vec::new();
        let mut at = self.at + 1;
        loop {
            let rest = self.body.get(at..).unwrap_or_default();
            let plain = rest
                .iter()
                .position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f));
            let Some(plain) = plain else {
                return Err(Stop::End);
            };
            output.extend_from_slice(&rest[..plain]);
            at += plain;
            match rest[plain] {
                b'"' => {
                    self.at = at + 1;
                    return Ok(output);
                }
                b'\\' => at += escape(&rest[plain + 1..], &mut output)? + 1,
                _ => return Err(Stop::Problem("a control character in a string")),
            }
        }
    }

    fn skip_space(&mut self) {
        let rest = self.body.get(self.at..).unwrap_or_default();
        self.at += rest
            .iter()
            .take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'))
            .count();
    }
}

/// Decodes what follows a backslash; returns how many bytes it took.
fn escape(rest: &[u8], output: &mut Vec<u8>) -> Result<usize, Stop> {
    let simple = match rest.first() {
        None => return Err(Stop::End),
        Some(byte @ (b'"' | b'\\' | b'/')) => *byte,
        Some(b'b') => 0x08,
        Some(b'f') => 0x0c,
        Some(b'n') => b'\n',
        Some(b'r') => b'\r',
        Some(b't') => b'\t',
        Some(b'u') => return unicode(rest, output),
        Some(_) => return Err(Stop::Problem("an unknown escape")),
    };
    output.push(simple);
    Ok(1)
}

/// Decodes `uHHHH`, and the second half of a surrogate pair where one follows.
fn unicode(rest: &[u8], output: &mut Vec<u8>) -> Result<usize, Stop> {
    let high = unit(&rest[1..])?;
    let mut taken = 5;
    let mut code = high;
    if (0xd800..0xdc00).contains(&high)
        && rest.get(5..7) == Some(b"\\u")
        && let Ok(low @ 0xdc00..=0xdfff) = unit(&rest[7..])
    {
        code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
        taken = 11;
    }
    // Half of a pair is no character; it stays visible as the replacement.
    let c = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
    output.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    Ok(taken)
}

fn unit(rest: &[u8]) -> Result<u32, Stop> {
    let digits = rest.get(..4).ok_or(Stop::End)?;
    let text = std::str::from_utf8(digits).map_err(|_| Stop::Problem("an unknown escape"))?;
    if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Stop::Problem("an unknown escape"));
    }
    u32::from_str_radix(text, 16).map_err(|_| Stop::Problem("an unknown escape"))
}

/// Tells whether a token is a number of RFC 8259, section 6.
fn is_number(token: &[u8]) -> bool {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut rest = token.strip_prefix(b"-").unwrap_or(token);
    let whole = digits(rest);
    if whole == 0 || (whole > 1 && rest[0] == b'0') {
        return false;
    }
    rest = &rest[whole..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        let count = digits(fraction);
        if count == 0 {
            return false;
        }
        rest = &fraction[count..];
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let exponent = match exponent {
            [b'+' | b'-', digits @ ..] => digits,
            digits => digits,
        };
        let count = digits(exponent);
        return count > 0 && count == exponent.len();
    }
    rest.is_empty()
}
