//! What an HTTP server makes of the bytes of a request before rules see it.
//!
//! The tests are written for Apache httpd in its strict mode, and some of them
//! ask for nothing but its 400. So this is a small HTTP/1 front end with the
//! same habits: what is not HTTP is refused, repeated fields become one, a
//! `Content-Length` beside `Transfer-Encoding` is gone.

/// A request as rules see it.
#[derive(Debug, Default)]
pub(crate) struct Request {
    pub(crate) method: Vec<u8>,
    pub(crate) target: Vec<u8>,
    pub(crate) protocol: String,
    pub(crate) headers: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

/// What came of reading.
pub(crate) enum Heard {
    Request(Request),
    /// Answered with this status; no rule ran.
    Refused(u16),
}

/// Reads one request.
pub(crate) fn read(bytes: &[u8]) -> Heard {
    match parse(bytes) {
        Some(request) => Heard::Request(request),
        None => Heard::Refused(400),
    }
}

fn parse(bytes: &[u8]) -> Option<Request> {
    let (line, mut rest) = next_line(bytes)?;
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let (method, target, protocol) = match words.as_slice() {
        [method, target, protocol] => (*method, *target, *protocol),
        _ => return None,
    };
    let mut request = Request {
        method: method.to_vec(),
        target: target.to_vec(),
        protocol: "HTTP/0.9".to_owned(),
        ..Request::default()
    };
    if !is_token(method) || !is_target(method, target) {
        return None;
    }
    if protocol.is_empty() {
        // HTTP/0.9: there is nothing after the line.
        return Some(request);
    }
    request.protocol = version(protocol)?;
    loop {
        let (line, after) = next_line(rest)?;
        rest = after;
        if line.is_empty() {
            break;
        }
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if !is_token(name) || value.iter().any(|byte| *byte < b' ' && *byte != b'\t') {
            return None;
        }
        request.add(name, value);
    }
    request.check_host()?;
    request.read_body(rest)?;
    Some(request)
}

impl Request {
    /// Returns the value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&[u8]> {
        let is = |known: &[u8]| known.eq_ignore_ascii_case(name.as_bytes());
        let found = self.headers.iter().find(|(known, _)| is(known));
        found.map(|(_, value)| value.as_slice())
    }

    /// Adds a header, or adds to it.
    fn add(&mut self, name: &[u8], value: &[u8]) {
        let known = self
            .headers
            .iter_mut()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        match known {
            Some((_, before)) => {
                before.extend(b", ");
                before.extend(value);
            }
            None => self.headers.push((name.to_vec(), value.to_vec())),
        }
    }

    fn check_host(&self) -> Option<()> {
        let Some(host) = self.header("Host") else {
            return (self.protocol != "HTTP/1.1").then_some(());
        };
        if host.is_empty() {
            return (self.protocol != "HTTP/1.1").then_some(());
        }
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(byte);
        host.iter().all(plain).then_some(())
    }

    fn read_body(&mut self, rest: &[u8]) -> Option<()> {
        if self.header("Transfer-Encoding").is_some() {
            self.headers
                .retain(|(name, _)| !name.eq_ignore_ascii_case(b"Content-Length"));
            self.body = chunks(rest)?;
        } else if let Some(length) = self.header("Content-Length") {
            let digits = !length.is_empty() && length.iter().all(u8::is_ascii_digit);
            let length: usize =
                digits.then(|| std::str::from_utf8(length).ok()?.parse().ok())??;
            // A server would wait for the rest in vain.
            self.body = rest[..length.min(rest.len())].to_vec();
        }
        Some(())
    }
}

/// Splits after a line; returns it without its end.
fn next_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let line = &bytes[..end];
    Some((line.strip_suffix(b"\r").unwrap_or(line), &bytes[end + 1..]))
}

fn is_token(text: &[u8]) -> bool {
    let sign = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(sign)
}

/// RFC 9112, section 3.2; without a fragment, which is not sent.
fn is_target(method: &[u8], target: &[u8]) -> bool {
    let form = match target.first() {
        Some(b'/') => true,
        _ if method == b"CONNECT" => is_authority(target),
        _ => target == b"*" || target.windows(3).any(|window| window == b"://"),
    };
    form && !target.contains(&b'#') && !target.iter().any(|byte| *byte < b' ' || *byte == 0x7f)
}

fn is_authority(target: &[u8]) -> bool {
    let port = target
        .iter()
        .rposition(|byte| *byte == b':')
        .map(|at| &target[at + 1..]);
    port.is_some_and(|port| !port.is_empty() && port.iter().all(u8::is_ascii_digit))
}

/// `HTTP/1.1`, or `HTTP/2` where only one number is written.
fn version(text: &[u8]) -> Option<String> {
    let number = text.strip_prefix(b"HTTP/")?;
    let known = match number {
        [major] => (b'1'..=b'9').contains(major),
        [major, b'.', minor] => (b'1'..=b'9').contains(major) && minor.is_ascii_digit(),
        _ => false,
    };
    known.then(|| String::from_utf8_lossy(text).into_owned())
}

/// RFC 9112, section 7.1.
fn chunks(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let (line, after) = next_line(rest)?;
        let size = usize::from_str_radix(std::str::from_utf8(line).ok()?.trim(), 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.extend(after.get(..size)?);
        rest = after.get(size..)?.strip_prefix(b"\r\n")?;
    }
}
