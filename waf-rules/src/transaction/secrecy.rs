//! What may be told of the values of a transaction.
//!
//! ```text
//! variable, value --secrecy--> Open | Parts | Secret --mask_target--> without the values in it --Values--> text
//! ```

use std::cell::OnceCell;

use super::{Transaction, TxName, record::MAX_FOUND};
use crate::{
    audit::{AuditRecord, escaped},
    secrets::{MASK, Values, mask_target, target_has_secret},
    variables::{Expansion, Variable},
};

/// Bytes of a value that are looked at for names of secrets, and of which some are told.
const LOOKED_AT: usize = 1024;

/// What may be told of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Secrecy {
    Open,
    /// It has a query or a form in it, with secrets.
    Parts,
    /// Nothing.
    Secret,
}

/// What secrets are looked up in; all of it only grows, or goes as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SecretSources {
    /// Of the query, and of the body.
    arguments: (usize, usize),
    cookies: usize,
    /// Of the request, and of the response.
    headers: (usize, usize),
    sanitised: usize,
    kept: usize,
    forgotten: bool,
}

impl Transaction {
    /// Expands a text of a rule that has just matched.
    pub(super) fn told(&mut self, text: &Expansion) -> String {
        let most = self.state.limits.max_audit_value_bytes;
        match text.literal() {
            Some(literal) => escaped(literal, most),
            None => {
                self.look_up_secrets();
                self.body_secrecy();
                let captures_are_secret = OnceCell::new();
                let told = text.expand_told(&self.state, &|variable, key, value| {
                    self.told_value(variable, key, value, &captures_are_secret)
                });
                escaped(&self.secret_values.1.masked(told), most)
            }
        }
    }

    /// The name of a variable as a record tells it.
    pub(super) fn shown_name(&self, variable: &[u8]) -> String {
        let name = self.told_name(variable);
        escaped(&name, self.state.limits.max_audit_value_bytes)
    }

    /// A form that was escaped once too often is all name, `password%3Dsecret`, and so is a
    /// document that was sent as a form.
    fn told_name(&self, variable: &[u8]) -> Vec<u8> {
        let at = variable.iter().position(|byte| *byte == b':');
        let (front, name) = variable.split_at(at.map_or(0, |at| at + 1));
        let name = beginning(name);
        if self.is_telling_document(name) {
            return [front, MASK.as_bytes()].concat();
        }
        match name.contains(&b'=') {
            true => [front, &mask_target(name, &|name| self.is_named(name))].concat(),
            false => [front, name].concat(),
        }
    }

    /// Tells whether a text is a document, which is not taken apart, that may hold a secret.
    fn is_telling_document(&self, text: &[u8]) -> bool {
        matches!(text.trim_ascii_start().first(), Some(b'{' | b'['))
            && self.state.secrets.may_stand_in(text)
    }

    /// A value as a record tells it.
    pub(super) fn shown(&self, variable: &[u8], value: &[u8]) -> String {
        let most = self.state.limits.max_audit_value_bytes;
        let shown = match self.secrecy(variable, value) {
            Secrecy::Secret => return MASK.to_owned(),
            Secrecy::Parts => mask_target(beginning(value), &|name| self.is_named(name)),
            Secrecy::Open => beginning(value).to_vec(),
        };
        escaped(&self.secret_values.1.masked(shown), most)
    }

    /// A value as it becomes part of a text.
    fn told_value(
        &self,
        variable: Variable,
        name: Option<&TxName>,
        value: &[u8],
        captures_are_secret: &OnceCell<bool>,
    ) -> Vec<u8> {
        let key = name.map(TxName::bytes);
        let is_score = || value.iter().all(u8::is_ascii_digit) && self.is_of_rules(name);
        let secrecy = match (variable, key) {
            (Variable::Tx, Some([b'0'..=b'9']))
                if *captures_are_secret.get_or_init(|| self.captures_are_secret()) =>
            {
                Secrecy::Secret
            }
            // Scores, which every rule of the CRS tells.
            (Variable::Tx, Some(_)) if is_score() => Secrecy::Open,
            (Variable::MatchedVarName | Variable::MatchedVarsNames, _) => {
                return self.told_name(value);
            }
            (Variable::MatchedVar | Variable::MatchedVars, _) => {
                // The macro gives one value of them, by whatever variable it matched.
                let matched = self.state.matched_vars.iter();
                let same = matched.filter(|field| field.value == value);
                let secrecy = same.map(|field| self.secrecy(&field.name, &field.value));
                secrecy.max().unwrap_or(Secrecy::Secret)
            }
            (variable, key) => self.secrecy(&full_name(variable, key), value),
        };
        match secrecy {
            Secrecy::Open => beginning(value).to_vec(),
            Secrecy::Parts => mask_target(beginning(value), &|name| self.is_named(name)),
            Secrecy::Secret => MASK.as_bytes().to_vec(),
        }
    }

    /// Tells whether a name of `TX` is not one of a secret.
    fn is_of_rules(&self, name: Option<&TxName>) -> bool {
        let secrets = &self.state.secrets;
        self.state.control.sanitised.is_empty()
            && name.is_some_and(|name| !name.is_secret() && !secrets.has_more(name.bytes()))
    }

    /// Tells whether `TX:0` to `TX:9` may be pieces of a secret. Where they are left from an
    /// earlier rule, what that one looked at is not known any more.
    fn captures_are_secret(&self) -> bool {
        let matched = &self.state.matched_vars;
        // What is behind the part that is looked at may be anything.
        let may_be = |field: &super::fields::Field| {
            field.value.len() > LOOKED_AT && !is_whole(&field.name)
                || self.secrecy(&field.name, &field.value) != Secrecy::Open
        };
        let from = &self.state.captured_from;
        let is_left = !from.is_empty() && !matched.iter().any(|field| field.name == *from);
        is_left || matched.len() > MAX_FOUND || matched.iter().any(may_be)
    }

    /// Decides what may be told of a variable, such as `ARGS:id`, with a value.
    fn secrecy(&self, full: &[u8], value: &[u8]) -> Secrecy {
        let value = beginning(value);
        let at = full.iter().position(|byte| *byte == b':');
        let (variable, name) = match at {
            Some(at) => (&full[..at], Some(&full[at + 1..])),
            None => (full, None),
        };
        let variable = std::str::from_utf8(variable).unwrap_or_default();
        if self.state.control.sanitised.hides(variable, name) {
            return Secrecy::Secret;
        }
        if variable.starts_with('&') {
            return Secrecy::Open;
        }
        let of_target = || target_has_secret(&self.state.uri_raw, &|name| self.is_named(name));
        match variable {
            "REQUEST_COOKIES" | "SESSIONID" | "FULL_REQUEST" => return Secrecy::Secret,
            "REQUEST_BODY" | "XML" if self.secret_in_body.unwrap_or(true) => {
                return Secrecy::Secret;
            }
            "RESPONSE_BODY" if self.secret_in_response() => {
                return Secrecy::Secret;
            }
            "REQUEST_URI" | "REQUEST_URI_RAW" | "REQUEST_LINE" | "QUERY_STRING" if of_target() => {
                return Secrecy::Parts;
            }
            _ => {}
        }
        let is_open_name = variable.ends_with("_NAMES")
            || matches!(
                variable,
                "FILES" | "FILES_SIZES" | "MULTIPART_PART_HEADERS" | "MULTIPART_NAME" | "RULE"
            );
        let named = |name: &[u8]| !is_open_name && self.state.secrets.has(name);
        if name.is_some_and(named) || self.is_telling_document(value) {
            return Secrecy::Secret;
        }
        match target_has_secret(value, &|name| self.is_named(name)) {
            true => Secrecy::Parts,
            false => Secrecy::Open,
        }
    }

    /// Tells whether an argument of this name is a secret.
    pub(super) fn is_named(&self, name: &[u8]) -> bool {
        self.state.secrets.has(name) || self.state.control.sanitised.hides("ARGS", Some(name))
    }

    /// Tells whether the body of the request may hold a secret; asked once, since it is long.
    pub(super) fn body_secrecy(&mut self) {
        if self.secret_in_body.is_some() || self.phase < 2 {
            return;
        }
        let mut arguments = self.state.args_post.iter();
        let holds = arguments.any(|field| self.is_named(&field.name))
            || self.state.secrets.may_stand_in(&self.state.request_body);
        self.secret_in_body = Some(holds);
    }

    /// Tells the same of the response; asked once, until more of it comes.
    fn secret_in_response(&self) -> bool {
        *self
            .secret_in_response
            .get_or_init(|| self.state.secrets.may_stand_in(&self.state.response_body))
    }

    /// Looks up the values of secrets, where there may be others than before.
    pub(super) fn look_up_secrets(&mut self) {
        let state = &self.state;
        let sources = SecretSources {
            arguments: (state.args_get.len(), state.args_post.len()),
            cookies: state.cookies.len(),
            headers: (state.request_headers.len(), state.response_headers.len()),
            sanitised: state.control.sanitised.len(),
            kept: self.kept_secrets.len(),
            forgotten: self.secrets_forgotten,
        };
        if self.secret_values.0 == Some(sources) {
            return;
        }
        let hidden = |variable: &str, name: &[u8]| {
            state.secrets.has(name) || state.control.sanitised.hides(variable, Some(name))
        };
        let arguments = state.args_get.iter().chain(state.args_post.iter());
        let arguments = arguments
            .filter(|field| hidden("ARGS", &field.name))
            .map(|field| field.value.as_slice());
        let cookies = state.cookies.iter().map(|field| field.value.as_slice());
        let request = state.request_headers.iter();
        let request = request.filter(|field| hidden("REQUEST_HEADERS", &field.name));
        let response = state.response_headers.iter();
        let response = response.filter(|field| hidden("RESPONSE_HEADERS", &field.name));
        // The whole field, and what follows a scheme or the name of a cookie.
        let fields = request.chain(response).flat_map(|field| {
            let value = field.value.as_slice();
            let cookie = value.split(|byte| *byte == b';').next().unwrap_or(value);
            let part = |separator: u8| {
                let at = cookie.iter().position(|byte| *byte == separator);
                at.map_or(value, |at| cookie[at + 1..].trim_ascii())
            };
            [value, part(b' '), part(b'=')]
        });
        let values = match self.secrets_forgotten {
            true => Values::unknown(),
            false => {
                let kept = self.kept_secrets.iter().map(Vec::as_slice);
                Values::new(arguments.chain(kept).chain(cookies).chain(fields))
            }
        };
        self.secret_values = (Some(sources), values);
    }

    /// Hides what a rule wanted hidden after it had been noted.
    pub(super) fn hide_again(&self, record: &mut AuditRecord) {
        let sanitised = &self.state.control.sanitised;
        let hides = |variable: &str| {
            let (name, rest) = match variable.split_once(':') {
                Some((name, rest)) => (name, Some(rest.as_bytes())),
                None => (variable, None),
            };
            is_whole(name.as_bytes()) || sanitised.hides(name, rest)
        };
        let masked = |text: &str| {
            let masked = self.secret_values.1.masked(text.as_bytes().to_vec());
            String::from_utf8_lossy(&masked).into_owned()
        };
        for found in &mut record.matches {
            let is_hidden = found.found_dropped > 0
                || hides(&found.variable)
                || found.found.iter().any(|found| hides(&found.variable));
            if is_hidden {
                MASK.clone_into(&mut found.data);
                MASK.clone_into(&mut found.value);
                found
                    .found
                    .iter_mut()
                    .for_each(|found| MASK.clone_into(&mut found.value));
            }
            let texts = [&mut found.data, &mut found.value, &mut found.message];
            for text in texts {
                *text = masked(text);
            }
            found.tags = found.tags.iter().map(|tag| masked(tag)).collect();
            found
                .found
                .iter_mut()
                .for_each(|found| found.value = masked(&found.value));
        }
        let ends = [&mut record.interruption, &mut record.would_interrupt];
        for interruption in ends.into_iter().flatten() {
            interruption.message = masked(&interruption.message);
        }
    }
}

/// Tells whether a variable holds the whole of something, and is looked at as such.
fn is_whole(name: &[u8]) -> bool {
    name.starts_with(b"XML")
        || [
            &b"REQUEST_URI"[..],
            b"REQUEST_URI_RAW",
            b"REQUEST_LINE",
            b"QUERY_STRING",
            b"FULL_REQUEST",
            b"REQUEST_BODY",
            b"RESPONSE_BODY",
        ]
        .contains(&name)
}

fn beginning(value: &[u8]) -> &[u8] {
    &value[..value.len().min(LOOKED_AT)]
}

fn full_name(variable: Variable, key: Option<&[u8]>) -> Vec<u8> {
    match key {
        Some(key) => [variable.name().as_bytes(), b":", key].concat(),
        None => variable.name().as_bytes().to_vec(),
    }
}
