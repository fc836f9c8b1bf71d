//! What is odd about a multipart body: the `MULTIPART_*` variables of ModSecurity.

/// One flag for each oddity. Rules read them one by one, or as
/// `MULTIPART_STRICT_ERROR`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MultipartFlags {
    /// The parser has a problem; `REQBODY_ERROR` is set too.
    pub(crate) error: bool,
    pub(crate) boundary_quoted: bool,
    /// White space around the `=` of the boundary.
    pub(crate) boundary_whitespace: bool,
    pub(crate) data_before: bool,
    pub(crate) data_after: bool,
    pub(crate) header_folding: bool,
    /// A folded header line begins with another byte than a space or a tab.
    pub(crate) invalid_header_folding: bool,
    /// A line of a boundary or a header ends with CRLF.
    pub(crate) crlf_line: bool,
    /// A line of a boundary or a header ends with LF alone.
    pub(crate) lf_line: bool,
    pub(crate) missing_semicolon: bool,
    pub(crate) invalid_quoting: bool,
    /// A part has a boundary where its content should begin.
    pub(crate) invalid_part: bool,
    pub(crate) file_limit_exceeded: bool,
    /// The declared boundary stands where it is no delimiter.
    pub(crate) unmatched_boundary: bool,
}

impl MultipartFlags {
    /// `MULTIPART_STRICT_ERROR`: two readers could take the body apart differently.
    ///
    /// ModSecurity counts a quoted boundary too. RFC 2046 allows it and some
    /// libraries must write it, so it is not counted here.
    pub(crate) fn strict_error(&self) -> bool {
        self.error
            || self.boundary_whitespace
            || self.data_before
            || self.data_after
            || self.header_folding
            || self.invalid_header_folding
            || self.lf_line
            || self.missing_semicolon
            || self.invalid_quoting
            || self.invalid_part
            || self.file_limit_exceeded
    }

    /// `MULTIPART_CRLF_LF_LINES`: both ends of line are used.
    pub(crate) fn mixed_lines(&self) -> bool {
        self.crlf_line && self.lf_line
    }
}
