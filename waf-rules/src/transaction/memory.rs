//! What a transaction keeps of bodies.

use super::{Fields, Transaction};
use crate::{
    audit::{Part, Reason},
    body::Xml,
    variables::Variable,
};

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
    }

    /// Forgets what was found in the values of the request: later phases look again, which
    /// few of their rules do.
    pub fn forget_found(&mut self) {
        self.forget(|_| true);
    }

    /// Gives that memory back. Rules of later phases see no body, and no argument of one.
    pub fn forget_bodies(&mut self) {
        if !self.state.response_body.is_empty() {
            self.not_inspected(Part::ResponseBody, Reason::NoMemory);
        }
        // What rules have copied of them would not be known for a secret any more.
        let mut arguments = self.state.args_post.iter();
        self.secrets_forgotten |= arguments.any(|field| self.is_named(&field.name));
        let state = &mut self.state;
        state.request_body = Vec::new();
        state.request_body_visible = false;
        state.args_post = Fields::default();
        state.files = Fields::default();
        state.files_sizes = Vec::new();
        state.part_headers = Fields::default();
        state.part_names = Vec::new();
        state.xml = None;
        state.response_body = Vec::new();
        state.response_body_visible = false;
        self.forget(|variable| {
            variable.is_of_request_body()
                || variable.is_of_arguments()
                || variable == Variable::ResponseBody
        });
    }
}
