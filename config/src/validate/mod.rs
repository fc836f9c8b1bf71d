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
mod egress_certificate;
mod egress_denied;
mod egress_identity;
mod egress_injection;
mod egress_inspection;
mod egress_listener;
mod egress_quota;
mod egress_refusals;
mod egress_relay;
mod egress_unseen;
mod egress_upstream_proxy;
mod egress_workloads;
mod error_page;
mod external;
mod headers;
mod health;
mod listener;
mod made;
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
mod token_review;
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

pub use made::Made;

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
    let document = Arc::new(document.clone());
    validate_again(&document, origins, &Made::default()).0
}

/// Validates a document that says much of what another said before, which it was made to share
/// its items with ([`Document::share`]).
pub fn validate_again(
    document: &Arc<Document>,
    origins: &Origins,
    before: &Made,
) -> (Validated, Made) {
    let mut made = Made::of(document);
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
        |path, list, report| fresh((path, &list.name), list, access::access_list, report),
        &mut report,
    );
    (model.rate_limits, names.rate_limits) = build(
        "rateLimits",
        &document.rate_limits,
        |limit| &limit.name,
        |path, limit, report| fresh((path, &limit.name), limit, access::rate_limit, report),
        &mut report,
    );
    (model.waf_profiles, names.waf_profiles) = build(
        "wafProfiles",
        &document.waf_profiles,
        |profile| &profile.name,
        |path, profile, report| fresh((path, &profile.name), profile, waf::profile, report),
        &mut report,
    );
    (model.backends, names.backends) = build(
        "backends",
        &document.backends,
        |backend| &backend.name,
        |path, wanted, report| {
            let make = |report: &mut Report<'_>| {
                fresh((path, &wanted.name), &**wanted, backend::backend, report)
            };
            let (made, before) = (&mut made.backends, &before.backends);
            made.again(before, (path, wanted), report, |_| true, make)
        },
        &mut report,
    );
    (model.error_pages, names.error_pages) = build(
        "errorPages",
        &document.error_pages,
        |set| &set.name,
        |path, set, report| {
            let build = |path: &str, set: &_, report: &mut Report<'_>| {
                error_page::error_pages(path, set, &names.backends, report)
            };
            fresh((path, &set.name), set, build, report)
        },
        &mut report,
    );
    (model.authentications, names.authentications) = build(
        "authentications",
        &document.authentications,
        |authentication| &authentication.name,
        |path, wanted, report| {
            let build = |path: &str, wanted: &_, report: &mut Report<'_>| {
                authentication::authentication(path, wanted, &names.backends, report)
            };
            fresh((path, &wanted.name), wanted, build, report)
        },
        &mut report,
    );
    (model.certificates, _) = build(
        "certificates",
        &document.certificates,
        |certificate| &certificate.name,
        |path, wanted, report| {
            let make = |report: &mut Report<'_>| {
                fresh(
                    (path, &wanted.name),
                    &**wanted,
                    listener::certificate,
                    report,
                )
            };
            let (made, before) = (&mut made.certificates, &before.certificates);
            made.again(before, (path, wanted), report, |_| true, make)
        },
        &mut report,
    );
    model.listeners = listener::listeners(document, &model, &mut report);
    model.tls_policies = tls::policies(document, &model.listeners, &mut report);
    let is_same_ground = made.stands_as(before, &model, origins);
    if is_same_ground {
        made.take_over(before, &mut model);
    }
    let before = is_same_ground.then_some(&before.routes);
    (model.routes, model.default_error_pages) =
        route::routes(document, &names, (before, &mut made.routes), &mut report);
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
        .map(|section| egress::egress(section, (document, &model), &mut report));
    let validated = Validated {
        model,
        problems: report.into_problems(),
    };
    match origins.is_complete() {
        true => (validated, made),
        // What could not be read was not told again of all that refers to it.
        false => (validated, Made::of(document)),
    }
}

/// Builds the items of one list, of several with the same name the first.
fn build<D, T>(
    section: &str,
    items: &[D],
    name: impl Fn(&D) -> &String,
    mut build: impl FnMut(&str, &D, &mut Report<'_>) -> Option<Arc<T>>,
    report: &mut Report<'_>,
) -> (Vec<Arc<T>>, Known<T>) {
    let mut known = Known::new();
    let mut built = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let path = format!("{section}[{index}]");
        let clean = build(&path, item, report);
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

/// Builds an item of a name; nothing comes out where an error was noted.
fn fresh<D, T>(
    (path, name): (&str, &str),
    item: &D,
    build: impl FnOnce(&str, &D, &mut Report<'_>) -> T,
    report: &mut Report<'_>,
) -> Option<Arc<T>> {
    report.clean(|report| {
        text::name(path, name, report);
        Arc::new(build(path, item, report))
    })
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
