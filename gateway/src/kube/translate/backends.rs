//! The backends that Ingresses refer to: of each Service and port one, made again where the
//! Service or one of its slices is another than before.

use std::{collections::HashMap, sync::Arc};

use k8s_openapi::api::{
    core::v1::Service,
    discovery::v1::EndpointSlice,
    networking::v1::{IngressBackend, IngressServiceBackend},
};
use portcullis_config::{
    document::RouteBackend,
    problem::{Category, Problem},
    read::ItemOrigin,
};

use super::{
    Translation, place_of_service,
    served::Served,
    service::{self, Made},
};
use crate::kube::{Options, ResourceName};

/// Backends that were made, by name, for the next time.
#[derive(Debug, Default)]
pub(super) struct MadeBackends {
    /// What they were made with.
    options: Option<Options>,
    made: HashMap<String, MadeBackend>,
}

/// A backend, and the objects that it was made of.
#[derive(Debug)]
struct MadeBackend {
    service: Option<Arc<Service>>,
    slices: Vec<Arc<EndpointSlice>>,
    made: Made,
}

impl MadeBackends {
    /// None, to be made with these options.
    pub(super) fn with(options: &Options) -> Self {
        Self {
            options: Some(options.clone()),
            made: HashMap::new(),
        }
    }

    /// The backend of this name, where it was made of the same.
    fn take(
        &mut self,
        name: &str,
        options: &Options,
        (service, slices): (Option<&Arc<Service>>, &[&Arc<EndpointSlice>]),
    ) -> Option<MadeBackend> {
        if self.options.as_ref() != Some(options) {
            return None;
        }
        let known = self.made.remove(name)?;
        let is_same_service = match (&known.service, service) {
            (None, None) => true,
            (Some(known), Some(now)) => Arc::ptr_eq(known, now),
            _ => false,
        };
        let mut pairs = known.slices.iter().zip(slices);
        let is_same = is_same_service
            && known.slices.len() == slices.len()
            && pairs.all(|(known, now)| Arc::ptr_eq(known, now));
        is_same.then_some(known)
    }
}

impl<'o> Translation<'o> {
    /// The backends that a field of an Ingress names.
    pub(super) fn backends(
        &mut self,
        served: &Served<'o>,
        field: &str,
        backend: &'o IngressBackend,
    ) -> Vec<RouteBackend> {
        match &backend.service {
            Some(service) => vec![RouteBackend {
                name: self.service(served, field, service),
                weight: None,
            }],
            None => {
                let reason = match &backend.resource {
                    Some(resource) => format!(
                        "a resource ({} {}) cannot be a backend: its requests get 503",
                        resource.kind, resource.name
                    ),
                    None => "names no Service: its requests get 503".to_owned(),
                };
                self.tell(served.error(field, reason));
                Vec::new()
            }
        }
    }

    /// The name of the backend of a Service, which is added where it is not there yet.
    fn service(
        &mut self,
        served: &Served<'o>,
        field: &str,
        wanted: &'o IngressServiceBackend,
    ) -> String {
        let namespace = &served.name.namespace;
        let name = service::name(namespace, wanted);
        if !self.made.backends.made.contains_key(&name) {
            self.add_backend(&name, namespace, wanted);
        }
        let problem = self.made.backends.made.get(&name);
        if let Some(wrong) = problem.and_then(|known| known.made.problem.as_ref()) {
            let reason = format!("{}: its requests get 503", wrong.reason);
            let problem = served.error(field, reason).with_hint(wrong.hint);
            let problem = problem.with_category(wrong.category);
            self.tell(problem);
        }
        name
    }

    fn add_backend(&mut self, name: &str, namespace: &str, wanted: &IngressServiceBackend) {
        let (objects, options) = (self.objects, self.options);
        let service_name = ResourceName::new(namespace, &wanted.name);
        let service = objects.services.get(&service_name);
        let slices = self.slices.of_service(namespace, &wanted.name);
        let known = self.before.backends.take(name, options, (service, slices));
        let backend = known.unwrap_or_else(|| MadeBackend {
            service: service.cloned(),
            slices: slices.iter().map(|&slice| Arc::clone(slice)).collect(),
            made: service::backend(objects, options, &self.slices, namespace, wanted),
        });
        let made = &backend.made;
        if made.problem.is_none() && made.backend.endpoints.is_empty() {
            let reason = format!("nothing of {name} is ready: its requests get 503");
            let problem = Problem::warning(place_of_service(&service_name), "", reason);
            self.read
                .problems
                .push(problem.with_category(Category::NoEndpoints));
        }
        let document = &mut self.read.document;
        let origin = ItemOrigin::of(place_of_service(&service_name));
        self.read
            .origins
            .note("backends", document.backends.len(), origin);
        document.backends.push(Arc::clone(&made.backend));
        self.made.backends.made.insert(name.to_owned(), backend);
    }
}
