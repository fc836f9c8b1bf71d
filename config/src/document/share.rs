//! What two documents have in common.

use std::{collections::HashMap, sync::Arc};

use super::Document;

impl Document {
    /// Takes over the items of another document that say the same, so that there is one of each
    /// in memory, and what was made of it is found again by its address.
    pub fn share(&mut self, before: &Self) {
        share(&mut self.routes, &before.routes, |route| &route.name);
        share(&mut self.backends, &before.backends, |known| &known.name);
        share(&mut self.certificates, &before.certificates, |known| {
            &known.name
        });
    }

    /// It without its routes, backends and certificates.
    pub fn without_items(&self) -> Self {
        Self {
            routes: Vec::new(),
            backends: Vec::new(),
            certificates: Vec::new(),
            ..self.clone()
        }
    }

    /// Whether another document says the same in everything but its routes, backends and
    /// certificates.
    pub fn says_else_the_same(&self, other: &Self) -> bool {
        let Self {
            listeners,
            certificates: _,
            tls_policies,
            client_address,
            access_lists,
            rate_limits,
            authentications,
            waf_profiles,
            error_pages,
            backends: _,
            resolver,
            defaults,
            routes: _,
            tcp_routes,
            udp_routes,
            egress,
            management,
            admin,
            logs,
            process,
        } = self;
        *listeners == other.listeners
            && *tls_policies == other.tls_policies
            && *client_address == other.client_address
            && *access_lists == other.access_lists
            && *rate_limits == other.rate_limits
            && *authentications == other.authentications
            && *waf_profiles == other.waf_profiles
            && *error_pages == other.error_pages
            && *resolver == other.resolver
            && *defaults == other.defaults
            && *tcp_routes == other.tcp_routes
            && *udp_routes == other.udp_routes
            && *egress == other.egress
            && *management == other.management
            && *admin == other.admin
            && *logs == other.logs
            && *process == other.process
    }
}

/// Nearly always both have nearly the same items in nearly the same order.
fn share<T: PartialEq>(items: &mut [Arc<T>], before: &[Arc<T>], name: impl Fn(&T) -> &str) {
    let mut next = 0;
    let mut by_name: Option<HashMap<&str, usize>> = None;
    for item in items {
        let is_next = before
            .get(next)
            .is_some_and(|known| name(known) == name(item));
        let found = match is_next {
            true => Some(next),
            false => {
                let names = before.iter().enumerate();
                let names = names.map(|(index, known)| (name(known), index));
                let by_name = by_name.get_or_insert_with(|| names.collect());
                by_name.get(name(item)).copied()
            }
        };
        let Some(found) = found else { continue };
        next = found + 1;
        if !Arc::ptr_eq(&before[found], item) && before[found] == *item {
            *item = Arc::clone(&before[found]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Certificate;

    fn certificates(names: &[(&str, &str)]) -> Document {
        let certificate = |(name, key): &(&str, &str)| {
            Arc::new(Certificate {
                name: (*name).to_owned(),
                certificate: "a.crt".to_owned(),
                key: (*key).to_owned(),
                ocsp: None,
                hosts: Vec::new(),
            })
        };
        Document {
            certificates: names.iter().map(certificate).collect(),
            ..Document::default()
        }
    }

    #[test]
    fn items_that_say_the_same_are_the_same() {
        let before = certificates(&[("a", "1"), ("b", "1"), ("c", "1"), ("d", "1")]);
        let mut now = certificates(&[("new", "1"), ("d", "1"), ("b", "2"), ("c", "1")]);
        now.share(&before);
        let at = |index: usize| {
            let item = &now.certificates[index];
            let mut known = before.certificates.iter();
            known.position(|known| Arc::ptr_eq(known, item))
        };
        assert_eq!([0, 1, 2, 3].map(at), [None, Some(3), None, Some(2)]);
        assert_eq!(now.certificates[2].key, "2");
        assert!(now.says_else_the_same(&before));
    }
}
