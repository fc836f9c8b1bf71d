//! Model to snapshot.

use std::{
    collections::{HashMap, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use arc_swap::ArcSwap;
use hickory_resolver::{TokioResolver, config::LookupIpStrategy};

use portcullis_config::{
    model::{Action, Backend, Endpoint, EndpointAddress, ErrorPages, Mirror, Model, Rule},
    problem::{Problem, Severity},
    read::Origins,
    route::RouteTable,
    validate::Made,
};
use portcullis_waf::SecretNames;

use super::{
    CompiledBackend, CompiledEgress, CompiledErrorPages, CompiledMirror, CompiledRule, Live, Reads,
    RuleLimiter, Snapshot, Sticky, Targets, TcpRoutes, UdpRoutes,
    affinity::Namer,
    authentication::{Authentications, authentication, identity_headers},
    upstream_tls,
    waf::WafRuleSets,
};
use crate::{
    dns::{self, Dns},
    telemetry::Metrics,
};

/// Number of the next compiled backend; 0 is none.
static NUMBER: AtomicU64 = AtomicU64::new(1);

/// Compiles a model.
///
/// Reads the files that the model names (WAF rules, backend CAs) through `reads`.
/// The snapshot is the first until its version is set. What did not change since `before`, which
/// serves, is shared with it.
///
/// # Errors
/// Every problem of those files, placed at the item that names them. What is only
/// to be warned of comes with the snapshot.
pub fn compile(
    (made, model): (Made, Model),
    before: Option<&Snapshot>,
    origins: &Origins,
    (live, metrics): (&Live, &Metrics),
    reads: &Reads,
) -> Result<(Snapshot, Vec<Problem>), Vec<Problem>> {
    let document = Arc::clone(made.document());
    let mut problems = Vec::new();
    let mut tell = |severity, path: String, reason: String| {
        problems.push(Problem::new(severity, origins.locate(&path), path, reason));
    };

    let waf_rule_sets = WafRuleSets::compile(&document, &model, live, reads, &mut tell);

    let before_backends = before.map_or(&[][..], Snapshot::backends);
    let before_backends: HashMap<usize, &Arc<CompiledBackend>> = before_backends
        .iter()
        .map(|known| (Arc::as_ptr(&known.backend).addr(), known))
        .collect();
    let mut backends: HashMap<String, Arc<CompiledBackend>> = HashMap::new();
    for (index, backend) in model.backends.iter().enumerate() {
        let known = before_backends.get(&Arc::as_ptr(backend).addr());
        if let Some(known) = known.filter(|known| !known.reads_files()) {
            backends.insert(backend.name.clone(), Arc::clone(known));
            continue;
        }
        match compile_backend(backend, live, metrics, reads) {
            Ok(compiled) => {
                backends.insert(backend.name.clone(), Arc::new(compiled));
            }
            Err((field, reason)) => tell(
                Severity::Error,
                format!("backends[{index}].{field}"),
                reason,
            ),
        }
    }
    let mut authentications = Authentications::new();
    for (index, settings) in model.authentications.iter().enumerate() {
        let place = format!("authentications[{index}]");
        match authentication(settings, &backends, live, reads) {
            Ok(made) => {
                if made.authenticator.is_of_nobody() {
                    let reason = "the file names no user: nobody passes";
                    tell(
                        Severity::Warning,
                        format!("{place}.basic.users"),
                        reason.into(),
                    );
                }
                authentications.insert(settings.name.clone(), made);
            }
            Err((key, reasons)) => {
                for reason in reasons {
                    tell(Severity::Error, format!("{place}{key}"), reason);
                }
            }
        }
    }
    let mut error_pages: HashMap<&str, Arc<CompiledErrorPages>> = HashMap::new();
    for (index, set) in model.error_pages.iter().enumerate() {
        match CompiledErrorPages::compile(set, &backends, reads) {
            Ok(compiled) => {
                error_pages.insert(&set.name, Arc::new(compiled));
            }
            Err(errors) => {
                for (page, reason) in errors {
                    let place = format!("errorPages[{index}].pages[{page}].file");
                    tell(Severity::Error, place, reason);
                }
            }
        }
    }
    let pages_of = |sets: &[Arc<ErrorPages>]| {
        let found = sets.iter().filter_map(|set| error_pages.get(&*set.name));
        found.cloned().collect::<Vec<_>>()
    };
    let mut stickies: HashMap<String, Sticky> = HashMap::new();
    for (route_index, route) in model.routes.iter().enumerate() {
        for (index, (_, rule)) in route.rules.iter().enumerate() {
            match Sticky::compile(rule, &backends, live, reads) {
                Ok(sticky) => stickies.extend(sticky.map(|sticky| (rule.id.clone(), sticky))),
                Err(reason) => {
                    let place = format!("routes[{route_index}].rules[{index}].sticky.secret");
                    tell(Severity::Error, place, reason);
                }
            }
        }
    }
    let dns = match names_resolver(&backends, &model) {
        Ok(dns) => dns,
        Err(reason) => {
            tell(Severity::Error, "resolver".into(), reason);
            None
        }
    };
    let egress = model.egress.as_ref();
    let egress = egress.map(|egress| CompiledEgress::compile(egress, before, reads, &mut tell));
    if problems
        .iter()
        .any(|problem| problem.severity == Severity::Error)
    {
        return Err(problems);
    }

    let same_secrets = before.filter(|known| known.model.process.secrets == model.process.secrets);
    let secrets = match same_secrets {
        Some(before) => Arc::clone(&before.secrets),
        None => Arc::new(SecretNames::new(&model.process.secrets)),
    };
    let mut limiters = HashMap::new();
    let mut rules = HashMap::new();
    let numbered = model.routes.iter().enumerate().flat_map(|(route, wanted)| {
        let rules = wanted.rules.iter().enumerate();
        rules.map(move |(index, (_, rule))| ((route, index), rule))
    });
    for (place, rule) in numbered {
        let waf = rule.policies.waf.as_deref();
        let waf =
            waf.and_then(|waf| waf_rule_sets.of((place, waf), &document, &model, live, &secrets));
        let known = before.and_then(|before| before.rule(&rule.id));
        if let Some(known) = known.filter(|known| known.is_still(rule, &backends, waf.as_ref())) {
            rules.insert(rule.id.clone(), Arc::clone(known));
            continue;
        }
        let mut rule_limiters = Vec::new();
        for limit in &rule.policies.rate_limits {
            let limiter = limiters
                .entry(limit.name.clone())
                .or_insert_with(|| live.limiter(limit));
            rule_limiters.push(RuleLimiter {
                limiter: Arc::clone(limiter),
                allowed: metrics.rate_limit_counter(&limit.name, "allow"),
            });
        }
        let compiled = CompiledRule {
            targets: targets(rule, &backends, live),
            authentications: rule
                .policies
                .authentication
                .iter()
                .filter_map(|wanted| authentications.get(&wanted.name).cloned())
                .collect(),
            identity_headers: identity_headers(&model, rule),
            canary: rule
                .canary
                .as_ref()
                .and_then(|canary| backends.get(&canary.backend.name).cloned()),
            sticky: stickies.remove(&rule.id),
            mirrors: mirrors(rule, &backends),
            limiters: rule_limiters,
            waf,
            error_pages: pages_of(&rule.policies.error_pages),
            metrics: metrics.rule(&rule.id),
            rule: Arc::clone(rule),
        };
        rules.insert(rule.id.clone(), Arc::new(compiled));
    }

    let egress = egress.flatten().map(|egress| {
        egress.with_wafs(|name| waf_rule_sets.of_profile(name, &model, live, &secrets))
    });
    let snapshot = Snapshot {
        version: 1,
        secrets,
        hash: String::new(),
        built: SystemTime::now(),
        made,
        document_hash: None,
        yaml: OnceLock::new(),
        routes: RouteTable::new(&model.routes),
        tcp_routes: TcpRoutes::compile(&model, &backends, live, metrics),
        udp_routes: UdpRoutes::compile(&model, &backends, live, metrics),
        error_pages: pages_of(&model.default_error_pages),
        egress: egress.map(Arc::new),
        model,
        rules,
        backends: backends.into_values().collect(),
        authenticators: authentications
            .into_values()
            .map(|made| made.authenticator)
            .collect(),
        dns,
        rule_sets: waf_rule_sets,
    };
    Ok((snapshot, problems))
}

fn targets(
    rule: &Rule,
    backends: &HashMap<String, Arc<CompiledBackend>>,
    live: &Live,
) -> Option<Targets> {
    let Action::Forward(forward) = &rule.action else {
        return None;
    };
    let balancer = live.balancer(format!("rule:{}", rule.id));
    Some(Targets::new(forward, backends, balancer))
}

/// What looks up named endpoints, where there are such.
fn names_resolver(
    backends: &HashMap<String, Arc<CompiledBackend>>,
    model: &Model,
) -> Result<Option<TokioResolver>, String> {
    if !backends.values().any(|backend| backend.has_names()) {
        return Ok(None);
    }
    let settings = &model.resolver;
    let dns = Dns {
        servers: &settings.servers,
        timeout: settings.timeout,
        // Each name is asked for when its answer has run out.
        cache_entries: 0,
        // Each family is asked for by itself, in `upstream/names.rs`.
        families: LookupIpStrategy::Ipv4thenIpv6,
    };
    dns::resolver(&dns).map(Some)
}

fn mirrors(rule: &Rule, backends: &HashMap<String, Arc<CompiledBackend>>) -> Vec<CompiledMirror> {
    let compile = |mirror: &Mirror| {
        Some(CompiledMirror {
            backend: Arc::clone(backends.get(&mirror.backend.name)?),
            per_million: mirror.per_million,
            copies_body: mirror.copies_body,
            max_body_size: mirror.max_body_size,
        })
    };
    rule.mirrors.iter().filter_map(compile).collect()
}

fn compile_backend(
    backend: &Arc<Backend>,
    live: &Live,
    metrics: &Metrics,
    reads: &Reads,
) -> Result<CompiledBackend, (&'static str, String)> {
    // A connection that was verified in one way, or speaks one protocol, must not
    // serve a backend with another.
    let mut key = DefaultHasher::new();
    backend.name.hash(&mut key);
    backend.protocol.hash(&mut key);
    let tls = match &backend.tls {
        Some(tls) => Some(upstream_tls::compile(
            tls,
            backend.protocol,
            reads,
            &mut key,
        )?),
        None => None,
    };
    let namer = match &backend.affinity {
        Some(affinity) => Some(
            Namer::new(
                &backend.name,
                affinity.secret.as_deref(),
                &live.affinity_key,
                reads,
            )
            .map_err(|reason| ("affinity.secret", reason))?,
        ),
        None => None,
    };
    let state = live.backend(&backend.name);
    let named = |endpoint: &Endpoint| matches!(endpoint.address, EndpointAddress::Name { .. });
    Ok(CompiledBackend {
        endpoints: ArcSwap::from_pointee(state.endpoints(backend, namer.as_ref())),
        state,
        namer,
        number: NUMBER.fetch_add(1, Ordering::Relaxed),
        has_names: backend.endpoints.iter().any(named),
        tls,
        pool_key: key.finish(),
        metrics: metrics.backend(&backend.name),
        backend: Arc::clone(backend),
    })
}
