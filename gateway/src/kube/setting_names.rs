//! What policies name in the settings: the names that are there, and those that are not.

use std::{collections::HashSet, fmt};

use portcullis_config::document::{Document, Policies, RouteWaf};

/// The names of a document that policies can name, each with its section.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SettingNames(HashSet<(&'static str, String)>);

/// A name that policies have and a document has not.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Missing {
    /// Of the policies.
    pub(super) key: &'static str,
    /// Where it would be in the document.
    pub(super) section: &'static str,
    what: &'static str,
    name: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no {} {:?}", self.what, self.name)
    }
}

impl SettingNames {
    /// Those of a document.
    pub(super) fn of(document: &Document) -> Self {
        fn all<'d, I>(
            section: &'static str,
            items: &'d [I],
            name: fn(&I) -> &String,
        ) -> impl Iterator<Item = (&'static str, String)> + 'd {
            items.iter().map(move |item| (section, name(item).clone()))
        }
        let names = all("accessLists", &document.access_lists, |item| &item.name)
            .chain(all("authentications", &document.authentications, |item| {
                &item.name
            }))
            .chain(all("rateLimits", &document.rate_limits, |item| &item.name))
            .chain(all("wafProfiles", &document.waf_profiles, |item| {
                &item.name
            }))
            .chain(all("errorPages", &document.error_pages, |item| &item.name));
        Self(names.collect())
    }

    /// The names that policies have and that are not here.
    pub(super) fn missing(&self, policies: &Policies) -> Vec<Missing> {
        let mut missing = named(policies);
        missing.retain(|wanted| !self.0.contains(&(wanted.section, wanted.name.clone())));
        missing
    }
}

/// Everything that policies name.
fn named(policies: &Policies) -> Vec<Missing> {
    // Each field, so that whoever adds one thinks of this.
    let Policies {
        access,
        authentication,
        rate_limits,
        waf,
        error_pages,
        satisfy: _,
        https: _,
        max_body_size: _,
        encoded_slashes: _,
        cors: _,
        compression: _,
        response_bandwidth: _,
        min_body_rate: _,
        timeouts: _,
        retries: _,
    } = policies;
    let profile = waf.as_ref().and_then(|waf| waf.profile.clone());
    let profile = profile.map(|profile| vec![profile]);
    let lists = [
        ("access", "accessLists", "access list", access),
        (
            "authentication",
            "authentications",
            "authentication",
            authentication,
        ),
        ("rateLimits", "rateLimits", "rate limit", rate_limits),
        ("waf.profile", "wafProfiles", "WAF profile", &profile),
        (
            "errorPages",
            "errorPages",
            "set of error pages",
            error_pages,
        ),
    ];
    let named = lists.into_iter().flat_map(|(key, section, what, names)| {
        let names = names.iter().flatten();
        names.map(move |name| Missing {
            key,
            section,
            what,
            name: name.clone(),
        })
    });
    named.collect()
}

/// Policies without everything that [`SettingNames`] judges.
pub(super) fn without_names(policies: &Policies) -> Policies {
    Policies {
        access: None,
        authentication: None,
        rate_limits: None,
        waf: policies.waf.as_ref().map(|waf| RouteWaf {
            profile: None,
            mode: None,
            ..waf.clone()
        }),
        error_pages: None,
        ..policies.clone()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_kind_of_name_is_looked_for() {
        let item = |name: &str| json!({ "name": name });
        let document = json!({
            "accessLists": [item("a")],
            "errorPages": [{ "name": "e", "pages": [] }],
        });
        let document = serde_json::from_value(document).expect("a document");
        let policies = json!({
            "access": ["a", "b"], "authentication": ["a"], "rateLimits": ["a"],
            "waf": { "profile": "a" }, "errorPages": ["e", "a"],
        });
        let policies: Policies = serde_json::from_value(policies).expect("policies");
        let missing = SettingNames::of(&document).missing(&policies);
        let told: Vec<_> = missing.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "there is no access list \"b\"",
                "there is no authentication \"a\"",
                "there is no rate limit \"a\"",
                "there is no WAF profile \"a\"",
                "there is no set of error pages \"a\"",
            ]
        );
        assert!(named(&without_names(&policies)).is_empty());
    }
}
