//! Objects to a document: a plain function of the objects of one time.
//!
//! One file for each kind. What an object means stands in the document beside what the files
//! say, under names with a `/`, which files cannot have. What is wrong with an object is told
//! with its field, and hurts that object alone:
//!
//! - A Service or a Secret that is missing: 503, or the default certificate, for those rules and
//!   hosts alone. No broader rule takes their requests.
//! - A host and path, or a host of `spec.tls`, that an older Ingress has: the newer one goes
//!   without, and has it when the older one is gone.
//! - Parameters of an IngressClass that cannot be read: 503 for the Ingresses of that class.
//! - An EgressPolicy with errors: its last good version, or its clients reach nothing.
//!
//! Annotations, and the kinds of the Gateway API, have their place here beside `ingress`.

mod backends;
mod certificates;
mod challenges;
mod claims;
mod egress_policies;
mod endpoint_slice;
mod ingress;
mod ingress_class;
mod made;
pub(super) mod parameters;
mod references;
mod self_signed;
mod served;
mod service;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use k8s_openapi::api::{
    core::v1::{Secret, Service},
    networking::v1::Ingress,
};
use portcullis_config::{
    problem::{Origin, Problem},
    read::Read,
};

pub(super) use self::egress_policies::Verdicts;
pub use self::made::MadeItems;
pub use self::references::{
    NeededSecrets, References, referenced_config_maps, referenced_secrets, references,
};
use self::{endpoint_slice::Slices, parameters::Parameters};
pub(super) use self::{endpoint_slice::service_of, ingress_class::is_default};
use super::{ObjectSet, Options, ResourceName, objects::place};
use crate::files::Contents;

/// Adds what objects mean to a document, and returns the contents that it names.
pub fn translate(objects: &ObjectSet, options: &Options, read: &mut Read) -> Contents {
    translate_again(objects, options, &mut MadeItems::default(), read)
}

/// The same, where much is as it was before: what was made then is taken over, and what is made
/// now is left for the next time.
pub fn translate_again(
    objects: &ObjectSet,
    options: &Options,
    made: &mut MadeItems,
    read: &mut Read,
) -> Contents {
    let mut translation = Translation {
        objects,
        options,
        slices: Slices::of(objects, options),
        before: std::mem::take(made),
        made: MadeItems::with(options),
        parameters: HashMap::new(),
        unclear: None,
        contents: Contents::default(),
        read,
    };
    let ingresses = served::served(objects, options);
    translation.read_parameters();
    translation.certificates(&ingresses);
    translation.routes(&ingresses);
    translation.egress_policies();
    *made = translation.made;
    translation.contents
}

/// The names of the Ingresses that are served.
pub fn served_ingresses(objects: &ObjectSet, options: &Options) -> Vec<ResourceName> {
    let ingresses = served::served(objects, options);
    ingresses.into_iter().map(|served| served.name).collect()
}

/// A document while objects are added to it.
struct Translation<'o> {
    objects: &'o ObjectSet,
    options: &'o Options,
    slices: Slices<'o>,
    /// What was made before, and what is made now.
    before: MadeItems,
    made: MadeItems,
    /// The parameters of our classes that name some, by their names.
    parameters: HashMap<&'o str, Parameters>,
    /// The class whose parameters may be meant for Ingresses that name no class.
    unclear: Option<&'o str>,
    contents: Contents,
    read: &'o mut Read,
}

impl<'o> Translation<'o> {
    fn tell(&mut self, problem: Problem) {
        self.read.problems.push(problem);
    }
}

fn place_of_ingress(name: &ResourceName, field: &str) -> Origin {
    place::<Ingress>(name, field)
}

fn place_of_service(name: &ResourceName) -> Origin {
    place::<Service>(name, "")
}

fn place_of_secret(name: &ResourceName) -> Origin {
    place::<Secret>(name, "")
}
