//! Variables that tell programs where the proxy is, and whom to trust.

use super::ClientSettings;

/// Names of one meaning, which have one value: they are set together, or left alone together.
#[derive(Debug)]
pub(crate) struct Variable {
    /// Its names.
    pub(crate) names: &'static [&'static str],
    /// Its value, as programs are to see it.
    pub(crate) value: String,
}

/// Where each program looks for authorities that it trusts. Node and Deno read their own beside those that
/// they bring along; for all others the file takes the place of the system's.
const TRUST: [&str; 10] = [
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "PIP_CERT",
    "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO",
    "CARGO_HTTP_CAINFO",
    "AWS_CA_BUNDLE",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "DENO_CERT",
];

/// Those whose value is where the proxy is. Both spellings: curl reads `http_proxy` in small letters only,
/// others in capitals only.
pub(super) const PROXY: [&[&str]; 2] = [
    &["HTTP_PROXY", "http_proxy"],
    &["HTTPS_PROXY", "https_proxy"],
];

impl ClientSettings {
    /// What tells programs where the proxy is. Nothing of a token.
    pub(crate) fn proxy_variables(&self) -> Vec<Variable> {
        let both = |names, value| Variable { names, value };
        let [http, https] = PROXY;
        vec![
            both(http, self.proxy.to_string()),
            both(https, self.proxy.to_string()),
            both(&["NO_PROXY", "no_proxy"], self.no_proxy.to_string()),
            // Node reads those above where it is told to (since 22.21 and 24.5).
            both(&["NODE_USE_ENV_PROXY"], "1".to_owned()),
        ]
    }

    /// What tells programs whom to trust, each by itself.
    pub(crate) fn trust_variables(&self) -> Vec<Variable> {
        let Some(file) = &self.trust else {
            return Vec::new();
        };
        let one = |names: &'static [&'static str]| Variable {
            names,
            value: file.clone(),
        };
        TRUST.chunks(1).map(one).collect()
    }
}
