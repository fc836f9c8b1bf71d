//! The files that a configuration names itself, as far as its model tells.

use std::path::{Path, PathBuf};

use portcullis_config::model::{Model, PageContent};

use crate::{files::is_of_cluster, tls};

/// The files that a configuration names itself: certificates, rules, CAs, users, keys of tokens.
pub(super) fn named_files(model: &Model) -> Vec<PathBuf> {
    let of_profiles = model.waf_profiles.iter().flat_map(|profile| &profile.rules);
    let of_routes = model
        .routes
        .iter()
        .flat_map(|route| &route.rules)
        .filter_map(|(_, rule)| rule.policies.waf.as_deref())
        .flat_map(|waf| waf.before.iter().chain(&waf.after));
    let rules = of_profiles
        .chain(of_routes)
        .flat_map(|rules| rules.files().into_iter().cloned());
    let authorities = model
        .backends
        .iter()
        .filter_map(|backend| backend.tls.as_ref())
        .flat_map(|tls| {
            let (certificate, key) = tls.identity.clone().unzip();
            [tls.ca.clone(), certificate, key]
        })
        .flatten();
    let pages = model.error_pages.iter().flat_map(|set| &set.pages);
    let pages = pages.filter_map(|page| match &page.content {
        PageContent::File(path) => Some(path.clone()),
        PageContent::Inline(_) | PageContent::Asked(_) => None,
    });
    let users = model
        .authentications
        .iter()
        .filter_map(|authentication| authentication.users_file().map(Path::to_owned));
    let secrets = model
        .backends
        .iter()
        .filter_map(|backend| backend.affinity.as_ref()?.secret.clone());
    let sticky = model
        .routes
        .iter()
        .flat_map(|route| &route.rules)
        .filter_map(|(_, rule)| rule.sticky.as_ref()?.secret.clone());
    let identity = model
        .egress
        .as_ref()
        .and_then(|egress| egress.identity.as_ref());
    let mut files = tls::named_files(model);
    let tokens = identity.and_then(|identity| identity.tokens.as_ref());
    files.extend(tokens.and_then(|tokens| tokens.keys().cloned()));
    let inspection = model.egress.iter().flat_map(|egress| &egress.inspection);
    files.extend(inspection.flat_map(|inspection| {
        let own = [inspection.certificate.clone(), inspection.key.clone()];
        own.into_iter().chain(inspection.trust.clone())
    }));
    let origination = model.egress.iter().map(|egress| &egress.tls_origination);
    files.extend(origination.filter_map(|origination| origination.trust.clone()));
    let proxies = model.egress.iter();
    let proxies = proxies.flat_map(|egress| &egress.upstream_proxies);
    files.extend(proxies.flat_map(|proxy| {
        let ca = proxy.tls.as_ref().and_then(|tls| tls.ca.clone());
        ca.into_iter().chain(proxy.credentials.clone())
    }));
    let policies = model.egress.iter().flat_map(|egress| {
        let floors = egress.cluster_policies.iter();
        floors.chain(egress.policies.iter())
    });
    let credentials = policies
        .flat_map(|policy| policy.allow.iter())
        .filter_map(|rule| rule.inspection.as_ref()?.inject.as_ref());
    files.extend(credentials.map(|injection| injection.value.clone()));
    files.extend(rules);
    files.extend(authorities);
    files.extend(pages);
    files.extend(users);
    files.extend(secrets);
    files.extend(sticky);
    files.retain(|file| !is_of_cluster(file));
    files
}
