//! The name and help text of every metric.
//!
//! Units are in the names. Labels come from configuration, or from a fixed
//! list in the code, never from request text.

/// A metric's name and help text.
#[derive(Clone, Copy, Debug)]
pub struct Name(pub &'static str, pub &'static str);

/// Requests by `listener`, `rule`, `method` and `status` class.
pub const REQUESTS: Name = Name(
    "portcullis_requests_total",
    "Requests answered, by listener, rule, method and status.",
);
/// Seconds from request head to the end of the response, by `rule`.
pub const REQUEST_SECONDS: Name = Name(
    "portcullis_request_duration_seconds",
    "Time from request head to the end of the response, by rule.",
);
/// Requests being worked on.
pub const REQUESTS_IN_FLIGHT: Name =
    Name("portcullis_requests_in_flight", "Requests being worked on.");
/// Answers of our own by `stage` and `reason`.
pub const REFUSALS: Name = Name(
    "portcullis_refusals_total",
    "Requests that the gateway answered itself, by stage and reason.",
);
/// Requests to backends by `backend` and `outcome`.
pub const UPSTREAM: Name = Name(
    "portcullis_upstream_requests_total",
    "Attempts at backends, by backend and outcome.",
);
/// Requests that were to be tried again by `backend` and `outcome`.
pub const UPSTREAM_RETRIES: Name = Name(
    "portcullis_upstream_retries_total",
    "Requests to be tried again at a backend, by backend and outcome.",
);
/// Requests that wait for a place at a backend, by `backend`.
pub const UPSTREAM_PENDING: Name = Name(
    "portcullis_upstream_pending",
    "Requests that wait for a place at a backend, by backend.",
);
/// Open connections to endpoints, by `backend`.
pub const UPSTREAM_CONNECTIONS: Name = Name(
    "portcullis_upstream_connections_open",
    "Connections to endpoints that are open now, by backend.",
);
/// Look-ups of endpoint names, by `backend` and `outcome`.
pub const UPSTREAM_LOOK_UPS: Name = Name(
    "portcullis_upstream_look_ups_total",
    "Look-ups of the names of endpoints, by backend and outcome.",
);
/// Whether an endpoint takes requests, by `backend` and `endpoint`.
pub const ENDPOINT_UP: Name = Name(
    "portcullis_endpoint_up",
    "1 where an endpoint takes requests, 0 where it is left out, by backend and endpoint.",
);
/// Seconds until a backend's response head, by `backend`.
pub const UPSTREAM_SECONDS: Name = Name(
    "portcullis_upstream_response_seconds",
    "Time until the response head of a backend, by backend.",
);
/// Rate limit decisions by `limit` and `verdict`.
pub const RATE_LIMIT: Name = Name(
    "portcullis_rate_limit_decisions_total",
    "Rate limit decisions, by limit and verdict.",
);
/// Authentications by `authentication` and `verdict`.
pub const AUTHENTICATION: Name = Name(
    "portcullis_authentications_total",
    "Clients that were asked who they are, by authentication and verdict.",
);
/// WAF verdicts by `profile` and `verdict`.
pub const WAF: Name = Name(
    "portcullis_waf_verdicts_total",
    "WAF verdicts, by profile and verdict.",
);
/// What WAF rules did not see, by `rule`, `part` and `reason`.
pub const WAF_NOT_INSPECTED: Name = Name(
    "portcullis_waf_not_inspected_total",
    "Requests of which WAF rules did not see a part, by rule, part and reason.",
);
/// Responses that were to be compressed, by `outcome`.
pub const COMPRESSIONS: Name = Name(
    "portcullis_compressions_total",
    "Responses that were to be compressed, by outcome: the coding, over_limit or failed.",
);
/// Bytes through compression, by `direction`.
pub const COMPRESSION_BYTES: Name = Name(
    "portcullis_compression_bytes_total",
    "Bytes of responses that are compressed, in from backends and out to clients.",
);
/// Copies of requests, by `backend` and `outcome`.
pub const MIRRORED: Name = Name(
    "portcullis_mirrored_requests_total",
    "Copies of requests for mirrors, by backend and outcome.",
);
/// Connections of TCP routes by `route` and `outcome`.
pub const TCP_CONNECTIONS: Name = Name(
    "portcullis_tcp_connections_total",
    "Connections of TCP routes that have ended, by route and outcome.",
);
/// Connections that are passed on now, by `route`.
pub const TCP_OPEN: Name = Name(
    "portcullis_tcp_connections_open",
    "Connections that are passed on now, by TCP route.",
);
/// Bytes of TCP routes by `route` and `direction`.
pub const TCP_BYTES: Name = Name(
    "portcullis_tcp_bytes_total",
    "Bytes that TCP routes have passed on, by route and direction.",
);
/// Sessions of UDP routes by `route` and `outcome`.
pub const UDP_SESSIONS: Name = Name(
    "portcullis_udp_sessions_total",
    "Sessions of UDP routes that have ended, and datagrams that began none, by route and outcome.",
);
/// Sessions that are open now, by `route`.
pub const UDP_OPEN: Name = Name(
    "portcullis_udp_sessions_open",
    "Sessions that are open now, by UDP route.",
);
/// Bytes of UDP routes by `route` and `direction`.
pub const UDP_BYTES: Name = Name(
    "portcullis_udp_bytes_total",
    "Bytes that UDP routes have passed on, by route and direction.",
);
/// Datagrams of sessions that were dropped, by `route` and `reason`.
pub const UDP_DROPPED: Name = Name(
    "portcullis_udp_datagrams_dropped_total",
    "Datagrams of sessions that were not passed on, by route and reason.",
);
/// Egress decisions by `policy`, `verdict` and `reason`.
pub const EGRESS: Name = Name(
    "portcullis_egress_decisions_total",
    "Egress decisions, by policy, verdict and reason.",
);
/// Egress policies that are in force, by `mode`.
pub const EGRESS_POLICIES: Name = Name(
    "portcullis_egress_policies",
    "Egress policies in force, by mode.",
);
/// Open egress tunnels.
pub const EGRESS_TUNNELS: Name = Name("portcullis_egress_tunnels_open", "Egress tunnels open now.");
/// Egress tunnels and plain requests that neither side closed, by `reason`.
pub const EGRESS_ENDED: Name = Name(
    "portcullis_egress_ended_total",
    "Egress tunnels and plain requests that neither side closed, by reason.",
);
/// Questions to the API server about tokens of egress clients, by `result`.
pub const EGRESS_TOKEN_REVIEWS: Name = Name(
    "portcullis_egress_token_reviews_total",
    "Questions to the API server about tokens of egress clients, by result.",
);
/// Time until such a question is answered.
pub const EGRESS_TOKEN_REVIEW_SECONDS: Name = Name(
    "portcullis_egress_token_review_duration_seconds",
    "Time until the API server answers a question about a token, waiting for a turn left out.",
);
/// Egress bytes by `direction`.
pub const EGRESS_BYTES: Name = Name(
    "portcullis_egress_bytes_total",
    "Bytes through egress connections, by direction.",
);
/// Connections by `listener` and `outcome`.
pub const CONNECTIONS: Name = Name(
    "portcullis_connections_total",
    "Connections, by listener and outcome.",
);
/// Open connections by `listener`.
pub const CONNECTIONS_OPEN: Name = Name(
    "portcullis_connections_open",
    "Connections open now, by listener.",
);
/// Expiry of each certificate, by `certificate`.
pub const CERTIFICATE_EXPIRY: Name = Name(
    "portcullis_certificate_expiry_timestamp_seconds",
    "End of validity of each certificate, in seconds since 1970.",
);
/// Next update of the OCSP response of each certificate, by `certificate`.
pub const OCSP_EXPIRY: Name = Name(
    "portcullis_ocsp_expiry_timestamp_seconds",
    "When the OCSP response of a certificate is not stapled any more, in seconds since 1970.",
);
/// Next update of each list of revoked client certificates, by `file`.
pub const CRL_EXPIRY: Name = Name(
    "portcullis_crl_expiry_timestamp_seconds",
    "When a list of revoked client certificates must be renewed, in seconds since 1970, by file.",
);
/// Reloads by `outcome`.
pub const RELOADS: Name = Name(
    "portcullis_reloads_total",
    "Configuration loads, by outcome.",
);
/// Time of the last load that was accepted.
pub const LAST_RELOAD: Name = Name(
    "portcullis_config_last_success_timestamp_seconds",
    "When the serving configuration was loaded, in seconds since 1970.",
);
/// Time that the last load took.
pub const LOAD_SECONDS: Name = Name(
    "portcullis_config_load_seconds",
    "Time of the last load, from reading the files until it served or was refused.",
);
/// Number of the serving snapshot.
pub const SNAPSHOT: Name = Name(
    "portcullis_config_snapshot",
    "Number of the serving snapshot, from 1.",
);
/// Problems of the last load, by `severity`.
pub const PROBLEMS: Name = Name(
    "portcullis_config_problems",
    "Problems of the last load, by severity.",
);
/// Since when the serving configuration is not the one in the files.
pub const STALE_SINCE: Name = Name(
    "portcullis_config_stale_since_timestamp_seconds",
    "Since when a refused configuration waits to be mended, in seconds since 1970; 0 when none does.",
);
/// Since when what is known of a kind of the cluster may be old, by `kind`.
pub const KUBERNETES_STALE: Name = Name(
    "portcullis_kubernetes_stale_since_timestamp_seconds",
    "Since when objects of the cluster are not watched, in seconds since 1970, by kind; 0 when they are.",
);
/// Whether this replica writes statuses.
pub const KUBERNETES_LEADS: Name = Name(
    "portcullis_kubernetes_leader",
    "1 in the replica that holds the Lease and writes the status of Ingresses.",
);
/// Namespaces that are to have a NetworkPolicy, by `state`.
pub const EGRESS_NETWORK_POLICIES: Name = Name(
    "portcullis_egress_network_policies",
    "Namespaces whose way out is to be the egress proxy alone, by state: kept where the NetworkPolicy stands, missing where it does not. Replicas that do not lead count as well.",
);
/// NetworkPolicies that were written, by `result`.
pub const EGRESS_NETWORK_POLICY_WRITES: Name = Name(
    "portcullis_egress_network_policy_writes_total",
    "NetworkPolicies of namespaces that were written or restored, removed, or could not be.",
);
/// Log lines that were dropped, by `log`.
pub const LOG_DROPPED: Name = Name(
    "portcullis_log_lines_dropped_total",
    "Log lines dropped because the writer was behind, by log.",
);
/// Version of the program.
pub const BUILD: Name = Name("portcullis_build_info", "Version of the program; always 1.");
