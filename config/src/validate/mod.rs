//! [`Document`] to [`Model`]: every reference resolved, every pattern parsed, every problem named.
//!
//! One file a section. An item with an error is left out of the model; a rule
//! whose access list, rate limit or WAF profile cannot be built is kept and
//! forwards nowhere, so that it answers 503 and no broader rule takes its traffic.

mod access;
mod backend;
mod egress;
mod listener;
mod policy;
mod process;
mod report;
mod route;
mod text;
mod waf;

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    document::Document,
    model::{AccessList, Backend, Model, RateLimit, WafProfile},
    problem::Problem,
    read::Origins,
};
use report::Report;

/// A model and everything that was wrong on the way to it.
#[derive(Clone, Debug, Default)]
pub struct Validated {
    /// The meaning of every item that is right; items with errors are left out.
    pub model: Model,
    /// All problems, in document order. A file source refuses the whole
    /// document when one of them is an error.
    pub problems: Vec<Problem>,
}

/// Things that other things refer to by name.
#[derive(Default)]
struct Names {
    access_lists: BTreeMap<String, Arc<AccessList>>,
    rate_limits: BTreeMap<String, Arc<RateLimit>>,
    waf_profiles: BTreeMap<String, Arc<WafProfile>>,
    backends: BTreeMap<String, Arc<Backend>>,
}

/// Validates a document.
pub fn validate(document: &Document, origins: &Origins) -> Validated {
    let mut report = Report::new(origins);
    let mut model = Model {
        process: process::process(document, &mut report),
        trusted_proxies: access::trusted_proxies(document, &mut report),
        ..Model::default()
    };
    let mut names = Names::default();
    for (index, list) in document.access_lists.iter().enumerate() {
        if let Some(list) = access::access_list(&format!("accessLists[{index}]"), list, &mut report)
        {
            names
                .access_lists
                .entry(list.name.clone())
                .or_insert_with(|| {
                    model.access_lists.push(Arc::clone(&list));
                    list
                });
        }
    }
    for (index, limit) in document.rate_limits.iter().enumerate() {
        if let Some(limit) = access::rate_limit(&format!("rateLimits[{index}]"), limit, &mut report)
        {
            names
                .rate_limits
                .entry(limit.name.clone())
                .or_insert_with(|| {
                    model.rate_limits.push(Arc::clone(&limit));
                    limit
                });
        }
    }
    for (index, profile) in document.waf_profiles.iter().enumerate() {
        if let Some(profile) = waf::profile(&format!("wafProfiles[{index}]"), profile, &mut report)
        {
            names
                .waf_profiles
                .entry(profile.name.clone())
                .or_insert_with(|| {
                    model.waf_profiles.push(Arc::clone(&profile));
                    profile
                });
        }
    }
    for (index, backend) in document.backends.iter().enumerate() {
        if let Some(backend) = backend::backend(&format!("backends[{index}]"), backend, &mut report)
        {
            names
                .backends
                .entry(backend.name.clone())
                .or_insert_with(|| {
                    model.backends.push(Arc::clone(&backend));
                    backend
                });
        }
    }
    model.certificates = listener::certificates(document, &mut report);
    model.listeners = listener::listeners(document, &model.process, &mut report);
    model.routes = route::routes(document, &names, &mut report);
    model.egress = document
        .egress
        .as_ref()
        .map(|section| egress::egress(section, &mut report));
    Validated {
        model,
        problems: report.into_problems(),
    }
}
