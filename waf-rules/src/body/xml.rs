//! XML -> the text of the root element, and the values of attributes.
//!
//! ```text
//! <a b="1">x<c>y</c></a>     XML:/* = xy     XML://@* = 1
//! ```
//!
//! Nothing is expanded and nothing is fetched: of entities only the five of XML
//! 1.0 and characters by number are known. Where a document declares more, or
//! uses what it did not declare, what a backend would read is not here, and that
//! is a problem. Comments, instructions and declarations of name spaces have no
//! value, as in XPath. The first problem of form ends the reading; what is left
//! is text then, as it is.

use std::borrow::Cow;

use quick_xml::{
    Reader, XmlVersion,
    escape::resolve_predefined_entity,
    events::{BytesRef, BytesStart, Event},
};

use super::{ParseOptions, Parsed};

/// What rules see of a document.
#[derive(Debug, Default)]
pub(crate) struct Xml {
    /// `XML:/*`, all text of the root element in one.
    pub(crate) text: Vec<u8>,
    /// `XML://@*`, one value for each attribute.
    pub(crate) attributes: Vec<Vec<u8>>,
}

impl Xml {
    /// Bytes that it takes.
    pub(crate) fn memory(&self) -> usize {
        let attributes = self.attributes.iter();
        let attributes = attributes.map(|value| value.capacity() + size_of::<Vec<u8>>());
        self.text.capacity() + attributes.sum::<usize>()
    }
}

/// Parses a body. An empty one is no document and no problem.
pub(super) fn parse(body: &[u8], options: &ParseOptions<'_>) -> Parsed {
    let mut parsed = Parsed::default();
    if body.trim_ascii().is_empty() {
        return parsed;
    }
    let text = decoded(body, options.truncated, &mut parsed);
    let mut document = Document {
        options,
        xml: Xml::default(),
        depth: 0,
        roots: 0,
    };
    let mut reader = Reader::from_str(&text);
    reader.config_mut().check_comments = true;
    loop {
        let event = match reader.read_event() {
            Ok(Event::Eof) => break,
            Ok(event) => event,
            Err(_) if options.truncated => {
                document.rest(&text, reader.error_position());
                break;
            }
            Err(error) => {
                parsed.fail(format!("{error} at byte {}", reader.error_position()));
                document.rest(&text, reader.error_position());
                break;
            }
        };
        if document.take(event, &mut parsed).is_err() {
            document.rest(&text, reader.buffer_position());
            break;
        }
    }
    if !options.truncated && parsed.problem.is_none() {
        match (document.roots, document.depth) {
            (1, 0) => {}
            (0, _) => parsed.fail("there is no element"),
            (_, 0) => parsed.fail("there is more than one root element"),
            _ => parsed.fail("an element is not closed"),
        }
    }
    parsed.xml = Some(document.xml);
    parsed
}

/// A limit is exceeded; reading ends.
struct Stop;

struct Document<'a> {
    options: &'a ParseOptions<'a>,
    xml: Xml,
    /// Elements that are open.
    depth: usize,
    roots: usize,
}

impl Document<'_> {
    fn take(&mut self, event: Event<'_>, parsed: &mut Parsed) -> Result<(), Stop> {
        match event {
            Event::Start(element) => {
                self.element(&element, parsed)?;
                self.depth += 1;
                if self.depth > self.options.limits.max_xml_depth {
                    parsed.fail("too deeply nested");
                    return Err(Stop);
                }
            }
            Event::Empty(element) => self.element(&element, parsed)?,
            Event::End(_) => self.depth = self.depth.saturating_sub(1),
            Event::Text(text) => self.text(&text.xml10_content(), parsed),
            Event::CData(text) => {
                if self.depth == 0 {
                    parsed.fail("text stands outside of the root element");
                }
                self.xml
                    .text
                    .extend_from_slice(text.xml10_content().as_bytes());
            }
            Event::GeneralRef(reference) => self.reference(&reference, parsed),
            Event::DocType(kind) if kind.contains('[') || names_a_file(&kind) => {
                parsed.fail("the document has declarations of its own, which are not followed");
            }
            Event::DocType(_) | Event::Comment(_) | Event::PI(_) | Event::Decl(_) | Event::Eof => {}
        }
        Ok(())
    }

    fn element(&mut self, element: &BytesStart<'_>, parsed: &mut Parsed) -> Result<(), Stop> {
        self.roots += usize::from(self.depth == 0);
        if !is_name(element.name().as_ref()) {
            parsed.fail("the name of an element is invalid");
        }
        let mut attributes = element.attributes();
        while let Some(attribute) = attributes.next() {
            let attribute = match attribute {
                Ok(attribute) => attribute,
                Err(error) => {
                    parsed.fail(format!("an attribute: {error}"));
                    // To look for a repeated name once more would cost the square of their number.
                    attributes.with_checks(false);
                    continue;
                }
            };
            let name: &str = attribute.key.as_ref();
            if !is_name(name) || attribute.value.contains('<') {
                parsed.fail("an attribute is malformed");
            }
            if name == "xmlns" || name.starts_with("xmlns:") {
                continue;
            }
            if self.xml.attributes.len() >= self.options.limits.max_xml_attributes {
                parsed.fail("there are too many attributes");
                return Err(Stop);
            }
            let value = match attribute.normalized_value(XmlVersion::Implicit1_0) {
                Ok(value) => value.as_bytes().to_vec(),
                Err(error) => {
                    parsed.fail(format!("an attribute: {error}"));
                    attribute.value.as_bytes().to_vec()
                }
            };
            self.xml.attributes.push(value);
        }
        Ok(())
    }

    fn text(&mut self, text: &str, parsed: &mut Parsed) {
        if self.depth > 0 {
            self.xml.text.extend_from_slice(text.as_bytes());
        } else if !text.trim().is_empty() {
            parsed.fail("text stands outside of the root element");
            self.xml.text.extend_from_slice(text.as_bytes());
        }
    }

    fn reference(&mut self, reference: &BytesRef<'_>, parsed: &mut Parsed) {
        let name: &str = reference;
        let known = match reference.resolve_char_ref() {
            Ok(Some(c)) => Some(Cow::Owned(c.to_string())),
            Ok(None) => resolve_predefined_entity(name).map(Cow::Borrowed),
            Err(_) => None,
        };
        let text = known.unwrap_or_else(|| {
            parsed.fail("an entity is not known");
            format!("&{name};").into()
        });
        self.text(&text, parsed);
    }

    /// What is left where reading ended is text.
    fn rest(&mut self, text: &str, from: u64) {
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        let rest = text.as_bytes().get(from..).unwrap_or_default();
        self.xml.text.extend_from_slice(rest);
    }
}

/// Keeps out what two parsers could split differently.
/// Whether a document type is declared in a file of the sender's choice, which some
/// backends would fetch. A public one is known by its name, as that of property lists.
fn names_a_file(kind: &str) -> bool {
    let second = kind.split_ascii_whitespace().nth(1);
    second.is_some_and(|word| {
        let head = word.as_bytes().get(..6);
        head.is_some_and(|head| head.eq_ignore_ascii_case(b"SYSTEM"))
    })
}

fn is_name(name: &str) -> bool {
    let is_letter = |c: char| c.is_alphabetic() || matches!(c, '_' | ':');
    name.starts_with(is_letter) && !name.contains(|c: char| c.is_ascii() && !is_ascii_name(c))
}

fn is_ascii_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '-' | '.')
}

/// Makes text of a body. UTF-8 and what agrees with ASCII can be read.
fn decoded<'a>(body: &'a [u8], truncated: bool, parsed: &mut Parsed) -> Cow<'a, str> {
    let encoding = declared_encoding(body)
        .unwrap_or(b"utf-8")
        .to_ascii_lowercase();
    let is_latin = [
        &b"iso-8859-1"[..],
        b"latin1",
        b"iso-8859-15",
        b"windows-1252",
    ]
    .contains(&encoding.as_slice());
    if !is_latin && ![&b"utf-8"[..], b"utf8", b"us-ascii", b"ascii"].contains(&encoding.as_slice())
    {
        parsed.fail("the encoding is not supported");
    }
    match std::str::from_utf8(body) {
        Ok(text) => Cow::Borrowed(text),
        // The cut may have met a character.
        Err(error) if truncated && error.error_len().is_none() => String::from_utf8_lossy(body),
        Err(_) if is_latin => Cow::Owned(body.iter().copied().map(char::from).collect()),
        Err(_) => {
            parsed.fail("the text is not UTF-8");
            String::from_utf8_lossy(body)
        }
    }
}

/// Finds the encoding in the declaration of a document.
fn declared_encoding(body: &[u8]) -> Option<&[u8]> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let head = body.strip_prefix(b"<?xml")?;
    let head = &head[..head.iter().position(|byte| *byte == b'>')?];
    let at = memchr::memmem::find(head, b"encoding")?;
    let value = head[at + 8..].trim_ascii_start().strip_prefix(b"=")?;
    let (quote, value) = value.trim_ascii_start().split_first()?;
    let end = value.iter().position(|byte| byte == quote)?;
    Some(&value[..end])
}
