//! What one transaction of the WAF may hold and compute.

/// Bounds on one transaction of the WAF; [`crate::document::WafLimits`] says what each does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WafLimits {
    /// Arguments of query and body together.
    pub max_arguments: u32,
    /// Fields of the request, and of the response.
    pub max_headers: u32,
    /// Cookies of the request.
    pub max_cookies: u32,
    /// Levels of a JSON body.
    pub max_json_depth: u32,
    /// Bytes of the names of all fields of a JSON body.
    pub max_json_names: u64,
    /// Levels of an XML body.
    pub max_xml_depth: u32,
    /// Attributes of an XML body.
    pub max_xml_attributes: u32,
    /// Parts of a multipart body.
    pub max_parts: u32,
    /// Files of a multipart body.
    pub max_files: u32,
    /// Values that match in one chain of rules.
    pub max_matches: u32,
    /// Variables that rules keep in `TX`.
    pub max_tx_variables: u32,
    /// Bytes that rules read in all.
    pub max_work: u64,
    /// Rules that an audit record tells.
    pub max_audit_matches: u32,
    /// Bytes of each text in an audit record.
    pub max_audit_text: u64,
}

impl Default for WafLimits {
    fn default() -> Self {
        Self {
            max_arguments: 1000,
            max_headers: 500,
            max_cookies: 500,
            max_json_depth: 512,
            max_json_names: 4 << 20,
            max_xml_depth: 256,
            max_xml_attributes: 10_000,
            max_parts: 1000,
            max_files: 1000,
            max_matches: 2000,
            max_tx_variables: 2000,
            max_work: 1 << 30,
            max_audit_matches: 100,
            max_audit_text: 256,
        }
    }
}
