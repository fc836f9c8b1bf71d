//! What a transaction keeps of bodies.

use super::{Fields, Transaction};
use crate::{
    audit::{Part, Reason},
    body::Xml,
    prefilter::Candidates,
    secrets::SHORTEST,
    variables::Variable,
};

/// Bytes of a request body, and of what was taken out of it, below which nothing is given back
/// before the end: finding the secrets in it costs more than so little is worth.
const WORTH_GIVING_BACK: usize = 64 << 10;

/// Bytes of secrets that are kept of a body. A request with more has its texts left out whole.
const KEPT_SECRETS: usize = 64 << 10;

impl Transaction {
    /// Bytes that are kept of bodies, as they came or were decoded, and of what was taken
    /// out of them, for rules of later phases. The caller may count them.
    pub fn body_memory(&self) -> usize {
        let state = &self.state;
        let fields = [&state.args_post, &state.files, &state.part_headers];
        let fields: usize = fields.into_iter().map(Fields::memory).sum();
        let names = state.part_names.iter();
        state.request_body.capacity()
            + fields
            + names
                .map(|name| name.capacity() + size_of::<Vec<u8>>())
                .sum::<usize>()
            + state.xml.as_ref().map_or(0, Xml::memory)
            + state.response_body.capacity()
            + self.candidates.memory()
            + self.kept_secrets.iter().map(taken_by).sum::<usize>()
    }

    /// Forgets what was found in the values of the request, where that is much: later phases
    /// look again, which few of their rules do. To be called after phase 2, also of a request
    /// without a body: its answer may take long.
    pub fn forget_found(&mut self) {
        if self.candidates.memory() > WORTH_GIVING_BACK {
            self.candidates = Candidates::default();
        }
    }

    /// Gives back what is kept of the request body, where no rule of a later phase reads it:
    /// a response may take long. To be called after phase 2; a little is not worth it, and
    /// stays, and so does what has too many secrets to keep these alone.
    pub fn release_request_body(&mut self) {
        if self.phase >= 2
            && !self.rules.reads_request_body_late()
            && self.body_memory() > WORTH_GIVING_BACK
            && self.secrets_of_body().map(taken_by).sum::<usize>() <= KEPT_SECRETS
        {
            self.forget_request_body();
        }
    }

    /// Gives that memory back. Rules of later phases see no body, and no argument of one.
    pub fn forget_bodies(&mut self) {
        if !self.state.response_body.is_empty() {
            self.not_inspected(Part::ResponseBody, Reason::NoMemory);
        }
        self.forget_request_body();
        self.state.response_body = Vec::new();
        self.state.response_body_visible = false;
        self.forget(|variable| variable == Variable::ResponseBody);
    }

    fn forget_request_body(&mut self) {
        self.keep_secrets();
        // What is left of it in what rules have matched may be one.
        self.secret_in_body.get_or_insert(true);
        let state = &mut self.state;
        state.request_body = Vec::new();
        state.request_body_visible = false;
        state.args_post = Fields::default();
        state.files = Fields::default();
        state.files_sizes = Vec::new();
        state.part_headers = Fields::default();
        state.part_names = Vec::new();
        state.xml = None;
        // Whole values, and the next rule has others.
        state.matched_vars.clear();
        state.link_ends.clear();
        self.forget(Variable::is_kept_of_request_body);
    }

    /// The values of secrets among the arguments of the body, without those that are too
    /// short to be looked for, or too long for any text to have them whole.
    fn secrets_of_body(&self) -> impl Iterator<Item = &Vec<u8>> {
        let named = self.state.args_post.iter();
        let named = named.filter(|field| {
            (SHORTEST..=KEPT_SECRETS).contains(&field.value.len()) && self.is_named(&field.name)
        });
        named.map(|field| &field.value)
    }

    /// Keeps the values of secrets among the arguments: rules may have copied them.
    fn keep_secrets(&mut self) {
        let mut kept = std::mem::take(&mut self.kept_secrets);
        let mut bytes: usize = kept.iter().map(taken_by).sum();
        let mut fits = true;
        for value in self.secrets_of_body() {
            bytes += taken_by(value);
            if bytes > KEPT_SECRETS {
                fits = false;
                break;
            }
            kept.push(value.clone());
        }
        self.secrets_forgotten |= !fits;
        self.kept_secrets = kept;
    }
}

fn taken_by(value: &Vec<u8>) -> usize {
    value.len() + size_of_val(value)
}
