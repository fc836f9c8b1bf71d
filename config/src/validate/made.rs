//! What was made of a document before, so that what has not changed is not made again.
//!
//! Of thousands of objects one changes, and the items of all others are the same. One is taken
//! over where nothing can have become of it but what became of it before:
//!
//! - It says the same, and files that it names are looked for in the same folder.
//! - Nothing was to be told of it: what is, is told again each time.
//! - A route refers to the same things: backends that were taken over, and lists, policies and
//!   defaults of a document that says the same in everything else.

use std::{
    collections::{HashMap, hash_map::Entry},
    path::PathBuf,
    sync::Arc,
};

use super::report::Report;
use crate::{
    document::{self, Document},
    model::{Action, Authentication, Backend, Certificate, ErrorPages, Model, Route, WafProfile},
    read::Origins,
};

/// A document, and what its items became.
#[derive(Clone, Debug, Default)]
pub struct Made {
    document: Arc<Document>,
    ground: Ground,
    pub(super) backends: Items<document::Backend, Backend>,
    pub(super) certificates: Items<document::Certificate, Certificate>,
    pub(super) routes: Items<document::Route, Route>,
}

/// What routes refer to besides backends, as far as the text of the document alone does not
/// tell what it means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Ground {
    /// Access lists and rate limits without an error.
    lists: Vec<String>,
    authentications: Vec<Arc<Authentication>>,
    error_pages: Vec<Arc<ErrorPages>>,
    waf_profiles: Vec<Arc<WafProfile>>,
    /// Where files are looked for that the defaults name.
    folder: Option<PathBuf>,
}

impl Made {
    pub(super) fn of(document: &Arc<Document>) -> Self {
        Self {
            document: Arc::clone(document),
            ..Self::default()
        }
    }

    /// The document.
    pub fn document(&self) -> &Arc<Document> {
        &self.document
    }

    /// Notes what routes refer to besides backends, and tells whether it is the same as before:
    /// then a route that says the same means the same, as far as it goes to the same backends.
    pub(super) fn stands_as(&mut self, before: &Self, model: &Model, origins: &Origins) -> bool {
        let access = model.access_lists.iter().map(|list| list.name.clone());
        let limits = model.rate_limits.iter().map(|limit| limit.name.clone());
        self.ground = Ground {
            lists: access.chain(limits).collect(),
            authentications: model.authentications.clone(),
            error_pages: model.error_pages.clone(),
            waf_profiles: model.waf_profiles.clone(),
            folder: origins.folder("defaults"),
        };
        origins.is_complete()
            && self.ground == before.ground
            && self.document.says_else_the_same(&before.document)
    }

    /// Has what is the same as before be the same in memory, for those who compare it.
    pub(super) fn take_over(&mut self, before: &Self, model: &mut Model) {
        self.ground = before.ground.clone();
        let Ground {
            authentications,
            error_pages,
            waf_profiles,
            lists: _,
            folder: _,
        } = &self.ground;
        model.authentications.clone_from(authentications);
        model.error_pages.clone_from(error_pages);
        model.waf_profiles.clone_from(waf_profiles);
    }
}

/// Items of one list, by their addresses, which stay theirs as long as they are held here.
#[derive(Clone, Debug)]
pub(super) struct Items<D, M>(HashMap<usize, Item<D, M>>);

#[derive(Clone, Debug)]
struct Item<D, M> {
    wanted: Arc<D>,
    folder: Option<PathBuf>,
    made: Arc<M>,
}

impl<D, M> Default for Items<D, M> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<D, M> Items<D, M> {
    /// What an item became before, where `is_still` says that it refers to the same; or what
    /// `make` makes of it now.
    pub(super) fn again(
        &mut self,
        before: &Self,
        (path, wanted): (&str, &Arc<D>),
        report: &mut Report<'_>,
        is_still: impl FnOnce(&M) -> bool,
        make: impl FnOnce(&mut Report<'_>) -> Option<Arc<M>>,
    ) -> Option<Arc<M>> {
        let folder = report.origins().folder(path);
        let address = Arc::as_ptr(wanted).addr();
        let known = before.0.get(&address);
        let known = known.filter(|known| {
            Arc::ptr_eq(&known.wanted, wanted) && known.folder == folder && is_still(&known.made)
        });
        let made = match known {
            Some(known) => Arc::clone(&known.made),
            None => {
                let (made, is_quiet) = report.quiet(make);
                let made = made?;
                if !is_quiet {
                    return Some(made);
                }
                made
            }
        };
        if let Entry::Vacant(place) = self.0.entry(address) {
            place.insert(Item {
                wanted: Arc::clone(wanted),
                folder,
                made: Arc::clone(&made),
            });
        }
        Some(made)
    }
}

/// The backends that a route refers to itself.
pub(super) fn backends_of(route: &Route) -> impl Iterator<Item = &Arc<Backend>> {
    route.rules.iter().flat_map(|(_, rule)| {
        let forwards = match &rule.action {
            Action::Forward(backends) => backends.as_slice(),
            _ => &[],
        };
        let canary = rule.canary.iter().map(|canary| &canary.backend);
        let mirrors = rule.mirrors.iter().map(|mirror| &mirror.backend);
        let forwards = forwards.iter().map(|(backend, _)| backend);
        forwards.chain(canary).chain(mirrors)
    })
}
