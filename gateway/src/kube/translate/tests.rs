//! Golden pairs: manifests, and the document and the problems that are made of them.
//!
//! `golden/NAME.yaml` is translated, and `golden/NAME.out.yaml` is what must come out. With
//! `UPDATE_GOLDEN=1` the outputs are written anew, to be read before they are committed.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use http::{HeaderMap, Method};
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use portcullis_config::{
    model::Action,
    read::{read, to_yaml},
    route::{RouteRequest, RouteTable},
    validate::validate,
};

use super::MadeItems;
use crate::{
    files::{ConfigFiles, DiskReads},
    kube::{Manifests, ObjectSet, Options, ResourceName},
    source::Source,
};

/// What is written above the documents of an input, as `# option: VALUE`.
fn options(text: &str) -> Options {
    let mut options = Options::default();
    let said = text
        .lines()
        .map_while(|line| line.strip_prefix("# "))
        .filter_map(|line| line.split_once(": "));
    for (option, value) in said {
        match option {
            "zone" => options.zone = Some(value.to_owned()),
            "controller" => options.controller = value.to_owned(),
            "configmap" => options.config_maps.extend(value.parse()),
            "default-certificate" => options.default_certificate = value.parse().ok(),
            "external-names" => options.external_names = value == "true",
            "challenges" => options.challenge_namespaces = vec![value.to_owned()],
            "many-labels" => options.many_labels = value == "true",
            "without-class" => options.without_class = value == "true",
            _ => {}
        }
    }
    options
}

/// The document that an input makes, and behind it what is wrong with it.
fn translated(input: &Path) -> String {
    let text = fs::read_to_string(input).expect("an input");
    let manifests = Manifests::read(&[input.to_owned()], options(&text)).expect("manifests");
    let source = Source::new(ConfigFiles::default(), Some(Arc::new(manifests)));
    let settings = match source.settings(&DiskReads::begin()) {
        Ok(settings) => settings,
        Err(problems) => {
            return problems
                .iter()
                .map(|problem| format!("# {problem}\n"))
                .collect();
        }
    };
    let mut made = read(&settings.documents);
    let objects = source.objects().expect("the manifests");
    objects.translate(&mut made);
    let validated = validate(&made.document, &made.origins);
    let mut output = to_yaml(&made.document);
    for problem in made.problems.iter().chain(&validated.problems) {
        output.push_str(&format!("# {problem}\n"));
    }
    output
}

#[test]
fn manifests_make_the_documents_that_they_should() {
    let inputs = inputs();
    assert!(inputs.len() >= 8, "{inputs:?}");
    let mut wrong = Vec::new();
    for input in &inputs {
        let output = input.with_extension("out.yaml");
        let translated = translated(input);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&output, &translated).expect("writable");
        }
        let expected = fs::read_to_string(&output).unwrap_or_default();
        if expected != translated {
            let name = input.file_stem().unwrap_or_default();
            wrong.push(format!(
                "{}: expected\n{expected}\nfound\n{translated}",
                name.display()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The golden inputs.
fn inputs() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/kube/translate/golden");
    let mut inputs: Vec<_> = fs::read_dir(&folder)
        .expect("the golden pairs")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| !path.to_string_lossy().ends_with(".out.yaml"))
        .collect();
    inputs.sort();
    inputs
}

/// A set without one of its objects, or with another version of it, for each of them.
fn variants(whole: &ObjectSet) -> Vec<ObjectSet> {
    let mut variants = Vec::new();
    macro_rules! without_each {
        ($($kind:ident),*) => {$(
            for name in whole.$kind.keys() {
                let mut without = whole.clone();
                without.$kind.remove(name);
                variants.push(without);
            }
        )*};
    }
    without_each!(
        ingresses,
        ingress_classes,
        services,
        endpoint_slices,
        secrets,
        config_maps
    );
    for (name, slice) in &whole.endpoint_slices {
        let mut changed = EndpointSlice::clone(slice);
        changed.endpoints.iter_mut().flatten().for_each(|endpoint| {
            endpoint.addresses = vec!["10.9.9.9".to_owned()];
        });
        let mut with = whole.clone();
        with.endpoint_slices.insert(name.clone(), Arc::new(changed));
        variants.push(with);
    }
    for (name, service) in &whole.services {
        let mut changed = Service::clone(service);
        let ports = changed
            .spec
            .iter_mut()
            .filter_map(|spec| spec.ports.as_mut());
        ports
            .flatten()
            .for_each(|port| port.app_protocol = Some("h2c".to_owned()));
        let mut with = whole.clone();
        with.services.insert(name.clone(), Arc::new(changed));
        variants.push(with);
    }
    variants
}

/// All that comes of some objects.
fn told(objects: &ObjectSet, options: &Options, made: &mut MadeItems) -> String {
    let mut found = read(&[]);
    super::translate_again(objects, options, made, &mut found);
    let mut told = to_yaml(&found.document);
    for problem in &found.problems {
        told.push_str(&format!("# {problem}\n"));
    }
    let lists = [
        ("routes", found.document.routes.len()),
        ("backends", found.document.backends.len()),
        ("certificates", found.document.certificates.len()),
    ];
    for (list, count) in lists {
        for index in 0..count {
            let origin = found.origins.locate(&format!("{list}[{index}]"));
            told.push_str(&format!("# {list} {origin}\n"));
        }
    }
    told
}

#[test]
fn what_is_translated_does_not_depend_on_what_was_before() {
    let mut made = MadeItems::default();
    for input in inputs() {
        let text = fs::read_to_string(&input).expect("an input");
        let manifests =
            Manifests::read(std::slice::from_ref(&input), options(&text)).expect("manifests");
        let (whole, options) = (manifests.objects(), manifests.options());
        let others = Options {
            external_names: !options.external_names,
            local_addresses: !options.local_addresses,
            zone: Some("elsewhere".to_owned()),
            ..options.clone()
        };
        for some in variants(whole) {
            for (objects, options) in [(whole, options), (&some, options), (&some, &others)] {
                let again = told(objects, options, &mut made);
                let alone = told(objects, options, &mut MadeItems::default());
                assert_eq!(again, alone, "{}", input.display());
            }
        }
    }
}

#[test]
fn only_secrets_that_are_named_are_referred_to() {
    let input =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("src/kube/translate/golden/certificates.yaml");
    let text = fs::read_to_string(&input).expect("an input");
    let manifests = Manifests::read(&[input], options(&text)).expect("manifests");
    let named = super::referenced_secrets(manifests.objects(), manifests.options());
    assert!(named.contains(&ResourceName::new("shop", "web-tls")));
    assert!(named.contains(&ResourceName::new("edge", "default-tls")));
    assert!(!named.contains(&ResourceName::new("shop", "unused")));
}

#[test]
fn names_that_objects_choose_reach_nothing_on_the_machine_itself() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/kube/translate/golden");
    let input = golden.join("external-names.yaml");
    let text = fs::read_to_string(&input).expect("an input");
    let manifests = Manifests::read(&[input], options(&text)).expect("manifests");
    let judged = |local_addresses| {
        let options = Options {
            local_addresses,
            ..manifests.options().clone()
        };
        let mut made = read(&[]);
        super::translate(manifests.objects(), &options, &mut made);
        let backends = made.document.backends.iter();
        let mut named = backends.filter(|backend| !backend.endpoints.is_empty());
        named.all(|backend| backend.local_addresses == Some(false))
    };
    assert!(judged(false), "of a cluster");
    assert!(!judged(true), "those of manifests are their owner's");
}

#[test]
fn the_services_that_are_referred_to_are_those_of_ingresses_that_are_served() {
    let input =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("src/kube/translate/golden/classes.yaml");
    let text = fs::read_to_string(&input).expect("an input");
    let manifests = Manifests::read(&[input], options(&text)).expect("manifests");
    let (objects, options) = (manifests.objects(), manifests.options());
    let named = super::references(objects, options, usize::MAX).services;
    let mut made = read(&[]);
    super::translate(manifests.objects(), manifests.options(), &mut made);
    let backends = made.document.backends.iter();
    let of_backends = backends.filter_map(|backend| Some(backend.name.rsplit_once(':')?.0));
    let of_backends: std::collections::BTreeSet<_> = of_backends.map(str::to_owned).collect();
    let named: std::collections::BTreeSet<_> = named.iter().map(ToString::to_string).collect();
    assert_eq!(named, of_backends);
}

/// The namespace whose Service answers a challenge of a host with a golden input; empty where we
/// answer that there is none.
fn answers_challenge(input: &str, host: &str) -> String {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/kube/translate/golden");
    let input = golden.join(input).with_extension("yaml");
    let text = fs::read_to_string(&input).expect("an input");
    let manifests = Manifests::read(&[input], options(&text)).expect("manifests");
    let mut made = read(&[]);
    super::translate(manifests.objects(), manifests.options(), &mut made);
    let model = validate(&made.document, &made.origins).model;
    let found = RouteTable::new(&model.routes).find(RouteRequest {
        listener: "http",
        host,
        path: "/.well-known/acme-challenge/token",
        method: &Method::GET,
        headers: &HeaderMap::new(),
        query: None,
    });
    match found.as_ref().map(|found| &found.rule.action) {
        Some(Action::Forward(backends)) => match backends.first() {
            Some((backend, _)) => backend.name.split('/').next().unwrap_or("").to_owned(),
            None => "closed".to_owned(),
        },
        Some(Action::Respond(_)) | None => String::new(),
        Some(Action::Redirect(_)) => "redirect".to_owned(),
    }
}

#[test]
fn challenges_of_a_host_come_to_the_namespace_that_has_it_alone() {
    for (input, host, expected) in [
        ("challenges-everything", "rest.test", "shop"),
        ("challenges-everything", "default.test", ""),
        ("challenges-everything", "exact.test", ""),
        ("challenges-everything", "pattern.test", ""),
        ("challenges-everything", "above.test", "shop"),
        ("challenges-everything", "later.test", ""),
        ("challenges-everything", "trusted.test", "certificates"),
        ("challenges-everything", "own.test", "shop"),
        // Nobody else has it.
        ("challenges-everything", "unheard-of.test", "thief"),
        ("challenges-hosts", "a.covered.test", ""),
        ("challenges-hosts", "b.covered.test", "thief"),
        ("challenges-hosts", "bare.covered.test", ""),
        ("challenges-hosts", "a.wild.test", ""),
        ("challenges-hosts", "unheard-of.test", ""),
        ("challenges-default", "unheard-of.test", ""),
        ("challenges", "shop.test", "shop"),
    ] {
        let answers = answers_challenge(input, host);
        assert_eq!(answers, expected, "{input}: {host}");
    }
}
