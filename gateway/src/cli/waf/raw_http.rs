//! A message of HTTP/1 as a person has it in a file: pasted, edited, with the line ends of
//! an editor.

use std::{io::Read, path::Path};

use anyhow::{Context, bail};

/// Largest message that is read.
const MAX_BYTES: u64 = 64 << 20;

/// A message, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RawMessage {
    /// The request line or the status line.
    pub(super) first_line: String,
    /// Fields in their order. Values are bytes, since nothing else is certain of them.
    pub(super) headers: Vec<(String, Vec<u8>)>,
    /// What follows the empty line.
    pub(super) body: Vec<u8>,
    /// What was taken otherwise than it stands there.
    pub(super) notes: Vec<String>,
}

/// Reads a file, or standard input for `-`.
pub(super) fn read_file(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut content = Vec::new();
    let read = match path == Path::new("-") {
        true => std::io::stdin()
            .lock()
            .take(MAX_BYTES + 1)
            .read_to_end(&mut content),
        false => std::fs::File::open(path)
            .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut content)),
    };
    read.with_context(|| format!("{} cannot be read", path.display()))?;
    if content.len() as u64 > MAX_BYTES {
        bail!("{}: more than {} MiB", path.display(), MAX_BYTES >> 20);
    }
    Ok(content)
}

/// Takes a message apart. Lines of its head may end in LF; its body stays as it is.
pub(super) fn parse(content: &[u8]) -> anyhow::Result<RawMessage> {
    if content.trim_ascii().is_empty() {
        bail!("the file is empty");
    }
    let mut notes = Vec::new();
    let mut lines = Vec::new();
    let mut rest = content;
    let mut bare = false;
    loop {
        let end = rest.iter().position(|byte| *byte == b'\n');
        let (line, after) = match end {
            Some(end) => (&rest[..end], &rest[end + 1..]),
            None => (rest, &rest[rest.len()..]),
        };
        bare |= end.is_some() && !line.ends_with(b"\r");
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        rest = after;
        if line.is_empty() && lines.is_empty() && !rest.is_empty() {
            continue;
        }
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    if bare {
        notes
            .push("lines of the head end in LF, and are taken as if they ended in CRLF".to_owned());
    }
    let first = lines.first().copied().unwrap_or_default();
    if let Some(at) = first
        .iter()
        .position(|byte| byte.is_ascii_control() || *byte >= 0x80)
    {
        bail!(
            "this is no text of HTTP: byte {at} of the first line is 0x{:02x}; the file must have the message itself, not a capture or an archive of it",
            first[at]
        );
    }
    let mut headers: Vec<(String, Vec<u8>)> = Vec::new();
    for (number, line) in lines.iter().enumerate().skip(1) {
        let number = number + 1;
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            bail!(
                "line {number} goes on with the header before it, which HTTP does not allow any more; join the two"
            );
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            let text = String::from_utf8_lossy(&line[..line.len().min(60)]);
            bail!(
                "line {number} is no header, since it has no colon: {text:?}; an empty line ends the headers"
            );
        };
        let name = String::from_utf8_lossy(&line[..colon]).into_owned();
        if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
            bail!("line {number}: {name:?} is no name of a header");
        }
        headers.push((name, line[colon + 1..].trim_ascii().to_vec()));
    }
    Ok(RawMessage {
        first_line: String::from_utf8_lossy(first).into_owned(),
        headers,
        body: rest.to_vec(),
        notes,
    })
}

impl RawMessage {
    /// The first value of a header.
    pub(super) fn header(&self, name: &str) -> Option<&[u8]> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_slice())
    }

    /// Makes body and `Content-Length` agree. An editor ends a file with a line feed that
    /// was never part of the body.
    pub(super) fn settle_length(&mut self) -> anyhow::Result<()> {
        if self.header("transfer-encoding").is_some() {
            self.notes
                .push("the body is taken as it is written, not as chunks".to_owned());
            return Ok(());
        }
        let Some(said) = self.header("content-length") else {
            let body = self.body.strip_suffix(b"\n").unwrap_or(&self.body);
            let body = body.strip_suffix(b"\r").unwrap_or(body);
            self.body.truncate(body.len());
            if !self.body.is_empty() {
                let length = self.body.len();
                self.notes
                    .push(format!("Content-Length: {length} was added"));
                self.headers
                    .push(("Content-Length".to_owned(), length.to_string().into_bytes()));
            }
            return Ok(());
        };
        let said = String::from_utf8_lossy(said).into_owned();
        let Ok(length) = said.trim().parse::<usize>() else {
            bail!("Content-Length: {said:?} is not a number");
        };
        let has = self.body.len();
        if length < has {
            let more = &self.body[length..];
            if !more.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
                bail!(
                    "Content-Length says {length}, and the body has {has} bytes; mend the header or take it out"
                );
            }
            self.body.truncate(length);
        } else if length > has {
            bail!(
                "Content-Length says {length}, and the body has only {has} bytes; mend the header or take it out"
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(content: &[u8]) -> String {
        let parsed = parse(content).and_then(|mut message| message.settle_length());
        parsed.expect_err("no message").to_string()
    }

    #[test]
    fn a_pasted_message_is_taken_apart() {
        let mut message =
            parse(b"\nPOST /a HTTP/1.1\nHost: h\nX: a:b \n\nq=1\n").expect("a message");
        message.settle_length().expect("a length");
        assert_eq!(message.first_line, "POST /a HTTP/1.1");
        assert_eq!(message.header("x"), Some(&b"a:b"[..]));
        assert_eq!(message.body, b"q=1");
        assert_eq!(message.header("content-length"), Some(&b"3"[..]));
        assert_eq!(message.notes.len(), 2);
        let exact = parse(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").expect("a message");
        assert_eq!((exact.notes.len(), exact.body.len()), (0, 0));
        let cut = parse(b"GET / HTTP/1.1\r\nHost: h").expect("a message");
        assert_eq!(cut.headers.len(), 1);
    }

    #[test]
    fn what_is_no_message_is_named() {
        for (content, expected) in [
            (&b" \n"[..], "the file is empty"),
            (b"\x7fELF\x02\x01", "no text of HTTP: byte 0"),
            (b"GET / HTTP/1.1\nnonsense\n\n", "line 2 is no header"),
            (b"GET / HTTP/1.1\nA: b\n c\n\n", "line 3 goes on"),
            (b"GET / HTTP/1.1\nA b: c\n\n", "is no name of a header"),
            (
                b"GET / HTTP/1.1\nContent-Length: 9\n\nabc",
                "has only 3 bytes",
            ),
            (b"GET / HTTP/1.1\nContent-Length: 1\n\nabc", "has 3 bytes"),
            (
                b"GET / HTTP/1.1\nContent-Length: x\n\nabc",
                "is not a number",
            ),
        ] {
            let told = refusal(content);
            assert!(told.contains(expected), "{told}");
        }
    }
}
