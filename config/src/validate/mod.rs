//! [`Document`] to [`Model`]: every reference resolved, every pattern parsed, every problem named.
//!
//! One file a section. What happens to an item with an error, where the source
//! goes on with the others (a file source refuses the whole document):
//!
//! - It is left out of the model, and what refers to it is not told again.
//! - A backend stays, without endpoints: its share of the requests gets 503.
//! - A rule stays and forwards nowhere, so that it answers 503 and no broader
//!   rule takes its traffic. So does a rule whose access list, authentication, rate limit or WAF
//!   profile is missing or has an error: no security control falls away silently.
//! - A match that cannot be read matches nothing.

mod access;
mod action;
mod affinity;
mod authentication;
mod backend;
mod canary;
mod compression;
mod condition;
mod cors;
mod egress;
mod error_page;
mod external;
mod headers;
mod health;
mod listener;
mod mirror;
mod path_form;
mod policy;
mod process;
mod repeats;
mod report;
mod resolver;
mod route;
mod tcp_route;
mod text;
mod tls;
mod udp_route;
mod upstream_tls;
mod waf;
mod waf_limits;
mod waf_tuning;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    document::Document,
    model::{
        AccessList, Action, Authentication, Backend, ErrorPages, Model, RateLimit, WafProfile,
    },
    problem::Problem,
    read::Origins,
};
use report::Report;

/// A model and everything that was wrong on the way to it.
#[derive(Clone, Debug, Default)]
pub struct Validated {
    /// The meaning of every item that is right; items with errors are left out.
    pub model: Model,
    /// All problems, in the order of their places. A file source refuses the whole
    /// document when one of them is an error.
    pub problems: Vec<Problem>,
}

/// The items of one list by name; one with an error is known, and is not there.
type Known<T> = BTreeMap<String, Option<Arc<T>>>;

/// Things that rules refer to by name.
#[derive(Default)]
struct Names {
    access_lists: Known<AccessList>,
    authentications: Known<Authentication>,
    rate_limits: Known<RateLimit>,
    waf_profiles: Known<WafProfile>,
    error_pages: Known<ErrorPages>,
    backends: Known<Backend>,
}

/// Validates a document.
pub fn validate(document: &Document, origins: &Origins) -> Validated {
    let mut report = Report::new(origins);
    let mut model = Model {
        process: process::process(document, &mut report),
        resolver: resolver::resolver(document.resolver.as_ref(), &mut report),
        trusted_proxies: access::trusted_proxies(document, &mut report),
        ..Model::default()
    };
    let mut names = Names::default();
    (model.access_lists, names.access_lists) = build(
        "accessLists",
        &document.access_lists,
        |list| &list.name,
        access::access_list,
        &mut report,
    );
    (model.rate_limits, names.rate_limits) = build(
        "rateLimits",
        &document.rate_limits,
        |limit| &limit.name,
        access::rate_limit,
        &mut report,
    );
    (model.waf_profiles, names.waf_profiles) = build(
        "wafProfiles",
        &document.waf_profiles,
        |profile| &profile.name,
        waf::profile,
        &mut report,
    );
    (model.backends, names.backends) = build(
        "backends",
        &document.backends,
        |backend| &backend.name,
        backend::backend,
        &mut report,
    );
    (model.error_pages, names.error_pages) = build(
        "errorPages",
        &document.error_pages,
        |set| &set.name,
        |path, set, report| error_page::error_pages(path, set, &names.backends, report),
        &mut report,
    );
    (model.authentications, names.authentications) = build(
        "authentications",
        &document.authentications,
        |authentication| &authentication.name,
        |path, wanted, report| {
            authentication::authentication(path, wanted, &names.backends, report)
        },
        &mut report,
    );
    let (certificates, _) = build(
        "certificates",
        &document.certificates,
        |certificate| &certificate.name,
        listener::certificate,
        &mut report,
    );
    model.certificates = certificates.into_iter().map(Arc::unwrap_or_clone).collect();
    model.listeners = listener::listeners(document, &model, &mut report);
    model.tls_policies = tls::policies(document, &model.listeners, &mut report);
    (model.routes, model.default_error_pages) = route::routes(document, &names, &mut report);
    model.tcp_routes = tcp_route::tcp_routes(
        document,
        &model.listeners,
        &model.tls_policies,
        &names,
        &mut report,
    );
    model.udp_routes = udp_route::udp_routes(document, &model.listeners, &names, &mut report);
    add_empty_backends(&mut model);
    model.egress = document
        .egress
        .as_ref()
        .map(|section| egress::egress(section, &mut report));
    Validated {
        model,
        problems: report.into_problems(),
    }
}

/// Builds the items of one list, of several with the same name the first.
fn build<D, T>(
    section: &str,
    items: &[D],
    name: impl Fn(&D) -> &String,
    build: impl Fn(&str, &D, &mut Report<'_>) -> T,
    report: &mut Report<'_>,
) -> (Vec<Arc<T>>, Known<T>) {
    let mut known = Known::new();
    let mut built = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let path = format!("{section}[{index}]");
        let clean = report.clean(|report| {
            text::name(&path, name(item), report);
            Arc::new(build(&path, item, report))
        });
        let name = name(item).clone();
        if known.contains_key(&name) {
            report.error(
                format!("{path}.name"),
                format!("the name {name:?} is taken"),
            );
            continue;
        }
        built.extend(clean.clone());
        known.insert(name, clean);
    }
    (built, known)
}

/// Adds what rules name and the document does not have, without endpoints.
fn add_empty_backends(model: &mut Model) {
    let mut known: BTreeSet<String> = model
        .backends
        .iter()
        .map(|known| known.name.clone())
        .collect();
    let rules = model.routes.iter().flat_map(|route| &route.rules);
    let forwards = rules.filter_map(|(_, rule)| match &rule.action {
        Action::Forward(backends) => Some((backends, &rule.canary)),
        _ => None,
    });
    let forwards = forwards.flat_map(|(backends, canary)| {
        let canary = canary.as_ref().map(|canary| &canary.backend);
        backends.iter().map(|(backend, _)| backend).chain(canary)
    });
    let tcp = model.tcp_routes.iter().flat_map(|route| &route.backends);
    let udp = model.udp_routes.iter().flat_map(|route| &route.backends);
    let passes = tcp.chain(udp).map(|(backend, _)| backend);
    for backend in forwards.chain(passes) {
        if known.insert(backend.name.clone()) {
            model.backends.push(Arc::clone(backend));
        }
    }
}

#[cfg(test)]
mod tests;
