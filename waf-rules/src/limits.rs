//! Bounds on what one transaction may hold and compute.

/// What happens to a body, or to its text, that is longer than its limit.
///
/// `SecRequestBodyLimitAction` and `SecResponseBodyLimitAction` in the rules
/// take precedence over the value in [`Limits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BodyOverLimit {
    /// The transaction is interrupted with 413 (requests) or 502 (responses).
    Reject,
    /// The part that fits is inspected; the rest passes unseen.
    InspectPrefix,
    /// Nothing of the body is inspected, and all of it passes. Rules see that it
    /// was so in `INBOUND_DATA_ERROR` or `OUTBOUND_DATA_ERROR`.
    Skip,
}

/// What happens to a request body whose `Content-Encoding` cannot be undone:
/// the coding is not known, or the bytes are not what it makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UndecodableBody {
    /// The transaction is interrupted, with 415 for a coding that is not known
    /// and with 400 for a broken one.
    Reject,
    /// The bytes are inspected as they came, and are a body error. A backend that
    /// knows the coding reads what nobody inspected.
    InspectEncoded,
}

/// Bounds on what one transaction may hold and compute.
///
/// Everything past a bound is refused rather than passed on unseen, because
/// what was not inspected must not be forwarded. [`BodyOverLimit`] and
/// [`UndecodableBody`] have the exceptions, which have to be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request body that are held. Default 8 MiB.
    ///
    /// The smaller of this and `SecRequestBodyLimit` counts.
    pub max_request_body_bytes: usize,
    /// Bytes of a request body that are not file content. Default 1 MiB.
    ///
    /// File content is held but not matched; text is matched by every rule, so
    /// it needs the smaller bound. The smaller of this and
    /// `SecRequestBodyNoFilesLimit` counts.
    pub max_request_text_bytes: usize,
    /// What happens to a longer request body. Default [`BodyOverLimit::Reject`].
    pub request_over_limit: BodyOverLimit,
    /// How many times its length a request body with a content coding (gzip,
    /// deflate, br) may have when it is decoded. Default 100.
    ///
    /// Up to 64 KiB pass at any ratio; `max_request_body_bytes` holds as well.
    /// What exceeds either is over the limit, as `request_over_limit` says.
    pub max_decoding_ratio: usize,
    /// What happens to a request body that cannot be decoded. Default
    /// [`UndecodableBody::Reject`].
    pub request_undecodable: UndecodableBody,
    /// Bytes of a response body that are held. Default 512 KiB.
    ///
    /// The smaller of this and `SecResponseBodyLimit` counts.
    pub max_response_body_bytes: usize,
    /// What happens to a longer response body. Default
    /// [`BodyOverLimit::InspectPrefix`], because refusing answers breaks
    /// downloads and protects nobody.
    pub response_over_limit: BodyOverLimit,
    /// Arguments of query and body together. Default 1000, as in the recommended
    /// configuration of ModSecurity (`SecArgumentsLimit`). More is refused
    /// with 400.
    pub max_arguments: usize,
    /// Header fields of the request, and of the response. Default 500.
    /// More is refused with 400 (request) or 502 (response).
    pub max_headers: usize,
    /// Cookies of the request. Default 500. More is refused with 400.
    pub max_cookies: usize,
    /// Depth of nesting in a JSON body. Default 512; deeper is a body error.
    pub max_json_depth: usize,
    /// Bytes of the names of all fields of a JSON body. Default 4 MiB; more is a
    /// body error.
    ///
    /// A name repeats the keys around it, so nesting could otherwise ask for a
    /// thousand times the size of a body.
    pub max_json_name_bytes: usize,
    /// Depth of nesting in an XML body. Default 256, as in libxml2; deeper is a
    /// body error.
    pub max_xml_depth: usize,
    /// Attributes of an XML body. Default 10,000; more is a body error.
    pub max_xml_attributes: usize,
    /// Parts of a multipart body. Default 1000; more is a body error.
    pub max_multipart_parts: usize,
    /// Files of a multipart body. Default 1000; more is
    /// `MULTIPART_FILE_LIMIT_EXCEEDED`, and so `MULTIPART_STRICT_ERROR`.
    ///
    /// The smaller of this and `SecUploadFileLimit` counts.
    pub max_multipart_files: usize,
    /// Values that may match in one rule chain. Default 2000. More is refused
    /// with 400, because a later link of the chain could not see all of them.
    pub max_matches: usize,
    /// Entries in an audit record. Default 100; later matches are only counted.
    pub max_audit_matches: usize,
    /// Bytes of each message, matched value and name in an audit record.
    /// Default 256.
    pub max_audit_value_bytes: usize,
    /// Bytes of transformed values that are kept for the next rule with the same chain
    /// of transformations. Default 2 MiB; what is more is transformed again.
    pub max_kept_bytes: usize,
    /// Variables in the `TX` collection. Default 2000. More is refused with 500.
    pub max_tx_variables: usize,
    /// Bytes of one expanded `%{...}` text. Default 8 KiB, cut beyond.
    pub max_expansion_bytes: usize,
    /// Bytes that operators and transformations may read, summed over the whole
    /// transaction. Default 1 GiB.
    ///
    /// Every value that is read costs its length plus 16. Expressions run in
    /// time linear in the value, so this bounds the processor time of a
    /// transaction to some seconds in the worst case. More is refused with 400.
    pub max_work: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_request_body_bytes: 8 << 20,
            max_request_text_bytes: 1 << 20,
            request_over_limit: BodyOverLimit::Reject,
            max_decoding_ratio: 100,
            request_undecodable: UndecodableBody::Reject,
            max_response_body_bytes: 512 << 10,
            response_over_limit: BodyOverLimit::InspectPrefix,
            max_arguments: 1000,
            max_headers: 500,
            max_cookies: 500,
            max_json_depth: 512,
            max_json_name_bytes: 4 << 20,
            max_xml_depth: 256,
            max_xml_attributes: 10_000,
            max_multipart_parts: 1000,
            max_multipart_files: 1000,
            max_matches: 2000,
            max_audit_matches: 100,
            max_audit_value_bytes: 256,
            max_kept_bytes: 2 << 20,
            max_tx_variables: 2000,
            max_expansion_bytes: 8 << 10,
            max_work: 1 << 30,
        }
    }
}
