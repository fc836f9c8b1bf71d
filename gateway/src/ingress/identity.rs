//! What was found of a client.

use http::{HeaderName, HeaderValue, header};
use pingora::http::ResponseHeader;

/// Who a client is.
#[derive(Debug, Default)]
pub(super) struct Identity {
    /// Its name, for the log.
    pub(super) user: Option<String>,
    /// What the backend is told of it.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// Cookies that it gets with its answer.
    pub(super) cookies: Vec<HeaderValue>,
}

impl Identity {
    /// Adds what the backend is told by one authentication; it has the last word over
    /// those before it.
    pub(super) fn tell_backend(&mut self, headers: &[(HeaderName, HeaderValue)]) {
        self.headers
            .retain(|(name, _)| headers.iter().all(|(other, _)| other != name));
        self.headers.extend_from_slice(headers);
    }

    /// Adds its cookies to an answer.
    pub(super) fn tell_client(&self, response: &mut ResponseHeader) -> pingora::Result<()> {
        for cookie in &self.cookies {
            response.append_header(header::SET_COOKIE, cookie.clone())?;
        }
        Ok(())
    }
}
