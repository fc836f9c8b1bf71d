//! The lines that separate parts.

use memchr::{memchr, memmem::Finder};

use crate::body::Parsed;

/// A line that separates parts.
pub(super) struct Delimiter {
    /// Where the content before it ends.
    pub(super) content_end: usize,
    /// Where the line after it begins.
    pub(super) end: usize,
    pub(super) closing: bool,
}

/// Finds delimiters, one after the other, in time linear in the body.
pub(super) struct Delimiters<'a> {
    body: &'a [u8],
    /// Finds `--boundary`.
    finder: Finder<'a>,
    at: usize,
}

impl<'a> Delimiters<'a> {
    /// `marker` is `--boundary`.
    pub(super) fn new(body: &'a [u8], marker: &'a [u8]) -> Self {
        Self {
            body,
            finder: Finder::new(marker),
            at: 0,
        }
    }

    /// Finds the next delimiter. A line that begins with two dashes and anything
    /// but the declared boundary is content: keys, signatures and lists have such.
    pub(super) fn next(&mut self, parsed: &mut Parsed) -> Option<Delimiter> {
        let marker_length = self.finder.needle().len();
        loop {
            let rest = self.body.get(self.at..)?;
            let start = self.at + self.finder.find(rest)?;
            let after = start + marker_length;
            let feed = memchr(b'\n', &self.body[after..]);
            let line_end = feed.map_or(self.body.len(), |at| after + at);
            self.at = line_end + 1;
            let before = &self.body[..start];
            if !matches!(before, [] | [.., b'\n']) {
                parsed.multipart.unmatched_boundary = true;
                continue;
            }
            let line = &self.body[after..line_end];
            let (closing, tail) = match line.strip_prefix(b"--") {
                Some(tail) => (true, tail),
                None => (false, line),
            };
            match (tail, feed.is_some()) {
                (b"\r", true) => parsed.multipart.crlf_line = true,
                (b"", true) => parsed.multipart.lf_line = true,
                (b"" | b"\r", false) => {}
                _ if tail.trim_ascii().is_empty() => {
                    parsed.fail("white space follows a boundary");
                }
                _ => {
                    parsed.multipart.unmatched_boundary = true;
                    continue;
                }
            }
            let content_end = match before {
                [.., b'\r', b'\n'] => start - 2,
                [.., b'\n'] => {
                    parsed.multipart.lf_line = true;
                    start - 1
                }
                _ => start,
            };
            return Some(Delimiter {
                content_end,
                end: self.at.min(self.body.len()),
                closing,
            });
        }
    }
}
