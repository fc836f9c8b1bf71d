//! The metrics and their registry.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::Method;
use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, Opts, Registry, TextEncoder, core::Collector,
};

use super::{
    backend_metrics::{BackendMetrics, Families},
    bounded_labels::BoundedLabels,
    kept_policies::KeptPolicies,
    listed::Listed,
    names::{self, Name},
    rule_metrics::RuleMetrics,
};

/// Upper bounds of the time histograms, in seconds.
const SECONDS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// Policies of the egress proxy that are counted by name. Others may be made by whoever may
/// write them.
const MAX_EGRESS_POLICIES: usize = 1000;

/// Label of requests that no rule took.
const NO_RULE: &str = "none";

/// All metrics of one gateway, in a registry of its own.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    in_flight: IntGauge,
    refusals: IntCounterVec,
    upstream: Arc<Families>,
    endpoint_up: GaugeVec,
    rate_limit: IntCounterVec,
    authentication: IntCounterVec,
    waf: IntCounterVec,
    waf_not_inspected: IntCounterVec,
    compressions: IntCounterVec,
    compression_bytes: IntCounterVec,
    mirrored: IntCounterVec,
    tcp_connections: IntCounterVec,
    tcp_open: IntGaugeVec,
    tcp_bytes: IntCounterVec,
    udp_sessions: IntCounterVec,
    udp_open: IntGaugeVec,
    udp_bytes: IntCounterVec,
    udp_dropped: IntCounterVec,
    egress: IntCounterVec,
    egress_policies: BoundedLabels,
    egress_modes: IntGaugeVec,
    egress_tunnels: IntGauge,
    egress_ended: IntCounterVec,
    egress_token_reviews: IntCounterVec,
    egress_token_review_seconds: Histogram,
    egress_bytes: IntCounterVec,
    connections: IntCounterVec,
    connections_open: IntGaugeVec,
    certificate_expiry: Listed,
    crl_expiry: Listed,
    kubernetes_stale: GaugeVec,
    kubernetes_leads: GaugeVec,
    egress_network_policies: IntGaugeVec,
    egress_network_policy_writes: IntCounterVec,
    ocsp_expiry: Listed,
    reloads: IntCounterVec,
    last_reload: Gauge,
    load_seconds: Gauge,
    snapshot: IntGauge,
    problems: IntGaugeVec,
    stale_since: Gauge,
    log_dropped: IntCounterVec,
    no_rule: Arc<RuleMetrics>,
    rules: Mutex<BTreeMap<String, Arc<RuleMetrics>>>,
    backends: Mutex<BTreeMap<String, BackendMetrics>>,
}

/// The metrics of one TCP route.
#[derive(Clone, Debug)]
pub struct TcpMetrics {
    route: String,
    connections: IntCounterVec,
    /// Connections that are passed on now.
    pub open: IntGauge,
    /// Bytes from clients.
    pub up: IntCounter,
    /// Bytes to clients.
    pub down: IntCounter,
}

impl TcpMetrics {
    /// Counts a connection by what became of it.
    pub fn connection(&self, outcome: &str) {
        self.connections
            .with_label_values(&[self.route.as_str(), outcome])
            .inc();
    }
}

/// The metrics of one UDP route.
#[derive(Clone, Debug)]
pub struct UdpMetrics {
    route: String,
    sessions: IntCounterVec,
    dropped: IntCounterVec,
    /// Sessions that are open now.
    pub open: IntGauge,
    /// Bytes from clients.
    pub up: IntCounter,
    /// Bytes to clients.
    pub down: IntCounter,
}

impl UdpMetrics {
    /// Counts a session by what became of it.
    pub fn session(&self, outcome: &'static str) {
        self.sessions
            .with_label_values(&[self.route.as_str(), outcome])
            .inc();
    }

    /// Counts a datagram that was not passed on.
    pub fn dropped(&self, reason: &'static str) {
        self.dropped
            .with_label_values(&[self.route.as_str(), reason])
            .inc();
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Makes metrics, all at zero.
    pub fn new() -> Self {
        let registry = Registry::new();
        let requests = counters(
            &registry,
            names::REQUESTS,
            &["listener", "rule", "method", "status"],
        );
        let request_seconds = histograms(&registry, names::REQUEST_SECONDS, &["rule"]);
        let no_rule = RuleMetrics::new(NO_RULE, &requests, &request_seconds);
        let build = gauges(&registry, names::BUILD, &["version"]);
        build
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1.0);
        Self {
            in_flight: register(
                &registry,
                IntGauge::with_opts(opts(names::REQUESTS_IN_FLIGHT)),
            ),
            refusals: counters(&registry, names::REFUSALS, &["stage", "reason"]),
            upstream: Arc::new(Families {
                requests: counters(&registry, names::UPSTREAM, &["backend", "outcome"]),
                retries: counters(&registry, names::UPSTREAM_RETRIES, &["backend", "outcome"]),
                look_ups: counters(&registry, names::UPSTREAM_LOOK_UPS, &["backend", "outcome"]),
                seconds: histograms(&registry, names::UPSTREAM_SECONDS, &["backend"]),
                pending: register(
                    &registry,
                    IntGaugeVec::new(opts(names::UPSTREAM_PENDING), &["backend"]),
                ),
                connections: register(
                    &registry,
                    IntGaugeVec::new(opts(names::UPSTREAM_CONNECTIONS), &["backend"]),
                ),
            }),
            endpoint_up: gauges(&registry, names::ENDPOINT_UP, &["backend", "endpoint"]),
            rate_limit: counters(&registry, names::RATE_LIMIT, &["limit", "verdict"]),
            authentication: counters(
                &registry,
                names::AUTHENTICATION,
                &["authentication", "verdict"],
            ),
            waf: counters(&registry, names::WAF, &["profile", "verdict"]),
            waf_not_inspected: counters(
                &registry,
                names::WAF_NOT_INSPECTED,
                &["rule", "part", "reason"],
            ),
            compressions: counters(&registry, names::COMPRESSIONS, &["outcome"]),
            compression_bytes: counters(&registry, names::COMPRESSION_BYTES, &["direction"]),
            mirrored: counters(&registry, names::MIRRORED, &["backend", "outcome"]),
            tcp_connections: counters(&registry, names::TCP_CONNECTIONS, &["route", "outcome"]),
            tcp_open: register(
                &registry,
                IntGaugeVec::new(opts(names::TCP_OPEN), &["route"]),
            ),
            tcp_bytes: counters(&registry, names::TCP_BYTES, &["route", "direction"]),
            udp_sessions: counters(&registry, names::UDP_SESSIONS, &["route", "outcome"]),
            udp_open: register(
                &registry,
                IntGaugeVec::new(opts(names::UDP_OPEN), &["route"]),
            ),
            udp_bytes: counters(&registry, names::UDP_BYTES, &["route", "direction"]),
            udp_dropped: counters(&registry, names::UDP_DROPPED, &["route", "reason"]),
            egress: counters(&registry, names::EGRESS, &["policy", "verdict", "reason"]),
            egress_policies: BoundedLabels::new(MAX_EGRESS_POLICIES),
            egress_modes: register(
                &registry,
                IntGaugeVec::new(opts(names::EGRESS_POLICIES), &["mode"]),
            ),
            egress_tunnels: register(&registry, IntGauge::with_opts(opts(names::EGRESS_TUNNELS))),
            egress_ended: counters(&registry, names::EGRESS_ENDED, &["reason"]),
            egress_token_reviews: counters(&registry, names::EGRESS_TOKEN_REVIEWS, &["result"]),
            egress_token_review_seconds: register(
                &registry,
                Histogram::with_opts(buckets(names::EGRESS_TOKEN_REVIEW_SECONDS)),
            ),
            egress_bytes: counters(&registry, names::EGRESS_BYTES, &["direction"]),
            connections: counters(&registry, names::CONNECTIONS, &["listener", "outcome"]),
            connections_open: register(
                &registry,
                IntGaugeVec::new(opts(names::CONNECTIONS_OPEN), &["listener"]),
            ),
            certificate_expiry: listed(&registry, names::CERTIFICATE_EXPIRY, "certificate"),
            ocsp_expiry: listed(&registry, names::OCSP_EXPIRY, "certificate"),
            crl_expiry: listed(&registry, names::CRL_EXPIRY, "file"),
            kubernetes_stale: gauges(&registry, names::KUBERNETES_STALE, &["kind"]),
            kubernetes_leads: gauges(&registry, names::KUBERNETES_LEADS, &[]),
            egress_network_policies: register(
                &registry,
                IntGaugeVec::new(opts(names::EGRESS_NETWORK_POLICIES), &["state"]),
            ),
            egress_network_policy_writes: counters(
                &registry,
                names::EGRESS_NETWORK_POLICY_WRITES,
                &["result"],
            ),
            reloads: counters(&registry, names::RELOADS, &["outcome"]),
            last_reload: register(&registry, Gauge::with_opts(opts(names::LAST_RELOAD))),
            load_seconds: register(&registry, Gauge::with_opts(opts(names::LOAD_SECONDS))),
            snapshot: register(&registry, IntGauge::with_opts(opts(names::SNAPSHOT))),
            problems: register(
                &registry,
                IntGaugeVec::new(opts(names::PROBLEMS), &["severity"]),
            ),
            stale_since: register(&registry, Gauge::with_opts(opts(names::STALE_SINCE))),
            log_dropped: counters(&registry, names::LOG_DROPPED, &["log"]),
            requests,
            request_seconds,
            no_rule: Arc::new(no_rule),
            rules: Mutex::default(),
            backends: Mutex::default(),
            registry,
        }
    }

    /// The metrics of a rule.
    pub fn rule(&self, rule: &str) -> Arc<RuleMetrics> {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = rules.get(rule) {
            return Arc::clone(known);
        }
        let made = RuleMetrics::new(rule, &self.requests, &self.request_seconds);
        let made = Arc::new(made);
        rules.insert(rule.to_owned(), Arc::clone(&made));
        made
    }

    /// Forgets the series of rules that are gone, and those of listeners that are.
    ///
    /// A connection that a listener took before it went may still count a request, whose
    /// series stay until this is called again. Of rules that are gone nothing is counted.
    pub fn keep_rules(&self, kept: impl Fn(&str) -> bool, listener: impl Fn(&str) -> bool) {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, gone) in rules.extract_if(.., |rule, _| !kept(rule)) {
            gone.forget();
        }
        for rule in rules.values().chain([&self.no_rule]) {
            rule.keep_listeners(&listener);
        }
    }

    /// Counts a request that begins.
    pub fn request_started(&self) {
        self.in_flight.inc();
    }

    /// Counts a request that ends.
    pub fn request_finished(&self) {
        self.in_flight.dec();
    }

    /// Counts a request that no rule took.
    pub fn unrouted(&self, listener: &str, method: &Method, status: u16, duration: Duration) {
        self.no_rule.observe(listener, method, status, duration);
    }

    /// Counts an answer of our own.
    pub fn refusal(&self, stage: &'static str, reason: &'static str) {
        self.refusals.with_label_values(&[stage, reason]).inc();
    }

    /// The metrics of a backend.
    pub fn backend(&self, backend: &str) -> BackendMetrics {
        let mut backends = self.backends.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = backends.get(backend) {
            return known.clone();
        }
        let made = BackendMetrics::new(backend, &self.upstream);
        backends.insert(backend.to_owned(), made.clone());
        made
    }

    /// Forgets the series of backends that are gone.
    pub fn keep_backends(&self, kept: impl Fn(&str) -> bool) {
        let mut backends = self.backends.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, gone) in backends.extract_if(.., |backend, _| !kept(backend)) {
            gone.forget();
        }
    }

    /// Whether an endpoint of a backend takes requests.
    pub fn endpoint_up(&self, backend: &str, endpoint: &str) -> Gauge {
        self.endpoint_up.with_label_values(&[backend, endpoint])
    }

    /// Forgets an endpoint that is not there any more.
    pub fn forget_endpoint(&self, backend: &str, endpoint: &str) {
        // It may never have been told of; then there is nothing to forget.
        let _ = self.endpoint_up.remove_label_values(&[backend, endpoint]);
    }

    /// Counts a rate limit decision.
    pub fn rate_limit(&self, limit: &str, verdict: &'static str) {
        self.rate_limit_counter(limit, verdict).inc();
    }

    /// The counter of one decision of a rate limit.
    pub fn rate_limit_counter(&self, limit: &str, verdict: &'static str) -> IntCounter {
        self.rate_limit.with_label_values(&[limit, verdict])
    }

    /// Counts what an authentication said.
    pub fn authentication(&self, authentication: &str, verdict: &'static str) {
        self.authentication
            .with_label_values(&[authentication, verdict])
            .inc();
    }

    /// Counts a WAF verdict.
    pub fn waf_verdict(&self, profile: &str, verdict: &'static str) {
        self.waf.with_label_values(&[profile, verdict]).inc();
    }

    /// Counts a request of which WAF rules did not see a part.
    pub fn waf_not_inspected(&self, rule: &str, part: &'static str, reason: &'static str) {
        self.waf_not_inspected
            .with_label_values(&[rule, part, reason])
            .inc();
    }

    /// What [`Self::waf_not_inspected`] has counted: rule, part, reason and number.
    pub fn all_not_inspected(&self) -> Vec<([String; 3], u64)> {
        series(&self.waf_not_inspected, ["rule", "part", "reason"])
    }

    /// The requests of each rule.
    pub fn requests_of_rules(&self) -> Vec<([String; 1], u64)> {
        series(&self.requests, ["rule"])
    }

    /// Counts a response that was to be compressed.
    pub fn compression(&self, outcome: &'static str) {
        self.compressions.with_label_values(&[outcome]).inc();
    }

    /// The counters of bytes before and after compression.
    pub fn compression_bytes(&self) -> (IntCounter, IntCounter) {
        let counter = |direction| self.compression_bytes.with_label_values(&[direction]);
        (counter("in"), counter("out"))
    }

    /// Counts a copy of a request by what became of it.
    pub fn mirrored(&self, backend: &str, outcome: &'static str) {
        self.mirrored.with_label_values(&[backend, outcome]).inc();
    }

    /// The metrics of a TCP route.
    pub fn tcp_route(&self, route: &str) -> TcpMetrics {
        TcpMetrics {
            route: route.to_owned(),
            connections: self.tcp_connections.clone(),
            open: self.tcp_open.with_label_values(&[route]),
            up: self.tcp_bytes.with_label_values(&[route, "up"]),
            down: self.tcp_bytes.with_label_values(&[route, "down"]),
        }
    }

    /// Forgets the gauge of a TCP route that is gone; its counters stay, since its
    /// last connections may still end.
    pub fn forget_tcp_route(&self, route: &str) {
        // It may never have been told of; then there is nothing to forget.
        let _ = self.tcp_open.remove_label_values(&[route]);
    }

    /// The metrics of a UDP route.
    pub fn udp_route(&self, route: &str) -> UdpMetrics {
        UdpMetrics {
            route: route.to_owned(),
            sessions: self.udp_sessions.clone(),
            dropped: self.udp_dropped.clone(),
            open: self.udp_open.with_label_values(&[route]),
            up: self.udp_bytes.with_label_values(&[route, "up"]),
            down: self.udp_bytes.with_label_values(&[route, "down"]),
        }
    }

    /// Forgets the gauge of a UDP route that is gone, as [`Self::forget_tcp_route`].
    pub fn forget_udp_route(&self, route: &str) {
        // It may never have been told of; then there is nothing to forget.
        let _ = self.udp_open.remove_label_values(&[route]);
    }

    /// Counts an egress decision; `reason` is one of the proxy's reason codes.
    pub fn egress_decision(&self, policy: &str, verdict: &str, reason: &str) {
        let policy = self.egress_policies.of(policy);
        self.egress
            .with_label_values(&[policy, verdict, reason])
            .inc();
    }

    /// Tells how many egress policies have which mode.
    pub fn egress_modes(&self, enforce: usize, report: usize, open: usize) {
        for (mode, count) in [("enforce", enforce), ("report", report), ("open", open)] {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.egress_modes.with_label_values(&[mode]).set(count);
        }
    }

    /// Changes the number of open egress tunnels.
    pub fn egress_tunnels(&self, change: i64) {
        self.egress_tunnels.add(change);
    }

    /// Counts an egress tunnel or plain request that neither side closed; `reason` is one of the
    /// proxy's codes.
    pub fn egress_ended(&self, reason: &'static str) {
        self.egress_ended.with_label_values(&[reason]).inc();
    }

    /// Counts a question to the API server about a token, by its result, and the time that it took
    /// where it had an end.
    pub fn egress_token_review(&self, result: &'static str, took: Option<Duration>) {
        self.egress_token_reviews.with_label_values(&[result]).inc();
        if let Some(took) = took {
            self.egress_token_review_seconds.observe(took.as_secs_f64());
        }
    }

    /// Counts bytes from workloads (`up`) and to them (`down`).
    pub fn egress_bytes(&self, up: u64, down: u64) {
        self.egress_bytes.with_label_values(&["up"]).inc_by(up);
        self.egress_bytes.with_label_values(&["down"]).inc_by(down);
    }

    /// Counts a connection by what became of it.
    pub fn connection(&self, listener: &str, outcome: &'static str) {
        self.connections
            .with_label_values(&[listener, outcome])
            .inc();
    }

    /// Changes the number of open connections.
    pub fn connections_open(&self, listener: &str, change: i64) {
        self.connections_open
            .with_label_values(&[listener])
            .add(change);
    }

    /// Sets the expiry of every certificate there is.
    pub fn certificates<'a>(&self, certificates: impl IntoIterator<Item = (&'a str, i64)>) {
        self.certificate_expiry.set(certificates);
    }

    /// Sets when the OCSP response of each certificate is too old.
    pub fn ocsp_responses<'a>(&self, responses: impl IntoIterator<Item = (&'a str, i64)>) {
        self.ocsp_expiry.set(responses);
    }

    /// Sets when each list of revoked client certificates is too old.
    pub fn revocation_lists<'a>(&self, lists: impl IntoIterator<Item = (&'a PathBuf, i64)>) {
        let lists = lists.into_iter();
        self.crl_expiry
            .set(lists.map(|(file, expiry)| (file.to_string_lossy(), expiry)));
    }

    /// Notes since when objects of each kind are not watched, where they are not.
    pub fn kubernetes_stale(
        &self,
        kinds: impl IntoIterator<Item = (&'static str, Option<SystemTime>)>,
    ) {
        for (kind, since) in kinds {
            let since = since.and_then(|since| since.duration_since(UNIX_EPOCH).ok());
            self.kubernetes_stale
                .with_label_values(&[kind])
                .set(since.map_or(0.0, |since| since.as_secs_f64()));
        }
    }

    /// Notes whether this replica holds the Lease.
    pub fn kubernetes_leads(&self, leads: bool) {
        let no_label: [&str; 0] = [];
        self.kubernetes_leads
            .with_label_values(&no_label)
            .set(f64::from(u8::from(leads)));
    }

    /// Notes what became of the NetworkPolicies of namespaces, all since the start.
    pub fn egress_network_policies(&self, numbers: KeptPolicies) {
        let KeptPolicies {
            kept,
            missing,
            written,
            removed,
            failed,
        } = numbers;
        for (state, number) in [("kept", kept), ("missing", missing)] {
            let number = i64::try_from(number).unwrap_or(i64::MAX);
            self.egress_network_policies
                .with_label_values(&[state])
                .set(number);
        }
        for (result, number) in [
            ("written", written),
            ("removed", removed),
            ("failed", failed),
        ] {
            let counter = self
                .egress_network_policy_writes
                .with_label_values(&[result]);
            counter.inc_by(number.saturating_sub(counter.get()));
        }
    }

    /// Notes how long a load took, whatever became of it.
    pub fn load_took(&self, time: Duration) {
        self.load_seconds.set(time.as_secs_f64());
    }

    /// Notes a load that serves now.
    pub fn load_accepted(&self, version: u64, problems: (usize, usize)) {
        self.reloads.with_label_values(&["accepted"]).inc();
        self.last_reload.set(now());
        self.snapshot
            .set(i64::try_from(version).unwrap_or(i64::MAX));
        self.set_problems(problems);
    }

    /// Notes a load that found nothing new.
    pub fn load_unchanged(&self, problems: (usize, usize)) {
        self.reloads.with_label_values(&["unchanged"]).inc();
        self.set_problems(problems);
    }

    /// Notes that all of what was loaded serves.
    pub fn nothing_refused(&self) {
        self.stale_since.set(0.0);
    }

    /// Notes a load that was refused.
    pub fn load_refused(&self, problems: (usize, usize)) {
        self.reloads.with_label_values(&["refused"]).inc();
        if self.stale_since.get() == 0.0 {
            self.stale_since.set(now());
        }
        self.set_problems(problems);
    }

    /// Sets the number of errors and of warnings that there are now.
    fn set_problems(&self, (errors, warnings): (usize, usize)) {
        self.problems
            .with_label_values(&["error"])
            .set(errors as i64);
        self.problems
            .with_label_values(&["warning"])
            .set(warnings as i64);
    }

    /// Counts log lines that were dropped.
    pub fn log_dropped(&self, log: &'static str, lines: u64) {
        self.log_dropped.with_label_values(&[log]).inc_by(lines);
    }

    /// Writes everything in the Prometheus text format.
    pub fn render(&self) -> String {
        let mut text = Vec::new();
        // Encoding into memory fails only for a family without a name, and ours have one.
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics not rendered");
        }
        String::from_utf8_lossy(&text).into_owned()
    }
}

fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}

fn opts(name: Name) -> Opts {
    Opts::new(name.0, name.1)
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, made: prometheus::Result<C>) -> C {
    let metric = made.expect("names and labels are constants of this file and valid");
    registry
        .register(Box::new(metric.clone()))
        .expect("each name is registered once, in Metrics::new");
    metric
}

/// The series of a counter, summed over every label but these.
fn series<const N: usize>(counter: &IntCounterVec, labels: [&str; N]) -> Vec<([String; N], u64)> {
    let mut sums: BTreeMap<[String; N], u64> = BTreeMap::new();
    for family in counter.collect() {
        for metric in family.get_metric() {
            let pairs = metric.get_label();
            let values = labels.map(|label| {
                let mut pairs = pairs.iter();
                let found = pairs.find(|pair| pair.name() == label);
                found.map_or(String::new(), |pair| pair.value().to_owned())
            });
            // Counters of whole numbers.
            *sums.entry(values).or_default() += metric.get_counter().get_value() as u64;
        }
    }
    sums.into_iter().collect()
}

fn counters(registry: &Registry, name: Name, labels: &[&str]) -> IntCounterVec {
    register(registry, IntCounterVec::new(opts(name), labels))
}

fn gauges(registry: &Registry, name: Name, labels: &[&str]) -> GaugeVec {
    register(registry, GaugeVec::new(opts(name), labels))
}

fn listed(registry: &Registry, name: Name, label: &str) -> Listed {
    Listed::new(gauges(registry, name, &[label]))
}

fn histograms(registry: &Registry, name: Name, labels: &[&str]) -> HistogramVec {
    register(registry, HistogramVec::new(buckets(name), labels))
}

fn buckets(name: Name) -> HistogramOpts {
    HistogramOpts::new(name.0, name.1).buckets(SECONDS.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_labels_are_bounded_whatever_the_client_sends() {
        let metrics = Metrics::new();
        let rule = metrics.rule("shop/0");
        for method in ["GET", "BREW", "X1", "X2", "X3"] {
            rule.observe(
                "http",
                &Method::from_bytes(method.as_bytes()).unwrap(),
                299,
                Duration::from_millis(3),
            );
        }
        rule.observe("http", &Method::GET, 0, Duration::ZERO);
        rule.observe("http", &Method::GET, 999, Duration::ZERO);
        let text = metrics.render();
        assert!(text.contains(r#"portcullis_requests_total{listener="http",method="OTHER",rule="shop/0",status="2xx"} 4"#));
        assert!(!text.contains("BREW"));
        assert_eq!(text.matches("portcullis_requests_total{").count(), 4);
    }

    #[test]
    fn series_of_removed_rules_go() {
        let metrics = Metrics::new();
        metrics
            .rule("old/0")
            .observe("http", &Method::GET, 200, Duration::ZERO);
        metrics
            .rule("new/0")
            .observe("http", &Method::GET, 200, Duration::ZERO);
        let old = metrics.rule("old/0");
        metrics.keep_rules(|rule| rule == "new/0", |_| true);
        // What ends now counts for nobody.
        old.observe("http", &Method::POST, 500, Duration::ZERO);
        let text = metrics.render();
        assert!(!text.contains("old/0"), "{text}");
        assert!(text.contains("new/0"));
    }

    #[test]
    fn series_of_removed_listeners_go() {
        let metrics = Metrics::new();
        let rule = metrics.rule("shop/0");
        for listener in ["old", "new"] {
            rule.observe(listener, &Method::GET, 200, Duration::ZERO);
            metrics.unrouted(listener, &Method::GET, 404, Duration::ZERO);
        }
        metrics.keep_rules(|_| true, |listener| listener == "new");
        let text = metrics.render();
        assert!(!text.contains("\"old\""), "{text}");
        assert_eq!(text.matches("portcullis_requests_total{").count(), 2);
        // What a connection of it counts still is counted.
        rule.observe("old", &Method::GET, 200, Duration::ZERO);
        assert!(metrics.render().contains("\"old\""));
    }

    #[test]
    fn series_of_removed_backends_go() {
        let metrics = Metrics::new();
        for name in ["old", "new"] {
            let backend = metrics.backend(name);
            backend.finished(Some(Duration::ZERO));
            backend.retry(true);
            backend.looked_up(false);
            backend.pending().inc();
            backend.connections().inc();
        }
        let (asked, idle) = (metrics.backend("old"), metrics.backend("old-idle"));
        metrics.keep_backends(|backend| backend == "new");
        // What ends now counts for nobody.
        for gone in [asked, idle] {
            gone.finished(None);
            gone.pending().inc();
        }
        let text = metrics.render();
        assert!(!text.contains("\"old"), "{text}");
        assert!(text.matches("backend=\"new\"").count() > 7);
    }

    #[test]
    fn a_refused_load_is_stale_since_the_first_refusal() {
        let metrics = Metrics::new();
        metrics.load_refused((2, 0));
        let since = metrics.stale_since.get();
        assert!(since > 0.0);
        metrics.load_refused((1, 0));
        assert_eq!(metrics.stale_since.get(), since);
        metrics.load_accepted(7, (0, 0));
        metrics.nothing_refused();
        assert_eq!(metrics.stale_since.get(), 0.0);
        assert!(metrics.render().contains("portcullis_config_snapshot 7"));
    }
}
