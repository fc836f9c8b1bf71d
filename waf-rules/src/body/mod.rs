//! Bodies of requests, taken apart into fields.
//!
//! ```text
//! Content-Type --Processor::of--> Processor --parse--> Parsed { arguments, files, problem }
//! ```
//!
//! A parser gives what it found before it failed, so that rules still see it,
//! and says what went wrong; a rule on `REQBODY_ERROR` decides. No parser
//! recurses, and each is bounded by [`Limits`].

mod coding;
mod content_type;
mod json;
mod multipart;
mod urlencoded;
mod xml;

pub(crate) use coding::{Undecodable, codings, decode};
pub(crate) use content_type::ContentType;
pub(crate) use multipart::MultipartFlags;
pub(crate) use urlencoded::{arguments, has_invalid_escape};
pub(crate) use xml::Xml;

use crate::{error::Complaint, limits::Limits, transaction::Fields};

/// A parser of bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Processor {
    UrlEncoded,
    Json,
    Multipart,
    Xml,
}

impl Processor {
    /// Returns the SecLang name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::UrlEncoded => "URLENCODED",
            Self::Json => "JSON",
            Self::Multipart => "MULTIPART",
            Self::Xml => "XML",
        }
    }

    /// Finds a processor by its SecLang name.
    pub(crate) fn find(name: &str) -> Result<Self, Complaint> {
        let all = [Self::UrlEncoded, Self::Json, Self::Multipart, Self::Xml];
        match all
            .iter()
            .find(|processor| processor.name().eq_ignore_ascii_case(name))
        {
            Some(found) => Ok(*found),
            None => Err(Complaint::unknown(
                "body processor",
                name,
                all.map(Self::name),
            )),
        }
    }

    /// Chooses the processor of a content type.
    ///
    /// JSON and XML are chosen here, not by a rule as in the recommended configuration of
    /// ModSecurity, so that a rule set without that rule is not blind to them.
    /// Whatever begins like a form is one, as in ModSecurity: a backend may
    /// not care for what follows.
    pub(crate) fn of(content_type: &ContentType) -> Option<Self> {
        match content_type.essence.as_slice() {
            form if form.starts_with(b"application/x-www-form-urlencoded") => {
                Some(Self::UrlEncoded)
            }
            form if form.starts_with(b"multipart/form-data") => Some(Self::Multipart),
            b"application/json" | b"text/json" | b"application/x-json" => Some(Self::Json),
            other if other.starts_with(b"application/") && other.ends_with(b"+json") => {
                Some(Self::Json)
            }
            b"application/xml" | b"text/xml" => Some(Self::Xml),
            // Drawings declare entities of their own; as a type of images they stay whole.
            other if other.starts_with(b"application/") && other.ends_with(b"+xml") => {
                Some(Self::Xml)
            }
            _ => None,
        }
    }

    /// Takes a body apart.
    ///
    /// `truncated` tells that the body goes on beyond what is given; its end is
    /// then no problem.
    pub(crate) fn parse(
        self,
        body: &[u8],
        content_type: &ContentType,
        options: &ParseOptions<'_>,
    ) -> Parsed {
        let mut parsed = match self {
            Self::UrlEncoded => urlencoded::parse(body, options),
            Self::Json => json::parse(body, options),
            Self::Multipart => multipart::parse(body, content_type, options),
            Self::Xml => xml::parse(body, options),
        };
        if let Some(problem) = &mut parsed.problem {
            problem.insert_str(0, self.prefix());
        }
        parsed
    }

    /// What `REQBODY_ERROR_MSG` begins with, as in ModSecurity.
    fn prefix(self) -> &'static str {
        match self {
            Self::UrlEncoded => "URLENCODED parsing error: ",
            Self::Json => "JSON parsing error: ",
            Self::Multipart => "Multipart parsing error: ",
            Self::Xml => "XML parsing error: ",
        }
    }
}

/// How to take a body apart.
#[derive(Debug)]
pub(crate) struct ParseOptions<'a> {
    pub(crate) limits: &'a Limits,
    /// What is left of [`Limits::max_arguments`].
    pub(crate) max_arguments: usize,
    /// Separator of form fields, usually `&`.
    pub(crate) separator: u8,
    pub(crate) truncated: bool,
}

/// What a body consists of.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    pub(crate) arguments: Fields,
    /// Field names with file names.
    pub(crate) files: Fields,
    /// Bytes of each of `files`.
    pub(crate) files_sizes: Vec<usize>,
    /// Bytes of all files; one with two names counts once.
    pub(crate) files_bytes: usize,
    pub(crate) part_names: Vec<Vec<u8>>,
    /// Field names with header lines.
    pub(crate) part_headers: Fields,
    pub(crate) multipart: MultipartFlags,
    pub(crate) xml: Option<Xml>,
    /// A `%` without two hexadecimal digits in a form.
    pub(crate) invalid_escape: bool,
    /// Bytes that are not file content, where they differ from the whole.
    pub(crate) text_bytes: Option<usize>,
    pub(crate) too_many_arguments: bool,
    pub(crate) problem: Option<String>,
}

impl Parsed {
    /// Keeps the first problem.
    fn fail(&mut self, problem: impl Into<String>) {
        self.problem.get_or_insert_with(|| problem.into());
    }

    /// Adds an argument; returns `false` when there are too many.
    fn argument(&mut self, name: &[u8], value: &[u8], most: usize) -> bool {
        if self.arguments.len() >= most {
            self.too_many_arguments = true;
            return false;
        }
        self.arguments.push(name, value);
        true
    }
}

#[cfg(test)]
mod linear;
#[cfg(test)]
mod tests;
