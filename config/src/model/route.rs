//! Routes, their rules and what is done to a request.

use std::{fmt, sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue, Method};

use super::{
    AccessList, Affinity, Authentication, Backend, ErrorPages, RateLimit, RouteWaf, Satisfy,
};
use crate::route::PathTemplate;
pub use crate::{
    compression::Compression,
    cors::Cors,
    document::{EncodedSlashes, Https, RetryOn, StatusRange},
};

/// Rules for some hosts.
#[derive(Clone, Debug)]
pub struct Route {
    /// Unique name.
    pub name: String,
    /// Names of the listeners it is served on; empty means all.
    pub listeners: Vec<String>,
    /// Hosts; empty means every host.
    pub hosts: Vec<HostPattern>,
    /// Whether a suffix among them has one label before it, and not several.
    pub single_label: bool,
    /// The rules, in document order, each with the matches that lead to it.
    pub rules: Vec<(Vec<Match>, Arc<Rule>)>,
}

/// A host name pattern, lower case, no trailing dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostPattern {
    /// This name.
    Exact(String),
    /// One or more labels before this suffix (stored without `*.`).
    Suffix(String),
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Suffix(suffix) => write!(f, "*.{suffix}"),
        }
    }
}

/// Conditions on a request; all must hold.
#[derive(Clone, Debug)]
pub struct Match {
    /// Condition on the canonical path.
    pub path: PathMatch,
    /// The method.
    pub method: Option<Method>,
    /// Conditions on headers.
    pub headers: Vec<HeaderMatch>,
    /// Conditions on cookies.
    pub cookies: Vec<ParameterMatch>,
    /// Conditions on query parameters.
    pub query: Vec<ParameterMatch>,
}

/// A condition on the canonical path.
#[derive(Clone, Debug)]
pub enum PathMatch {
    /// The whole path.
    Exact(String),
    /// Whole leading segments; no trailing slash, so `/` is the empty text.
    Prefix(String),
    /// Matches the whole path; anchored at both ends.
    Regex(Arc<regex::Regex>),
}

/// A condition on one header.
#[derive(Clone, Debug)]
pub struct HeaderMatch {
    /// The header.
    pub name: HeaderName,
    /// What its value must be.
    pub value: ValueMatch,
}

/// A condition on one cookie or query parameter.
#[derive(Clone, Debug)]
pub struct ParameterMatch {
    /// Its name.
    pub name: String,
    /// What its value must be.
    pub value: ValueMatch,
}

/// A condition on a value.
#[derive(Clone, Debug)]
pub enum ValueMatch {
    /// Equal.
    Exact(String),
    /// The whole value matches.
    Regex(regex::Regex),
    /// There is one.
    Present,
    /// There is none.
    Absent,
}

/// What happens to a request that matched.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Stable id, `route/index`; the label of metrics and logs.
    pub id: String,
    /// Name of its route.
    pub route: String,
    /// Names of the listeners it is served on; empty means all.
    pub listeners: Vec<String>,
    /// What is done.
    pub action: Action,
    /// Host header for the backend.
    pub rewrite_host: Option<HeaderValue>,
    /// Change of the path for the backend.
    pub rewrite_path: Option<PathRewrite>,
    /// Who gets some of its requests in place of [`Action::Forward`].
    pub canary: Option<Canary>,
    /// A cookie that keeps a client with one of its backends.
    pub sticky: Option<Affinity>,
    /// Who gets copies of its requests.
    pub mirrors: Vec<Mirror>,
    /// Changes to request headers.
    pub request_headers: HeaderChanges,
    /// Changes to response headers.
    pub response_headers: HeaderChanges,
    /// What it must pass.
    pub policies: Policies,
}

/// The end of a rule.
#[derive(Clone, Debug)]
pub enum Action {
    /// Ask one of these backends, by weight. Empty, or all of weight 0, means 503.
    Forward(Vec<(Arc<Backend>, u32)>),
    /// Answer with a redirect.
    Redirect(Redirect),
    /// Answer with this.
    Respond(Respond),
}

/// A backend that gets some of a rule's requests.
#[derive(Clone, Debug)]
pub struct Canary {
    /// The backend.
    pub backend: Arc<Backend>,
    /// The header that decides first.
    pub header: Option<CanaryHeader>,
    /// Name of the cookie that decides next.
    pub cookie: Option<String>,
    /// Share of the rest.
    pub weight: u32,
    /// What the share is of, 1 or more.
    pub total: u32,
}

/// A header that asks for a canary.
#[derive(Clone, Debug)]
pub enum CanaryHeader {
    /// By `always`, and by `never` for the opposite.
    Word(HeaderName),
    /// By a value.
    Value(HeaderMatch),
}

/// A backend that gets copies of requests.
#[derive(Clone, Debug)]
pub struct Mirror {
    /// The backend.
    pub backend: Arc<Backend>,
    /// Its share: requests of a million.
    pub per_million: u32,
    /// Whether a copy has the body of its request.
    pub copies_body: bool,
    /// Bytes of a body that is copied; a request with more is not.
    pub max_body_size: u64,
}

/// A change of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathRewrite {
    /// Replacement for the matched prefix; no trailing slash.
    Prefix(String),
    /// Replacement for the whole path.
    Whole(PathTemplate),
}

/// An answer of the gateway's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Respond {
    /// Status.
    pub status: u16,
    /// Content type of the body; there where the body is.
    pub content_type: Option<HeaderValue>,
    /// The body.
    pub body: String,
}

/// A redirect; `None` keeps the request's part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// `http` or `https`.
    pub scheme: Option<&'static str>,
    /// Host.
    pub host: Option<String>,
    /// Port.
    pub port: Option<u16>,
    /// Path.
    pub path: Option<PathRewrite>,
    /// Status.
    pub status: u16,
}

/// Changes to headers: removed first, then set, then added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderChanges {
    /// To remove.
    pub remove: Vec<HeaderName>,
    /// To replace.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// To add.
    pub add: Vec<(HeaderName, HeaderValue)>,
}

/// The policies of one rule, after inheritance.
#[derive(Clone, Debug)]
pub struct Policies {
    /// Access lists; a request passes all.
    pub access: Vec<Arc<AccessList>>,
    /// Authentications; a request passes all, in order.
    pub authentication: Vec<Arc<Authentication>>,
    /// Whether access lists and authentications must pass, or one of both.
    pub satisfy: Satisfy,
    /// Rate limits; a request passes all.
    pub rate_limits: Vec<Arc<RateLimit>>,
    /// What is done with requests in clear.
    pub https: Https,
    /// Largest request body in bytes; `None` means no limit.
    pub max_body_size: Option<u64>,
    /// What is done with `%2F` and `%5C` in a path.
    pub encoded_slashes: EncodedSlashes,
    /// The WAF.
    pub waf: Option<Arc<RouteWaf>>,
    /// Error pages; the first set with a page is taken.
    pub error_pages: Vec<Arc<ErrorPages>>,
    /// Cross-origin policy.
    pub cors: Option<Arc<Cors>>,
    /// Compression of responses.
    pub compression: Option<Arc<Compression>>,
    /// How fast the body of one response is sent.
    pub response_bandwidth: ResponseBandwidth,
    /// How slow a request body may come.
    pub min_body_rate: MinBodyRate,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// When a request is tried again.
    pub retries: Retries,
}

/// When a request is tried again. The document's defaults are [`Default`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retries {
    /// Attempts after the first.
    pub attempts: u32,
    /// What is tried again.
    pub on: Vec<RetryOn>,
    /// Statuses of a backend that are tried again.
    pub statuses: Vec<StatusRange>,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            attempts: 2,
            on: vec![RetryOn::ConnectFailure, RetryOn::Closed],
            statuses: Vec::new(),
        }
    }
}

/// How fast the body of one response is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResponseBandwidth {
    /// Bytes in a second; 0 is no limit.
    pub rate: u64,
    /// Bytes before it begins.
    pub after: u64,
}

/// How slow a request body may come. The document's defaults are [`Default`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinBodyRate {
    /// Bytes in a second; 0 is no limit.
    pub rate: u64,
    /// How long a body may stay behind.
    pub grace: Duration,
}

impl Default for MinBodyRate {
    fn default() -> Self {
        Self {
            rate: 240,
            grace: Duration::from_secs(60),
        }
    }
}

/// How long things may take. The document's defaults are [`Default`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a request with all its attempts; `None` means no limit.
    pub request: Option<Duration>,
    /// For one attempt; `None` means no limit.
    pub backend_request: Option<Duration>,
    /// To connect to an endpoint.
    pub connect: Duration,
    /// Silence of the endpoint.
    pub read: Duration,
    /// Blocked write to the endpoint.
    pub write: Duration,
    /// Silence of the client while its body is read.
    pub client_read: Duration,
    /// Blocked write to the client.
    pub client_write: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            request: None,
            backend_request: None,
            connect: Duration::from_secs(5),
            read: Duration::from_secs(60),
            write: Duration::from_secs(60),
            client_read: Duration::from_secs(60),
            client_write: Duration::from_secs(60),
        }
    }
}
