//! What arrives of a request, and phases 1 and 2.

use super::Transaction;
use crate::{
    body::{self, ContentType, ParseOptions, Parsed, Processor, Undecodable},
    limits::{BodyOverLimit, UndecodableBody},
    transformations::url_decode,
    variables::Variable,
    verdict::{EngineMode, Verdict},
};

impl Transaction {
    /// Sets the request line.
    ///
    /// `uri` is the target as it was received, with its query; `protocol` is
    /// what rules see as `REQUEST_PROTOCOL`, such as `HTTP/1.1` or `HTTP/2.0`.
    pub fn request_line(&mut self, method: &[u8], uri: &[u8], protocol: &str) {
        self.forget(|_| true);
        self.secret_values.0 = None;
        let state = &mut self.state;
        state.method = method.to_vec();
        state.uri_raw = uri.to_vec();
        state.protocol = protocol.to_owned();
        state.request_line = [method, b" ", uri, b" ", protocol.as_bytes()].concat();
        let (authority, local) = split_target(uri);
        state.server_name = host(authority).to_vec();
        state.uri = local.to_vec();
        let (path, query) = split_query(local);
        state.path = percent_decoded(path);
        state.query = query.to_vec();
        state.args_get.clear();
        state.invalid_escape = body::has_invalid_escape(query);
        let separator = self.rules.settings().argument_separator.unwrap_or(b'&');
        if !body::arguments(
            query,
            separator,
            state.limits.max_arguments,
            &mut state.args_get,
        ) {
            self.refuse(400, "too many arguments");
        }
    }

    /// Sets the target that the backend gets, where it is another than was received.
    ///
    /// `REQUEST_URI`, `REQUEST_FILENAME` and `REQUEST_BASENAME` tell this one: a
    /// rule about a path must not be got around by another spelling of it.
    /// `REQUEST_URI_RAW` and `REQUEST_LINE` keep what was received.
    pub fn forwarded_target(&mut self, target: &[u8]) {
        self.forget(|_| true);
        self.state.uri = target.to_vec();
        self.state.path = percent_decoded(split_query(target).0);
    }

    /// Sets `SERVER_NAME`, where the caller knows better which host is asked than target and
    /// `Host` tell: a rule about a host must not be got around by another spelling of it.
    pub fn server_name(&mut self, host: &[u8]) {
        self.forget(|_| true);
        self.state.server_name = host.to_vec();
    }

    /// Adds a header field of the request. For HTTP/2 and later the caller
    /// gives `:authority` as `Host`.
    pub fn request_header(&mut self, name: &[u8], value: &[u8]) {
        if self.state.request_headers.len() >= self.state.limits.max_headers {
            return self.refuse(400, "too many request headers");
        }
        if name.eq_ignore_ascii_case(b"cookie") {
            self.cookies(value);
        }
        if name.eq_ignore_ascii_case(b"host") && self.state.server_name.is_empty() {
            self.state.server_name = host(value).to_vec();
        }
        self.state.request_headers.push(name, value);
        self.forget(|_| true);
    }

    /// Takes the cookies of a header apart. Values stay as they are: they are
    /// not decoded, and quotes are kept (ModSecurity's cookie format 0).
    fn cookies(&mut self, value: &[u8]) {
        for cookie in value
            .split(|byte| *byte == b';')
            .map(<[u8]>::trim_ascii)
            .filter(|cookie| !cookie.is_empty())
        {
            if self.state.cookies.len() >= self.state.limits.max_cookies {
                return self.refuse(400, "too many cookies");
            }
            let equals = cookie
                .iter()
                .position(|byte| *byte == b'=')
                .unwrap_or(cookie.len());
            let value = cookie.get(equals + 1..).unwrap_or_default();
            self.state
                .cookies
                .push(cookie[..equals].trim_ascii_end(), value.trim_ascii_start());
        }
    }

    /// Runs phase 1.
    pub fn request_headers_end(&mut self) -> Verdict {
        // Rules of phase 1 already ask how the body will be taken apart.
        if self.phase < 1 {
            self.state.processor = Processor::of(&self.content_type());
        }
        self.run(1)
    }

    /// Tells, after phase 1, whether the body should be given to
    /// [`Self::request_body`].
    pub fn wants_request_body(&self) -> bool {
        self.state.control.mode != EngineMode::Off
            && self.state.control.request_body_access
            && self.interruption.is_none()
    }

    /// Appends to the request body, up to the limit.
    ///
    /// What exceeds it is dropped here; with [`BodyOverLimit::Reject`] the
    /// verdict of phase 2 is then 413. [`Self::request_body_is_over_limit`]
    /// tells it at once, so that the rest need not be read.
    pub fn request_body(&mut self, bytes: &[u8]) {
        if !self.wants_request_body() {
            return;
        }
        self.forget(Variable::is_of_request_body);
        self.state.request_body_length = self.state.request_body_length.saturating_add(bytes.len());
        if self.skips_request_body() {
            return;
        }
        let room = self
            .state
            .limits
            .max_request_body_bytes
            .saturating_sub(self.state.request_body.len());
        self.state
            .request_body
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
        if bytes.len() > room {
            self.request_over_limit("the request body is too long");
        }
    }

    /// Tells whether more of the body came than is held.
    pub fn request_body_is_over_limit(&self) -> bool {
        self.state.request_body_truncated
    }

    /// Parses the body and runs phase 2. To be called without a body as well.
    pub fn request_body_end(&mut self) -> Verdict {
        if self.wants_request_body() && self.phase < 2 {
            self.parse_body();
        }
        self.run(2)
    }

    fn request_over_limit(&mut self, reason: &'static str) {
        self.state.request_body_truncated = true;
        match self.state.limits.request_over_limit {
            BodyOverLimit::Reject => self.refuse(413, reason),
            BodyOverLimit::InspectPrefix => {}
            BodyOverLimit::Skip => self.state.request_body.clear(),
        }
    }

    /// Tells whether a body was too long to be looked at.
    fn skips_request_body(&self) -> bool {
        self.state.request_body_truncated
            && self.state.limits.request_over_limit == BodyOverLimit::Skip
    }

    /// Undoes content codings; the bytes for the backend are elsewhere.
    fn decode_body(&mut self) {
        let state = &mut self.state;
        if state.request_body.is_empty() {
            return;
        }
        let headers = state.request_headers.iter();
        let values = headers
            .filter(|header| header.name.eq_ignore_ascii_case(b"content-encoding"))
            .map(|header| header.value.as_slice());
        let is_cut = state.request_body_truncated;
        let decoded = match body::codings(values) {
            Ok(codings) if codings.is_empty() => return,
            Ok(codings) => body::decode(&state.request_body, &codings, is_cut, &state.limits),
            Err(undecodable) => Err(undecodable),
        };
        match decoded {
            Ok(decoded) => {
                state.request_body = decoded.bytes;
                if decoded.is_cut && !is_cut {
                    self.request_over_limit("the decoded request body is too long");
                }
            }
            Err(undecodable) => self.undecodable(undecodable),
        }
    }

    fn undecodable(&mut self, undecodable: Undecodable) {
        let (status, reason) = match undecodable {
            Undecodable::Unknown => (415, "the content coding of the request body is not known"),
            Undecodable::Broken => (400, "the request body is not in its content coding"),
        };
        self.state.body_error = Some(reason.to_owned());
        self.body_is_coded = true;
        if self.state.limits.request_undecodable == UndecodableBody::Reject {
            self.refuse(status, reason);
        }
    }

    /// Takes the body apart, or makes it visible as a whole.
    fn parse_body(&mut self) {
        self.forget(Variable::is_of_request_body);
        self.decode_body();
        let content_type = self.content_type();
        let processor = self
            .state
            .control
            .processor
            .or_else(|| Processor::of(&content_type));
        let max_text = self.state.limits.max_request_text_bytes;
        if processor != Some(Processor::Multipart) && self.state.request_body.len() > max_text {
            self.request_over_limit("the text of the request body is too long");
            self.state.request_body.truncate(max_text);
        }
        self.state.processor = processor;
        if self.skips_request_body() {
            return;
        }
        // A body that no parser takes apart is looked at as a whole. So is what
        // a cut has left, since its parser may stop early, what could not be
        // decoded, and a form. Where no rule asked for XML, none may look at what
        // is taken out of it.
        self.state.request_body_visible = self.state.control.force_request_body
            || self.state.request_body_truncated
            || self.state.body_error.is_some()
            || match processor {
                Some(Processor::Json | Processor::Multipart) => false,
                Some(Processor::Xml) => self.state.control.processor.is_none(),
                Some(Processor::UrlEncoded) | None => true,
            };
        let Some(processor) = self.state.processor else {
            return;
        };
        let options = ParseOptions {
            limits: &self.state.limits,
            max_arguments: self
                .state
                .limits
                .max_arguments
                .saturating_sub(self.state.args_get.len()),
            separator: self.rules.settings().argument_separator.unwrap_or(b'&'),
            truncated: self.state.request_body_truncated,
        };
        let parsed = processor.parse(&self.state.request_body, &content_type, &options);
        self.take(parsed);
        if self.state.args_post.len() > 0 {
            self.forget(Variable::is_of_arguments);
        }
    }

    /// Reads the first `Content-Type`; the baseline refuses a second one.
    fn content_type(&self) -> ContentType {
        let header = self.state.request_headers.first(b"content-type");
        header
            .map(|value| ContentType::parse(value))
            .unwrap_or_default()
    }

    fn take(&mut self, parsed: Parsed) {
        if parsed.too_many_arguments {
            self.refuse(400, "too many arguments");
        }
        if parsed
            .text_bytes
            .is_some_and(|bytes| bytes > self.state.limits.max_request_text_bytes)
        {
            self.request_over_limit("the text of the request body is too long");
            if self.skips_request_body() {
                return;
            }
        }
        let state = &mut self.state;
        state.multipart = parsed.multipart;
        state.xml = parsed.xml;
        state.invalid_escape |= parsed.invalid_escape;
        state.args_post = parsed.arguments;
        state.files = parsed.files;
        state.files_sizes = parsed.files_sizes;
        state.files_bytes = parsed.files_bytes;
        state.part_names = parsed.part_names;
        state.part_headers = parsed.part_headers;
        // What could not be decoded is no other's fault.
        state.body_error = state.body_error.take().or(parsed.problem);
    }
}

/// Decodes `%HH`; a plus is a plus in a path.
///
/// `REQUEST_FILENAME` is decoded in ModSecurity v3, and CRS relies on it.
fn percent_decoded(path: &[u8]) -> Vec<u8> {
    let mut pieces = path.split(|byte| *byte == b'+');
    let decoded = |piece: &[u8]| url_decode(piece).unwrap_or_else(|| piece.to_vec());
    let mut output = pieces.next().map(decoded).unwrap_or_default();
    for piece in pieces {
        output.push(b'+');
        output.extend(decoded(piece));
    }
    output
}

fn split_query(target: &[u8]) -> (&[u8], &[u8]) {
    match target.iter().position(|byte| *byte == b'?') {
        Some(at) => (&target[..at], &target[at + 1..]),
        None => (target, &[]),
    }
}

/// Splits a target into its authority, for the absolute form, and the rest.
fn split_target(target: &[u8]) -> (&[u8], &[u8]) {
    let empty = &target[..0];
    if matches!(target.first(), None | Some(b'/' | b'*')) {
        return (empty, target);
    }
    let Some(scheme) = target.windows(3).position(|window| window == b"://") else {
        return (empty, target);
    };
    if target[..scheme].contains(&b'?') {
        return (empty, target);
    }
    let rest = &target[scheme + 3..];
    let end = rest
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?' | b'#'))
        .unwrap_or(rest.len());
    match &rest[end..] {
        [] => (&rest[..end], b"/"),
        local => (&rest[..end], local),
    }
}

/// Removes user information and port from an authority.
fn host(authority: &[u8]) -> &[u8] {
    let start = authority
        .iter()
        .rposition(|byte| *byte == b'@')
        .map_or(0, |at| at + 1);
    let authority = &authority[start..];
    let after_bracket = authority
        .iter()
        .rposition(|byte| *byte == b']')
        .unwrap_or(0);
    let colon = authority[after_bracket..]
        .iter()
        .position(|byte| *byte == b':');
    colon.map_or(authority, |colon| &authority[..after_bracket + colon])
}
