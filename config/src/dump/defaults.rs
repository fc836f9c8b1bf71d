//! Values that a document leaves out, from the model that was made of it.
//!
//! The model has the items of the document in its order, since only a document
//! without errors has a model that serves.

use std::sync::Arc;

use super::{
    waf::{fill_waf_profile, route_waf},
    workloads::fill_workloads,
};
use crate::{
    cors::{Allowed, Origins},
    document::{
        AccessAddress, Admin, Affinity, Authentication, Backend, BackendProtocol, ByteSize,
        ClientCertificates, Compression, Cors, Document, Duration, Egress, EgressEntry,
        EgressLimits, EgressQuota, EgressRule, ExternalAuthentication, LimitMode, Listener,
        ListenerLimits, ListenerProtocol, ListenerTls, Logs, Management, Match, MinBodyRate,
        MirrorBody, PathMatch, Policies, Process, RateLimit, RateLimitKey, Resolver,
        ResponseBandwidth, Retries, ReviewCache, RouteWaf, Rule, TcpRoute, Timeouts, TokenReview,
        UdpRoute,
    },
    model::{self, Model, PageContent},
};

/// Fills in everything that the document does not say.
pub(super) fn fill(document: &mut Document, model: &Model) {
    for (listener, meant) in document.listeners.iter_mut().zip(&model.listeners) {
        fill_listener(listener, meant);
    }
    // What a TLS policy leaves out is as each listener has it, which cannot be written.
    for (policy, meant) in document.tls_policies.iter_mut().zip(&model.tls_policies) {
        let meant = meant.client_certificates.as_ref();
        fill_client_certificates(
            policy.client_certificates.as_mut(),
            meant.and_then(Option::as_ref),
        );
    }
    for list in &mut document.access_lists {
        list.address.get_or_insert(AccessAddress::default());
    }
    for (limit, meant) in document.rate_limits.iter_mut().zip(&model.rate_limits) {
        fill_rate_limit(limit, meant);
    }
    for (authentication, meant) in document
        .authentications
        .iter_mut()
        .zip(&model.authentications)
    {
        fill_authentication(authentication, meant);
    }
    for (profile, meant) in document.waf_profiles.iter_mut().zip(&model.waf_profiles) {
        fill_waf_profile(profile, meant);
    }
    let meant = model.error_pages.iter().flat_map(|set| &set.pages);
    let pages = document.error_pages.iter_mut();
    for (page, meant) in pages.flat_map(|set| &mut set.pages).zip(meant) {
        if let (Some(backend), PageContent::Asked(asked)) = (&mut page.backend, &meant.content) {
            backend.path.get_or_insert_with(|| asked.path.clone());
            backend.timeout.get_or_insert(Duration(asked.timeout));
            continue;
        }
        page.content_type
            .get_or_insert_with(|| "text/html; charset=utf-8".into());
    }
    for (backend, meant) in document.backends.iter_mut().zip(&model.backends) {
        fill_backend(Arc::make_mut(backend), meant);
    }
    for (route, meant) in document.routes.iter_mut().zip(&model.routes) {
        let route = Arc::make_mut(route);
        for (rule, (_, meant)) in route.rules.iter_mut().zip(&meant.rules) {
            fill_rule(rule, meant);
        }
    }
    for (route, meant) in document.tcp_routes.iter_mut().zip(&model.tcp_routes) {
        fill_tcp_route(route, meant);
    }
    for (route, meant) in document.udp_routes.iter_mut().zip(&model.udp_routes) {
        fill_udp_route(route, meant);
    }
    if let (Some(egress), Some(meant)) = (&mut document.egress, &model.egress) {
        fill_egress(egress, meant);
    }
    let Resolver {
        servers: _,
        timeout,
        min_ttl,
        max_ttl,
    } = document.resolver.get_or_insert_default();
    timeout.get_or_insert(Duration(model.resolver.timeout));
    min_ttl.get_or_insert(Duration(model.resolver.min_ttl));
    max_ttl.get_or_insert(Duration(model.resolver.max_ttl));
    fill_process(document, &model.process);
}

fn fill_listener(listener: &mut Listener, meant: &model::Listener) {
    listener
        .address
        .get_or_insert_with(|| meant.address.to_string());
    if listener.protocol == ListenerProtocol::Https {
        fill_tls(listener.tls.get_or_insert_default(), &meant.tls.settings);
    }
    let limits = &meant.limits;
    let ListenerLimits {
        max_connections,
        max_connections_per_address,
        proxy_header_timeout,
        handshake_timeout,
        max_client_hello_size,
        header_timeout,
        idle_timeout,
        max_header_size,
        max_headers,
        max_connection_age,
        max_requests_per_connection,
        max_streams,
    } = listener.limits.get_or_insert_default();
    max_connections.get_or_insert(limits.max_connections);
    max_connections_per_address.get_or_insert(limits.max_connections_per_address);
    proxy_header_timeout.get_or_insert(Duration(limits.proxy_header_timeout));
    handshake_timeout.get_or_insert(Duration(limits.handshake_timeout));
    max_client_hello_size.get_or_insert(ByteSize(limits.max_client_hello_size));
    header_timeout.get_or_insert(Duration(limits.header_timeout));
    idle_timeout.get_or_insert(Duration(limits.idle_timeout));
    max_header_size.get_or_insert(ByteSize(limits.max_header_size));
    max_headers.get_or_insert(limits.max_headers);
    max_connection_age.get_or_insert(Duration(limits.max_connection_age));
    max_requests_per_connection.get_or_insert(limits.max_requests_per_connection);
    max_streams.get_or_insert(limits.max_streams);
}

fn fill_tls(tls: &mut ListenerTls, settings: &model::TlsSettings) {
    tls.min_version.get_or_insert(settings.min_version);
    tls.max_version.get_or_insert(settings.max_version);
    tls.cipher_suites
        .get_or_insert_with(|| settings.cipher_suites.clone());
    // None is offered for what has no name there, and an empty list cannot be written.
    if !settings.alpn.is_empty() {
        tls.alpn.get_or_insert_with(|| settings.alpn.clone());
    }
    fill_client_certificates(
        tls.client_certificates.as_mut(),
        settings.client_certificates.as_ref(),
    );
}

fn fill_client_certificates(
    wanted: Option<&mut ClientCertificates>,
    meant: Option<&model::ClientCertificates>,
) {
    if let (Some(wanted), Some(meant)) = (wanted, meant) {
        if let Some(trust) = &meant.trust {
            wanted.max_depth.get_or_insert(trust.max_depth);
        }
        // The egress proxy has no backend to tell, and no list of it.
        if !meant.headers.is_empty() {
            wanted.headers.get_or_insert_with(|| meant.headers.clone());
        }
    }
}

fn fill_rate_limit(limit: &mut RateLimit, meant: &model::RateLimit) {
    limit.burst.get_or_insert(meant.burst);
    limit.key.get_or_insert(RateLimitKey::Client);
    limit.status.get_or_insert(meant.status);
    limit.max_keys.get_or_insert(meant.max_keys);
    limit.mode.get_or_insert(LimitMode::default());
    limit
        .max_retry_after
        .get_or_insert(Duration(meant.max_retry_after));
}

fn fill_authentication(authentication: &mut Authentication, meant: &model::Authentication) {
    authentication.preflight.get_or_insert(meant.preflight);
    match &meant.method {
        model::AuthenticationMethod::Basic(meant) => {
            if let Some(basic) = &mut authentication.basic {
                basic.realm.get_or_insert_with(|| meant.realm.clone());
                basic
                    .forward_credentials
                    .get_or_insert(meant.forward_credentials);
            }
        }
        model::AuthenticationMethod::External(meant) => {
            if let Some(external) = &mut authentication.external {
                fill_external(external, meant);
            }
        }
    }
}

fn fill_external(external: &mut ExternalAuthentication, meant: &model::External) {
    external
        .method
        .get_or_insert_with(|| meant.method.to_string());
    external.timeout.get_or_insert(Duration(meant.timeout));
    if let (Some(cache), Some(meant)) = (&mut external.cache, &meant.cache) {
        cache.time.get_or_insert(Duration(meant.time));
        cache
            .refused_time
            .get_or_insert(Duration(meant.refused_time));
        cache.max_entries.get_or_insert(meant.max_entries);
        let key = cache.key.get_or_insert_default();
        key.method.get_or_insert(meant.key.method);
        key.host.get_or_insert(meant.key.host);
        key.path.get_or_insert(meant.key.path);
        key.client.get_or_insert(meant.key.client);
    }
}

fn fill_backend(backend: &mut Backend, meant: &model::Backend) {
    backend.protocol.get_or_insert(BackendProtocol::default());
    for (endpoint, meant) in backend.endpoints.iter_mut().zip(&meant.endpoints) {
        endpoint.weight.get_or_insert(meant.weight);
    }
    backend.keepalive.get_or_insert(Duration(meant.keepalive));
    backend.local_addresses.get_or_insert(meant.local_addresses);
    backend.balance.get_or_insert_default();
    if let Some(affinity) = &mut backend.affinity {
        fill_affinity(affinity);
    }
    let ejection = backend.ejection.get_or_insert_default();
    ejection.failures.get_or_insert(meant.ejection.failures);
    ejection.time.get_or_insert(Duration(meant.ejection.time));
    ejection
        .max_ejected
        .get_or_insert(meant.ejection.max_ejected);
    let limits = backend.limits.get_or_insert_default();
    limits
        .max_connections
        .get_or_insert(meant.limits.max_connections);
    limits.max_requests.get_or_insert(meant.limits.max_requests);
    limits.max_pending.get_or_insert(meant.limits.max_pending);
    limits
        .pending_timeout
        .get_or_insert(Duration(meant.limits.pending_timeout));
    let budget = backend.retry_budget.get_or_insert_default();
    budget.percent.get_or_insert(meant.retry_budget.percent);
    budget
        .min_per_second
        .get_or_insert(meant.retry_budget.min_per_second);
    backend.slow_start.get_or_insert(Duration(meant.slow_start));
    if let (Some(health), Some(meant)) = (&mut backend.health, &meant.health) {
        health.interval.get_or_insert(Duration(meant.interval));
        health.timeout.get_or_insert(Duration(meant.timeout));
        health.unhealthy_after.get_or_insert(meant.unhealthy_after);
        health.healthy_after.get_or_insert(meant.healthy_after);
    }
}

fn fill_affinity(affinity: &mut Affinity) {
    affinity.path.get_or_insert_with(|| "/".into());
    affinity.http_only.get_or_insert(true);
    affinity.same_site.get_or_insert_default();
}

fn fill_rule(rule: &mut Rule, meant: &model::Rule) {
    if rule.matches.is_empty() {
        rule.matches.push(Match::default());
    }
    for found in &mut rule.matches {
        found
            .path
            .get_or_insert_with(|| PathMatch::Prefix("/".into()));
    }
    rule.policies = Some(Box::new(policies(&meant.policies)));
    match &meant.action {
        model::Action::Redirect(meant) => {
            if let Some(redirect) = &mut rule.redirect {
                redirect.status.get_or_insert(meant.status);
            }
        }
        model::Action::Respond(meant) => {
            if let Some(respond) = &mut rule.respond {
                respond.status.get_or_insert(meant.status);
            }
        }
        model::Action::Forward(meant) => {
            for (backend, (_, weight)) in rule.backends.iter_mut().zip(meant) {
                backend.weight.get_or_insert(*weight);
            }
        }
    }
    if let (Some(canary), Some(meant)) = (&mut rule.canary, &meant.canary) {
        canary.weight.get_or_insert(meant.weight);
        canary.weight_total.get_or_insert(meant.total);
    }
    if let Some(sticky) = &mut rule.sticky {
        fill_affinity(sticky);
    }
    for (mirror, meant) in rule.mirrors.iter_mut().zip(&meant.mirrors) {
        mirror.percent.get_or_insert(100.0);
        if meant.copies_body {
            mirror.request_body.get_or_insert(MirrorBody::Copy);
            mirror
                .max_body_size
                .get_or_insert(ByteSize(meant.max_body_size));
        }
    }
}

/// The policies of a rule with all that it inherits.
fn policies(meant: &model::Policies) -> Policies {
    let names = |names: &mut dyn Iterator<Item = &String>| Some(names.cloned().collect());
    let timeouts = &meant.timeouts;
    Policies {
        access: names(&mut meant.access.iter().map(|list| &list.name)),
        authentication: names(&mut meant.authentication.iter().map(|wanted| &wanted.name)),
        satisfy: Some(meant.satisfy),
        rate_limits: names(&mut meant.rate_limits.iter().map(|limit| &limit.name)),
        https: Some(meant.https),
        max_body_size: Some(ByteSize(meant.max_body_size.unwrap_or(0))),
        encoded_slashes: Some(meant.encoded_slashes),
        waf: Some(
            meant
                .waf
                .as_deref()
                .map_or_else(RouteWaf::default, route_waf),
        ),
        error_pages: names(&mut meant.error_pages.iter().map(|set| &set.name)),
        retries: Some(Retries {
            attempts: Some(meant.retries.attempts),
            on: Some(meant.retries.on.clone()),
            statuses: Some(meant.retries.statuses.clone()),
        }),
        cors: Some(meant.cors.as_deref().map_or_else(Cors::default, cors)),
        compression: Some(
            meant
                .compression
                .as_deref()
                .map_or_else(Compression::default, compression),
        ),
        response_bandwidth: Some(ResponseBandwidth {
            rate: Some(ByteSize(meant.response_bandwidth.rate)),
            after: Some(ByteSize(meant.response_bandwidth.after)),
        }),
        min_body_rate: Some(MinBodyRate {
            rate: Some(ByteSize(meant.min_body_rate.rate)),
            grace: Some(Duration(meant.min_body_rate.grace)),
        }),
        timeouts: Some(Timeouts {
            request: Some(Duration(timeouts.request.unwrap_or_default())),
            backend_request: Some(Duration(timeouts.backend_request.unwrap_or_default())),
            connect: Some(Duration(timeouts.connect)),
            read: Some(Duration(timeouts.read)),
            write: Some(Duration(timeouts.write)),
            client_read: Some(Duration(timeouts.client_read)),
            client_write: Some(Duration(timeouts.client_write)),
        }),
    }
}

/// A cross-origin policy; `{}` where there is none.
fn cors(meant: &model::Cors) -> Cors {
    let names = |allowed: &Allowed| match allowed {
        Allowed::Any => vec!["*".to_owned()],
        Allowed::Listed(value) => {
            let value = value.to_str().unwrap_or_default();
            value.split(", ").map(str::to_owned).collect()
        }
    };
    Cors {
        allow_origins: Some(match &meant.origins {
            Origins::Any => vec!["*".to_owned()],
            Origins::Listed(patterns) => patterns.iter().map(ToString::to_string).collect(),
        }),
        allow_methods: Some(names(&meant.methods)),
        allow_headers: Some(meant.headers.as_ref().map(names).unwrap_or_default()),
        expose_headers: Some(meant.expose.as_ref().map(names).unwrap_or_default()),
        allow_credentials: Some(meant.credentials),
        max_age: Some(Duration(meant.max_age)),
    }
}

/// A compression policy; `{}` where there is none.
fn compression(meant: &model::Compression) -> Compression {
    Compression {
        algorithms: Some(meant.algorithms.clone()),
        types: Some(meant.types.iter().map(ToString::to_string).collect()),
        min_size: Some(ByteSize(meant.min_size)),
        level: Some(meant.level),
        credentials: Some(meant.credentials),
    }
}

fn fill_tcp_route(route: &mut TcpRoute, meant: &model::TcpRoute) {
    route.max_connections.get_or_insert(meant.max_connections);
    let timeouts = route.timeouts.get_or_insert_default();
    timeouts.connect.get_or_insert(Duration(meant.connect));
    timeouts.idle.get_or_insert(Duration(meant.idle));
    for (backend, (_, weight)) in route.backends.iter_mut().zip(&meant.backends) {
        backend.weight.get_or_insert(*weight);
    }
}

fn fill_udp_route(route: &mut UdpRoute, meant: &model::UdpRoute) {
    route.max_sessions.get_or_insert(meant.max_sessions);
    route
        .max_datagram_size
        .get_or_insert(ByteSize(meant.max_datagram_size));
    route.responses.get_or_insert(meant.responses);
    let timeouts = route.timeouts.get_or_insert_default();
    timeouts.idle.get_or_insert(Duration(meant.idle));
    for (backend, (_, weight)) in route.backends.iter_mut().zip(&meant.backends) {
        backend.weight.get_or_insert(*weight);
    }
}

fn fill_token_review(review: &mut TokenReview, meant: &model::TokenReview) {
    let TokenReview {
        timeout,
        max_concurrent,
        cache,
    } = review;
    timeout.get_or_insert(Duration(meant.timeout));
    max_concurrent.get_or_insert(meant.max_concurrent);
    let ReviewCache {
        time,
        refused_time,
        max_entries,
    } = cache.get_or_insert_default();
    time.get_or_insert(Duration(meant.cache_time));
    refused_time.get_or_insert(Duration(meant.refused_cache_time));
    max_entries.get_or_insert(meant.cache_entries);
}

fn fill_egress(egress: &mut Egress, meant: &model::Egress) {
    for (listener, meant) in egress.listeners.iter_mut().zip(&meant.listeners) {
        let address = || meant.address.to_string();
        listener.address.get_or_insert_with(address);
        listener.protocol.get_or_insert(meant.protocol);
        if let (Some(tls), Some(meant)) = (&mut listener.tls, &meant.tls) {
            fill_tls(tls, &meant.settings);
        }
    }
    let resolver = egress.resolver.get_or_insert_default();
    resolver.timeout.get_or_insert(Duration(meant.dns_timeout));
    resolver
        .cache_entries
        .get_or_insert(meant.dns_cache_entries);
    if let (Some(identity), Some(meant)) = (&mut egress.identity, &meant.identity) {
        identity.level.get_or_insert(meant.level);
        if let (Some(tokens), Some(meant)) = (&mut identity.service_account_tokens, &meant.tokens) {
            let skew = Duration(meant.settings.clock_skew);
            tokens.clock_skew.get_or_insert(skew);
            if let (Some(review), Some(meant)) = (&mut tokens.token_review, meant.review()) {
                fill_token_review(review, meant);
            }
        }
        if let (Some(pods), Some(max_stale)) = (&mut identity.pods, meant.pods_max_stale) {
            pods.max_stale.get_or_insert(Duration(max_stale));
        }
    }
    if let (Some(inspection), Some(meant)) = (&mut egress.inspection, &meant.inspection) {
        let lifetime = Duration(meant.certificate_lifetime);
        inspection
            .max_certificates
            .get_or_insert(meant.max_certificates);
        inspection.certificate_lifetime.get_or_insert(lifetime);
        inspection.max_streams.get_or_insert(meant.max_streams);
    }
    if let (Some(workloads), Some(meant)) = (&mut egress.workloads, &meant.workloads) {
        fill_workloads(workloads, meant);
    }
    let proxies = egress.upstream_proxies.iter_mut();
    for (proxy, meant) in proxies.zip(&meant.upstream_proxies) {
        let timeout = Duration(meant.answer_timeout);
        proxy.resolve.get_or_insert(meant.resolve);
        proxy.answer_timeout.get_or_insert(timeout);
        proxy.destinations.get_or_insert_with(|| vec!["*".into()]);
    }
    let limits = &meant.limits;
    let EgressLimits {
        max_connections,
        max_streams,
        handshake_timeout,
        head_timeout,
        max_head_size,
        connect_timeout,
        client_hello_timeout,
        max_client_hello_size,
        idle_timeout,
        max_lifetime,
        max_quota_counts,
    } = egress.limits.get_or_insert_default();
    max_connections.get_or_insert(limits.max_connections);
    max_streams.get_or_insert(limits.max_streams);
    handshake_timeout.get_or_insert(Duration(limits.handshake_timeout));
    head_timeout.get_or_insert(Duration(limits.head_timeout));
    max_head_size.get_or_insert(ByteSize(limits.max_head_size));
    connect_timeout.get_or_insert(Duration(limits.connect_timeout));
    client_hello_timeout.get_or_insert(Duration(limits.client_hello_timeout));
    max_client_hello_size.get_or_insert(ByteSize(limits.max_client_hello_size));
    idle_timeout.get_or_insert(Duration(limits.idle_timeout));
    max_lifetime.get_or_insert(Duration(limits.max_lifetime));
    max_quota_counts.get_or_insert(limits.max_quota_counts);
    let floors = egress.cluster_policies.iter_mut();
    let floors = floors.zip(meant.cluster_policies.iter());
    let policies = egress.policies.iter_mut().zip(meant.policies.iter());
    for (policy, meant) in floors.chain(policies) {
        policy.mode.get_or_insert(meant.mode);
        policy
            .encrypted_client_hello
            .get_or_insert(meant.encrypted_client_hello);
        fill_quota(policy.quota.as_mut(), meant.quota);
        // An entry of `deny` without ports means every port, which cannot be written.
        for (entry, meant) in policy.allow.iter_mut().zip(meant.allow.iter()) {
            fill_entry(entry, meant);
        }
        if let (Some(delegate), Some(meant)) = (&mut policy.delegate, &meant.delegate) {
            delegate.modes.get_or_insert_with(|| meant.modes.clone());
            let entries = delegate.allow.iter_mut().flatten();
            for (entry, meant) in entries.zip(meant.allow.iter().flat_map(|rules| rules.iter())) {
                fill_entry(entry, meant);
            }
        }
    }
}

fn fill_entry(entry: &mut EgressEntry, meant: &model::EgressRule) {
    if let EgressEntry::Host(host) = entry {
        *entry = EgressEntry::Rule(EgressRule {
            host: Some(std::mem::take(host)),
            ..EgressRule::default()
        });
    }
    if let EgressEntry::Rule(rule) = entry {
        rule.ports.get_or_insert_with(|| meant.ports.clone());
        let inject = meant.inspection.as_ref();
        let inject = inject.and_then(|inspection| inspection.inject.as_ref());
        if let (Some(inject), Some(meant)) = (&mut rule.inject, inject) {
            let credential = meant.client_credential;
            inject.client_credential.get_or_insert(credential);
        }
        fill_quota(rule.quota.as_deref_mut(), meant.quota);
    }
}

/// A quota without bytes has no window.
fn fill_quota(quota: Option<&mut EgressQuota>, meant: Option<model::EgressQuota>) {
    if let (Some(quota), Some(meant)) = (quota, meant)
        && quota.bytes_out.is_some()
    {
        quota.window.get_or_insert(Duration(meant.window));
    }
}

fn fill_process(document: &mut Document, meant: &model::Process) {
    let Management { address } = document.management.get_or_insert_default();
    address.get_or_insert_with(|| meant.management.to_string());
    let Admin {
        address,
        audit_records,
        audit_bytes,
    } = document.admin.get_or_insert_default();
    address.get_or_insert_with(|| meant.admin.to_string());
    audit_records.get_or_insert(meant.audit_records);
    audit_bytes.get_or_insert(ByteSize(meant.audit_bytes));
    let Logs { access, audit, .. } = document.logs.get_or_insert_default();
    access.get_or_insert_with(|| meant.access_log.to_string());
    audit.get_or_insert_with(|| meant.audit_log.to_string());
    let Process {
        drain_timeout,
        max_buffered_bytes,
        max_compressions,
        max_mirrored,
        max_udp_sessions,
        max_relay_pipes,
    } = document.process.get_or_insert_default();
    drain_timeout.get_or_insert(Duration(meant.drain_timeout));
    max_buffered_bytes.get_or_insert(ByteSize(meant.max_buffered_bytes));
    max_compressions.get_or_insert(meant.max_compressions);
    max_mirrored.get_or_insert(meant.max_mirrored);
    max_udp_sessions.get_or_insert(meant.max_udp_sessions);
    max_relay_pipes.get_or_insert(meant.max_relay_pipes);
}
