//! A request and a response from files, and their way through a transaction.

use std::{net::IpAddr, path::Path, sync::Arc};

use anyhow::{Context, anyhow, bail};
use portcullis_config::route::{canonical_host, canonical_path};
use portcullis_waf::{
    AuditRecord, Connection, Part, Reason, RuleSet, Transaction, TransactionOptions, Verdict,
};

use super::raw_http::{self, RawMessage};

/// A request, as the gateway would take it.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: http::Method,
    pub(super) target: String,
    /// What the backend would get in its place.
    forwarded: Option<String>,
    /// The path as routes see it.
    pub(super) path: String,
    protocol: &'static str,
    pub(super) message: RawMessage,
}

/// A response, as a backend would give it.
#[derive(Debug)]
pub(super) struct Response {
    status: u16,
    message: RawMessage,
}

impl Request {
    /// Reads a request.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let content = raw_http::read_file(path)?;
        Self::parse(&content).with_context(|| format!("{} is no request", path.display()))
    }

    fn parse(content: &[u8]) -> anyhow::Result<Self> {
        let mut message = raw_http::parse(content)?;
        let words: Vec<&str> = message.first_line.split(' ').collect();
        let [method, target, version] = words.as_slice() else {
            let line = &message.first_line;
            bail!(
                "the first line must be METHOD TARGET HTTP/1.1, as in \"GET /search?q=1 HTTP/1.1\"; found {line:?}"
            );
        };
        let protocol = match *version {
            "HTTP/1.1" => "HTTP/1.1",
            "HTTP/1.0" => "HTTP/1.0",
            "HTTP/2" | "HTTP/2.0" => "HTTP/2.0",
            other => bail!("{other:?} is no version of HTTP: HTTP/1.0, HTTP/1.1 or HTTP/2"),
        };
        let method = http::Method::from_bytes(method.as_bytes())
            .map_err(|_| anyhow!("{method:?} is no method"))?;
        let target = (*target).to_owned();
        if target.is_empty() {
            bail!("the first line has no target; the path of a site's front page is /");
        }
        // The gateway takes the host that an absolute target has.
        if protocol == "HTTP/1.0"
            && message.header("host").is_none()
            && let Some(authority) = authority(&target)
        {
            message.headers.push(("host".to_owned(), authority.into()));
        }
        if message.header("host").is_none() && protocol != "HTTP/1.0" {
            bail!(
                "the request has no Host, and the gateway refuses it with 400 before any rule sees it; add a line such as \"Host: shop.example\" below the first"
            );
        }
        message.settle_length()?;
        let (path, forwarded) = paths(&target)?;
        Ok(Self {
            method,
            target,
            forwarded,
            path,
            protocol,
            message,
        })
    }

    /// The host, without a port.
    pub(super) fn host(&self) -> String {
        let host = self.message.header("host").unwrap_or_default();
        String::from_utf8_lossy(host).into_owned()
    }
}

/// The host in a target of the absolute form, with its port.
fn authority(target: &str) -> Option<&str> {
    let (_, rest) = target.split_once("://")?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    Some(&rest[..end])
}

/// The canonical path of a target, and what a backend would get where that is another.
fn paths(target: &str) -> anyhow::Result<(String, Option<String>)> {
    if target == "*" {
        return Ok((target.to_owned(), None));
    }
    let local = match target.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => target,
    };
    let (path, query) = local.split_once('?').unwrap_or((local, ""));
    let canonical = canonical_path(path.as_bytes()).map_err(|problem| {
        let reason = problem.reason();
        anyhow!("the gateway refuses the path {path:?} with 400 ({reason}) before any rule sees it")
    })?;
    let forwarded = (canonical.forward() != path).then(|| {
        let separator = if query.is_empty() { "" } else { "?" };
        format!("{}{separator}{query}", canonical.forward())
    });
    Ok((canonical.canonical().to_owned(), forwarded))
}

impl Response {
    /// Reads a response.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let content = raw_http::read_file(path)?;
        Self::parse(&content).with_context(|| format!("{} is no response", path.display()))
    }

    fn parse(content: &[u8]) -> anyhow::Result<Self> {
        let mut message = raw_http::parse(content)?;
        let mut words = message.first_line.split(' ');
        let version = words.next().unwrap_or_default();
        let status = words.next().and_then(|status| status.parse().ok());
        let Some(status) =
            status.filter(|status| (100..600).contains(status) && version.starts_with("HTTP/"))
        else {
            let line = &message.first_line;
            bail!(
                "the first line must be HTTP/1.1 STATUS, as in \"HTTP/1.1 200 OK\"; found {line:?}"
            );
        };
        message.settle_length()?;
        Ok(Self { status, message })
    }
}

/// Shows a request and a response to rules, as the gateway does.
pub(super) fn run(
    rules: &Arc<RuleSet>,
    options: TransactionOptions,
    request: &Request,
    response: Option<&Response>,
) -> AuditRecord {
    let mut transaction = Transaction::begin(Arc::clone(rules), options);
    let here = IpAddr::from([127, 0, 0, 1]);
    transaction.connection(Connection {
        client: here,
        client_port: 40_000,
        server: here,
        server_port: 80,
    });
    let method = request.method.as_str().as_bytes();
    transaction.request_line(method, request.target.as_bytes(), request.protocol);
    if let Some(forwarded) = &request.forwarded {
        transaction.forwarded_target(forwarded.as_bytes());
    }
    for (name, value) in &request.message.headers {
        // As it comes from the gateway's own view of a request.
        transaction.request_header(name.to_ascii_lowercase().as_bytes(), value);
    }
    if let Ok((host, _)) = canonical_host(&request.host()) {
        transaction.server_name(host.as_bytes());
    }
    let refused = |verdict| matches!(verdict, Verdict::Interrupt(_));
    if refused(transaction.request_headers_end()) {
        return transaction.finish();
    }
    transaction.request_body(&request.message.body);
    if refused(transaction.request_body_end()) {
        return transaction.finish();
    }
    if let Some(response) = response {
        transaction.response_head(response.status, "HTTP/1.1");
        for (name, value) in &response.message.headers {
            transaction.response_header(name.to_ascii_lowercase().as_bytes(), value);
        }
        if refused(transaction.response_headers_end()) {
            return transaction.finish();
        }
        if transaction.wants_response_body() {
            match response.message.header("content-encoding") {
                Some(_) => transaction.not_inspected(Part::ResponseBody, Reason::Coded),
                None => transaction.response_body(&response.message.body),
            }
        }
        let _ = transaction.response_body_end();
    }
    transaction.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_gateway_would_not_take_is_named() {
        for (content, expected) in [
            ("GET /\nHost: h\n\n", "METHOD TARGET HTTP/1.1"),
            ("GET / HTTP/3\nHost: h\n\n", "no version"),
            ("G@T / HTTP/1.1\nHost: h\n\n", "no method"),
            ("GET / HTTP/1.1\nA: b\n\n", "no Host"),
            ("curl https://shop.example/\n", "METHOD TARGET"),
        ] {
            let told = Request::parse(content.as_bytes())
                .expect_err(content)
                .to_string();
            assert!(told.contains(expected), "{told}");
        }
        let request = Request::parse(b"GET / HTTP/2\nhost: h\n\n").expect("a request");
        assert_eq!(
            (request.protocol, request.host().as_str()),
            ("HTTP/2.0", "h")
        );
        for content in ["HTTP/1.1 two\n\n", "GET / HTTP/1.1\n\n"] {
            assert!(Response::parse(content.as_bytes()).is_err(), "{content}");
        }
        assert_eq!(
            Response::parse(b"HTTP/2 200\n\n")
                .expect("a response")
                .status,
            200
        );
    }
}
