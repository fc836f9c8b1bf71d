//! Reads the values of a variable.

use std::borrow::Cow;

use super::{Selector, TargetPattern, Variable, XML_ATTRIBUTES, XML_TEXT, clock::Moment};
use crate::{
    collections::Collection,
    transaction::{Field, Fields, State},
    transformations::Transformation,
};

/// Receives the values of a variable: the name, for a collection, and the value.
type Visitor<'v, 'a> = &'v mut dyn FnMut(Option<&'a [u8]>, Cow<'a, [u8]>);

/// Another variable that has the same values, in the same order, in this request.
pub(crate) fn same_values(state: &State, variable: Variable) -> Option<Variable> {
    let is_of_query = state.args_post.len() == 0;
    match variable {
        Variable::Args if is_of_query => Some(Variable::ArgsGet),
        Variable::ArgsGet if is_of_query => Some(Variable::Args),
        Variable::ArgsNames if is_of_query => Some(Variable::ArgsGetNames),
        Variable::ArgsGetNames if is_of_query => Some(Variable::ArgsNames),
        Variable::RequestUri if state.uri == state.uri_raw => Some(Variable::RequestUriRaw),
        Variable::RequestUriRaw if state.uri == state.uri_raw => Some(Variable::RequestUri),
        _ => None,
    }
}

/// A name and a value.
type Named<'a> = (&'a [u8], &'a [u8]);

/// Gives every value of a variable to `visitor`, in the order of the request.
///
/// A variable that does not exist in this transaction has no value; it then
/// matches nothing, not even a negated operator, and counts as 0.
pub(crate) fn visit<'a>(state: &'a State, variable: Variable, visitor: Visitor<'_, 'a>) {
    match variable {
        Variable::Args => {
            values(&state.args_get, visitor);
            values(&state.args_post, visitor);
        }
        Variable::ArgsNames => {
            names(&state.args_get, visitor);
            names(&state.args_post, visitor);
        }
        Variable::ArgsGet => values(&state.args_get, visitor),
        Variable::ArgsGetNames => names(&state.args_get, visitor),
        Variable::ArgsPost => values(&state.args_post, visitor),
        Variable::ArgsPostNames => names(&state.args_post, visitor),
        Variable::ArgsCombinedSize => {
            number(visitor, state.args_get.bytes() + state.args_post.bytes())
        }
        Variable::AuthType => {
            let scheme = |value: &'a Vec<u8>| value.split(|byte| *byte == b' ').next();
            if let Some(scheme) = state
                .request_headers
                .first(b"authorization")
                .and_then(scheme)
            {
                visitor(None, Cow::Borrowed(scheme));
            }
        }
        Variable::FullRequest => visitor(None, Cow::Owned(full_request(state))),
        Variable::FullRequestLength => number(visitor, full_request(state).len()),
        Variable::HighestSeverity => number(visitor, state.highest_severity.unwrap_or(NO_SEVERITY)),
        Variable::Time => {
            let now = moment(state);
            text(
                visitor,
                Some(format!(
                    "{:02}:{:02}:{:02}",
                    now.hour, now.minute, now.second
                )),
            );
        }
        Variable::TimeDay => number(visitor, moment(state).day),
        Variable::TimeHour => number(visitor, moment(state).hour),
        Variable::TimeMin => number(visitor, moment(state).minute),
        Variable::TimeMon => number(visitor, moment(state).month),
        Variable::TimeSec => number(visitor, moment(state).second),
        Variable::TimeWday => number(visitor, moment(state).weekday),
        Variable::TimeYear => number(visitor, moment(state).year),
        Variable::RemoteUser => {
            if let Some(user) = user(state) {
                visitor(None, Cow::Owned(user));
            }
        }
        Variable::Duration => number(visitor, state.elapsed.as_micros()),
        Variable::Files => values(&state.files, visitor),
        Variable::FilesNames => names(&state.files, visitor),
        Variable::FilesSizes => {
            for (field, size) in state.files.iter().zip(&state.files_sizes) {
                visitor(Some(&field.name), owned(size));
            }
        }
        Variable::Global => remembered(state, Collection::Global, visitor),
        Variable::Ip => remembered(state, Collection::Ip, visitor),
        Variable::FilesCombinedSize => number(visitor, state.files_bytes),
        Variable::InboundDataError => flag(visitor, state.request_body_truncated),
        Variable::MatchedVar => {
            scalar(visitor, state.matched_vars.last().map(|field| &field.value))
        }
        Variable::MatchedVarName => {
            scalar(visitor, state.matched_vars.last().map(|field| &field.name))
        }
        Variable::MatchedVars => values(&state.matched_vars, visitor),
        Variable::MatchedVarsNames => names(&state.matched_vars, visitor),
        Variable::MultipartFilename => values(&state.files, visitor),
        Variable::MultipartName => {
            for name in &state.part_names {
                visitor(Some(name), Cow::Borrowed(name));
            }
        }
        Variable::MultipartPartHeaders => values(&state.part_headers, visitor),
        Variable::MultipartBoundaryQuoted => flag(visitor, state.multipart.boundary_quoted),
        Variable::MultipartBoundaryWhitespace => flag(visitor, state.multipart.boundary_whitespace),
        Variable::MultipartCrlfLfLines => flag(visitor, state.multipart.mixed_lines()),
        Variable::MultipartDataAfter => flag(visitor, state.multipart.data_after),
        Variable::MultipartDataBefore => flag(visitor, state.multipart.data_before),
        Variable::MultipartFileLimitExceeded => flag(visitor, state.multipart.file_limit_exceeded),
        Variable::MultipartHeaderFolding => flag(visitor, state.multipart.header_folding),
        Variable::MultipartInvalidHeaderFolding => {
            flag(visitor, state.multipart.invalid_header_folding)
        }
        Variable::MultipartInvalidPart => flag(visitor, state.multipart.invalid_part),
        Variable::MultipartInvalidQuoting => flag(visitor, state.multipart.invalid_quoting),
        Variable::MultipartLfLine => flag(visitor, state.multipart.lf_line),
        Variable::MultipartMissingSemicolon | Variable::MultipartSemicolonMissing => {
            flag(visitor, state.multipart.missing_semicolon)
        }
        Variable::MultipartStrictError => flag(visitor, state.multipart.strict_error()),
        Variable::MultipartUnmatchedBoundary => flag(visitor, state.multipart.unmatched_boundary),
        Variable::OutboundDataError => flag(visitor, state.response_body_truncated),
        Variable::QueryString => scalar(visitor, Some(&state.query)),
        // Names are not looked up: it is the address, as in ModSecurity v3.
        Variable::RemoteAddr | Variable::RemoteHost => text(
            visitor,
            state.connection.map(|connection| connection.client),
        ),
        Variable::RemotePort => text(
            visitor,
            state.connection.map(|connection| connection.client_port),
        ),
        Variable::ReqbodyError | Variable::ReqbodyProcessorError => {
            flag(visitor, state.body_error.is_some())
        }
        Variable::ReqbodyErrorMsg | Variable::ReqbodyProcessorErrorMsg => {
            text(
                visitor,
                Some(state.body_error.as_deref().unwrap_or_default()),
            );
        }
        Variable::ReqbodyProcessor => text(
            visitor,
            Some(state.processor.map_or("", |processor| processor.name())),
        ),
        Variable::RequestBasename => visitor(None, Cow::Borrowed(basename(&state.path))),
        Variable::RequestBody => {
            if state.request_body_visible {
                scalar(visitor, Some(&state.request_body));
            }
        }
        Variable::RequestBodyLength => number(visitor, state.request_body_length),
        Variable::RequestCookies => values(&state.cookies, visitor),
        Variable::RequestCookiesNames => names(&state.cookies, visitor),
        Variable::PathInfo | Variable::RequestFilename => scalar(visitor, Some(&state.path)),
        Variable::RequestHeaders => values(&state.request_headers, visitor),
        Variable::RequestHeadersNames => names(&state.request_headers, visitor),
        Variable::RequestLine => scalar(visitor, Some(&state.request_line)),
        Variable::RequestMethod => scalar(visitor, Some(&state.method)),
        Variable::RequestProtocol => text(visitor, Some(&state.protocol)),
        Variable::RequestUri => scalar(visitor, Some(&state.uri)),
        Variable::RequestUriRaw => scalar(visitor, Some(&state.uri_raw)),
        Variable::Resource => remembered(state, Collection::Resource, visitor),
        Variable::ResponseBody => {
            if state.response_status.is_some() && state.response_body_visible {
                scalar(visitor, Some(&state.response_body));
            }
        }
        Variable::ResponseContentLength => {
            scalar(visitor, state.response_headers.first(b"content-length"))
        }
        Variable::ResponseContentType => {
            scalar(visitor, state.response_headers.first(b"content-type"))
        }
        Variable::ResponseHeaders => values(&state.response_headers, visitor),
        Variable::ResponseHeadersNames => names(&state.response_headers, visitor),
        Variable::ResponseProtocol => text(visitor, Some(&state.response_protocol)),
        Variable::ResponseStatus => text(visitor, state.response_status),
        Variable::Rule => rule(state, visitor),
        Variable::ServerAddr => text(
            visitor,
            state.connection.map(|connection| connection.server),
        ),
        Variable::ServerName => scalar(visitor, Some(&state.server_name)),
        Variable::ServerPort => text(
            visitor,
            state.connection.map(|connection| connection.server_port),
        ),
        Variable::Session => remembered(state, Collection::Session, visitor),
        Variable::SessionId => scalar(visitor, state.collections.key(Collection::Session)),
        Variable::TimeEpoch => number(visitor, state.time_unix_ms / 1000),
        Variable::Tx => {
            for (name, value) in state.tx.sorted(|_| true) {
                visitor(Some(name), Cow::Borrowed(value));
            }
        }
        Variable::User => remembered(state, Collection::User, visitor),
        Variable::UserId => scalar(visitor, state.collections.key(Collection::User)),
        Variable::UniqueId => text(visitor, Some(&state.unique_id)),
        Variable::UrlencodedError => flag(visitor, state.invalid_escape),
        Variable::Xml => {
            if let Some(xml) = &state.xml {
                visitor(Some(XML_TEXT), Cow::Borrowed(&xml.text));
                for value in &xml.attributes {
                    visitor(Some(XML_ATTRIBUTES), Cow::Borrowed(value));
                }
            }
        }
    }
}

/// The fields that a collection has its values from, for those that rules often want one of.
pub(crate) fn fields(state: &State, variable: Variable) -> Option<&Fields> {
    match variable {
        Variable::ArgsGet => Some(&state.args_get),
        Variable::ArgsPost => Some(&state.args_post),
        Variable::RequestCookies => Some(&state.cookies),
        Variable::RequestHeaders => Some(&state.request_headers),
        Variable::ResponseHeaders => Some(&state.response_headers),
        _ => None,
    }
}

fn value(field: &Field) -> Named<'_> {
    (&field.name, &field.value)
}

fn name(field: &Field) -> Named<'_> {
    (&field.name, &field.name)
}

/// The value of a collection at a place of the order in which [`visit`] gives them, for
/// those that clients make long; `None` of the others.
pub(crate) fn nth(state: &State, variable: Variable, at: usize) -> Option<Named<'_>> {
    let argument = || match state.args_get.len() {
        query if at < query => state.args_get.get(at),
        query => state.args_post.get(at - query),
    };
    match variable {
        Variable::Args => argument().map(value),
        Variable::ArgsNames => argument().map(name),
        Variable::ArgsGet => state.args_get.get(at).map(value),
        Variable::ArgsGetNames => state.args_get.get(at).map(name),
        Variable::ArgsPost => state.args_post.get(at).map(value),
        Variable::ArgsPostNames => state.args_post.get(at).map(name),
        Variable::RequestCookies => state.cookies.get(at).map(value),
        Variable::RequestCookiesNames => state.cookies.get(at).map(name),
        Variable::RequestHeaders => state.request_headers.get(at).map(value),
        Variable::RequestHeadersNames => state.request_headers.get(at).map(name),
        _ => None,
    }
}

/// Gives the values that a target means, and perhaps others of its variable: who cares
/// about names asks the selector.
pub(crate) fn visit_target<'a>(
    state: &'a State,
    target: &'a TargetPattern,
    visitor: Visitor<'_, 'a>,
) {
    match (target.variable, &target.selector) {
        // Rules ask for one of a hundred at every step.
        (Variable::Tx, Selector::Name(name)) => {
            if let Some(value) = state.tx.get(name) {
                visitor(Some(name.bytes()), Cow::Borrowed(value));
            }
        }
        // Most of them are not meant, and need not be in order.
        (Variable::Tx, Selector::Regex(_)) => {
            for (name, value) in state.tx.sorted(|name| target.selector.picks(name)) {
                visitor(Some(name), Cow::Borrowed(value));
            }
        }
        (variable, _) => visit(state, variable, visitor),
    }
}

fn values<'a>(fields: &'a Fields, visitor: Visitor<'_, 'a>) {
    fields
        .iter()
        .for_each(|field| visitor(Some(&field.name), Cow::Borrowed(&field.value)));
}

fn names<'a>(fields: &'a Fields, visitor: Visitor<'_, 'a>) {
    fields
        .iter()
        .for_each(|field| visitor(Some(&field.name), Cow::Borrowed(&field.name)));
}

fn remembered<'a>(state: &'a State, collection: Collection, visitor: Visitor<'_, 'a>) {
    for (name, value) in state.collections.values(collection) {
        visitor(Some(name), Cow::Borrowed(value));
    }
}

fn scalar<'a>(visitor: Visitor<'_, 'a>, value: Option<&'a Vec<u8>>) {
    if let Some(value) = value {
        visitor(None, Cow::Borrowed(value));
    }
}

fn text(visitor: Visitor<'_, '_>, value: Option<impl ToString>) {
    if let Some(value) = value {
        visitor(None, owned(value));
    }
}

fn number(visitor: Visitor<'_, '_>, value: impl ToString) {
    visitor(None, owned(value));
}

fn flag(visitor: Visitor<'_, '_>, value: bool) {
    visitor(None, Cow::Borrowed(if value { b"1" } else { b"0" }));
}

fn owned(value: impl ToString) -> Cow<'static, [u8]> {
    Cow::Owned(value.to_string().into_bytes())
}

/// `HIGHEST_SEVERITY` before any rule with a severity has matched.
const NO_SEVERITY: u8 = 255;

fn moment(state: &State) -> Moment {
    Moment::of(state.time_unix_ms / 1000)
}

/// The header fields and the body, as ModSecurity v3 puts them together.
fn full_request(state: &State) -> Vec<u8> {
    let mut output = Vec::new();
    for field in state.request_headers.iter() {
        output.extend_from_slice(&[&field.name[..], b": ", &field.value, b"\n"].concat());
    }
    output.extend_from_slice(b"\n\n");
    output.extend_from_slice(&state.request_body);
    output
}

/// The name that a client gives with `Authorization: Basic`.
fn user(state: &State) -> Option<Vec<u8>> {
    let value = state.request_headers.first(b"authorization")?;
    let (scheme, rest) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let decoded = Transformation::Base64Decode.apply(Cow::Borrowed(rest.trim_ascii()));
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    Some(decoded[..colon].to_vec())
}

fn basename(path: &[u8]) -> &[u8] {
    let start = path
        .iter()
        .rposition(|byte| matches!(byte, b'/' | b'\\'))
        .map_or(0, |slash| slash + 1);
    path.get(start..).unwrap_or_default()
}

/// `RULE`: what is known about the rule that runs.
fn rule<'a>(state: &'a State, visitor: Visitor<'_, 'a>) {
    let rule = &state.current;
    if let Some(id) = rule.id {
        visitor(Some(b"id"), owned(id));
    }
    if let Some(severity) = rule.severity {
        visitor(Some(b"severity"), owned(severity));
    }
    for (name, value) in [
        (&b"msg"[..], &rule.message),
        (b"rev", &rule.revision),
        (b"ver", &rule.version),
    ] {
        if let Some(value) = value {
            visitor(Some(name), Cow::Borrowed(value.as_bytes()));
        }
    }
}
