//! What the text says about the engine as a whole.

use crate::{
    collections::DEFAULT_TIMEOUT, limits::BodyOverLimit, limits::Limits, seclang::Setting,
    verdict::EngineMode,
};

/// The settings of a rule set; `None` where the text says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) engine: Option<EngineMode>,
    pub(crate) request_body_access: Option<bool>,
    pub(crate) response_body_access: Option<bool>,
    pub(crate) response_types: Option<Vec<String>>,
    pub(crate) argument_separator: Option<u8>,
    request_body_limit: Option<usize>,
    request_text_limit: Option<usize>,
    request_over_limit: Option<BodyOverLimit>,
    response_body_limit: Option<usize>,
    response_over_limit: Option<BodyOverLimit>,
    json_depth: Option<usize>,
    arguments: Option<usize>,
    collection_timeout: Option<u64>,
    files: Option<usize>,
    signatures: Vec<String>,
    audit_parts: Option<String>,
}

/// What `SecAuditLogParts` wants in a record. Bodies are in none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AuditParts {
    /// `B`
    pub(crate) request_headers: bool,
    /// `F`
    pub(crate) response_headers: bool,
    /// `H`
    pub(crate) messages: bool,
}

impl Settings {
    /// Takes a setting; a later one replaces an earlier one.
    pub(crate) fn set(&mut self, setting: Setting) {
        match setting {
            Setting::RuleEngine(mode) => self.engine = Some(mode),
            Setting::RequestBodyAccess(access) => self.request_body_access = Some(access),
            Setting::RequestBodyLimit(bytes) => self.request_body_limit = Some(bytes),
            Setting::RequestBodyNoFilesLimit(bytes) => self.request_text_limit = Some(bytes),
            Setting::RequestBodyLimitAction(action) => self.request_over_limit = Some(action),
            Setting::RequestBodyJsonDepthLimit(depth) => self.json_depth = Some(depth),
            Setting::ResponseBodyAccess(access) => self.response_body_access = Some(access),
            Setting::ResponseBodyLimit(bytes) => self.response_body_limit = Some(bytes),
            Setting::ResponseBodyLimitAction(action) => self.response_over_limit = Some(action),
            Setting::ResponseBodyMimeType(types) => self.response_types = Some(types),
            Setting::ArgumentsLimit(count) => self.arguments = Some(count),
            Setting::UploadFileLimit(count) => self.files = Some(count),
            Setting::ArgumentSeparator(byte) => self.argument_separator = Some(byte),
            Setting::CollectionTimeout(seconds) => self.collection_timeout = Some(seconds),
            Setting::AuditLogParts(parts) => self.audit_parts = Some(parts),
            Setting::ComponentSignature(signature) => self.signatures.push(signature),
        }
    }

    /// What holds where another text stands before: what this one leaves out is the other's.
    pub(crate) fn behind(self, earlier: Self) -> Self {
        let mut signatures = earlier.signatures;
        signatures.extend(self.signatures);
        Self {
            engine: self.engine.or(earlier.engine),
            request_body_access: self.request_body_access.or(earlier.request_body_access),
            response_body_access: self.response_body_access.or(earlier.response_body_access),
            response_types: self.response_types.or(earlier.response_types),
            argument_separator: self.argument_separator.or(earlier.argument_separator),
            request_body_limit: self.request_body_limit.or(earlier.request_body_limit),
            request_text_limit: self.request_text_limit.or(earlier.request_text_limit),
            request_over_limit: self.request_over_limit.or(earlier.request_over_limit),
            response_body_limit: self.response_body_limit.or(earlier.response_body_limit),
            response_over_limit: self.response_over_limit.or(earlier.response_over_limit),
            json_depth: self.json_depth.or(earlier.json_depth),
            arguments: self.arguments.or(earlier.arguments),
            collection_timeout: self.collection_timeout.or(earlier.collection_timeout),
            files: self.files.or(earlier.files),
            audit_parts: self.audit_parts.or(earlier.audit_parts),
            signatures,
        }
    }

    /// Narrows limits to what the text says.
    pub(crate) fn narrow(&self, mut limits: Limits) -> Limits {
        let narrow =
            |limit: &mut usize, said: Option<usize>| *limit = said.unwrap_or(*limit).min(*limit);
        narrow(&mut limits.max_request_body_bytes, self.request_body_limit);
        narrow(&mut limits.max_request_text_bytes, self.request_text_limit);
        narrow(
            &mut limits.max_response_body_bytes,
            self.response_body_limit,
        );
        narrow(&mut limits.max_json_depth, self.json_depth);
        narrow(&mut limits.max_arguments, self.arguments);
        narrow(&mut limits.max_multipart_files, self.files);
        limits.request_over_limit = self.request_over_limit.unwrap_or(limits.request_over_limit);
        limits.response_over_limit = self
            .response_over_limit
            .unwrap_or(limits.response_over_limit);
        limits
    }

    /// Returns the seconds for which a record of a collection stays.
    pub(crate) fn collection_timeout(&self) -> u64 {
        self.collection_timeout.unwrap_or(DEFAULT_TIMEOUT)
    }

    /// Returns what is in a record; everything, where the text says nothing.
    pub(crate) fn audit_parts(&self) -> AuditParts {
        let has = |part| {
            self.audit_parts
                .as_ref()
                .is_none_or(|parts| parts.contains(part))
        };
        AuditParts {
            request_headers: has('B'),
            response_headers: has('F'),
            messages: has('H'),
        }
    }

    /// Returns what `SecComponentSignature` said.
    pub(crate) fn signatures(&self) -> &[String] {
        &self.signatures
    }
}
