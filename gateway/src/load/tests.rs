//! What is loaded on top of something else is what is loaded alone.

use std::{
    fs,
    path::{Path, PathBuf},
};

use portcullis_config::read::{Read, SourceFile};

use super::*;
use crate::kube::{Manifests, Options};

/// Settings under which routes of objects have every kind of control.
const SETTINGS: [&str; 7] = [
    "listeners: [{name: http, protocol: http}, {name: https, protocol: https}]\n",
    "listeners: [{name: http, protocol: http}, {name: https, protocol: https}]\n\
     accessLists: [{name: office, allow: [10.0.0.0/8]}]\ndefaults: {access: [office]}\n",
    "listeners: [{name: http, protocol: http}, {name: https, protocol: https}]\n\
     accessLists: [{name: office, allow: [192.0.2.0/24]}]\ndefaults: {access: [office]}\n",
    "listeners: [{name: http, protocol: http}, {name: https, protocol: https}]\n\
     rateLimits: [{name: slow, requests: 5, per: 1s, key: clientAddress}]\n\
     authentications: [{name: sso, external: {backend: auth, path: /}}]\n\
     backends: [{name: auth, endpoints: [{address: '10.0.0.9:80'}]}]\n\
     defaults: {rateLimits: [slow], authentication: [sso]}\n",
    "listeners: [{name: http, protocol: http}, {name: https, protocol: https}]\n\
     rateLimits: [{name: slow, requests: 6, per: 1s, key: clientAddress}]\n\
     authentications: [{name: sso, external: {backend: auth, path: /}}]\n\
     backends: [{name: auth, endpoints: [{address: '10.0.0.8:80'}]}]\n\
     defaults: {rateLimits: [slow], authentication: [sso]}\n",
    "listeners: [{name: http, protocol: http}, {name: https, protocol: https}]\n\
     wafProfiles: [{name: own, rules: [{inline: 'SecRule ARGS \"@contains evil\" \"id:1,phase:2,deny\"'}]}]\n\
     defaults: {waf: {profile: own}}\n",
    "listeners: [{name: http, protocol: http}, {name: https, protocol: https}]\n\
     wafProfiles: [{name: own, rules: [{inline: 'SecRule ARGS \"@contains bad\" \"id:1,phase:2,deny\"'}]}]\n\
     routes: [{name: of-file, hosts: [shop.test], rules: [{respond: {status: 200, body: hello}}]}]\n\
     defaults: {waf: {profile: own}}\n",
];

/// Who loads one source after the other.
#[derive(Default)]
struct Gateway {
    live: Live,
    metrics: Metrics,
    serving: Option<Loaded>,
}

impl Gateway {
    /// Loads, and tells what serves then, or why it does not.
    fn load(&mut self, source: &Source) -> String {
        let serving = self.serving.as_ref().map(|loaded| Serving {
            snapshot: &loaded.snapshot,
            tls_files: &loaded.tls_files,
        });
        match load(source, &self.live, &self.metrics, serving) {
            Ok(loaded) => {
                self.live.adopt(&loaded.snapshot, &self.metrics);
                let told = told(&loaded);
                self.serving = Some(loaded);
                told
            }
            Err(refused) => format!("{:#?}", refused.problems),
        }
    }
}

/// All that can be said of a configuration.
fn told(loaded: &Loaded) -> String {
    let snapshot = &loaded.snapshot;
    let mut backends: Vec<String> = snapshot
        .backends()
        .iter()
        .map(|known| {
            let members = known.endpoints();
            let members = members.members().iter();
            let members: Vec<_> = members.map(|member| member.state.address).collect();
            format!("{:?} {members:?}", known.backend)
        })
        .collect();
    backends.sort();
    let routes = snapshot.model.routes.iter().flat_map(|route| &route.rules);
    let rules: Vec<String> = routes
        .map(|(_, rule)| {
            let compiled = snapshot.rule(&rule.id).expect("every rule is compiled");
            assert!(Arc::ptr_eq(&compiled.rule, rule), "{}", rule.id);
            if let portcullis_config::model::Action::Forward(forward) = &rule.action {
                let targets = compiled.targets.as_ref().expect("targets");
                for (backend, _) in forward {
                    let target = targets.named(&backend.name).expect("the target");
                    let known = snapshot.backends().iter();
                    let mut known = known.filter(|known| Arc::ptr_eq(known, target));
                    assert!(known.next().is_some(), "{}", backend.name);
                    assert!(Arc::ptr_eq(&target.backend, backend), "{}", backend.name);
                }
            }
            let limits = compiled.limiters.iter();
            let limits: Vec<_> = limits.map(|known| known.limiter.limit()).collect();
            let waf = compiled.waf.as_ref().map(|waf| (&waf.profile, waf.mode));
            format!(
                "{} {waf:?} {limits:?} {} {:?}",
                rule.id,
                compiled.authentications.len(),
                compiled.identity_headers
            )
        })
        .collect();
    let certificates: Vec<_> = loaded.tls_files.certificates.facts().collect();
    // Of the gateway's own certificate, which is made anew for each process, all is the same.
    format!(
        "{}\n{:#?}\n{backends:#?}\n{rules:#?}\n{certificates:#?}\n{:#?}\n{}",
        snapshot.yaml(),
        snapshot.model,
        loaded.problems,
        snapshot.hash
    )
}

/// The documents of an input, and its options.
fn golden(path: &Path) -> (Vec<String>, Options) {
    let text = fs::read_to_string(path).expect("an input");
    let documents = text.split("\n---").map(str::to_owned).collect();
    (documents, Options::default())
}

/// A source of some settings and some manifests.
fn source(folder: &Path, settings: &str, documents: &[&String], options: &Options) -> Source {
    let file = folder.join("settings.yaml");
    fs::write(&file, settings).expect("writable");
    let manifests = folder.join("manifests.yaml");
    let text: Vec<&str> = documents.iter().map(|text| text.as_str()).collect();
    fs::write(&manifests, text.join("\n---\n")).expect("writable");
    let manifests = Manifests::read(&[manifests], options.clone()).expect("manifests");
    Source::new(ConfigFiles::new(vec![file]), Some(Arc::new(manifests)))
}

#[test]
fn a_configuration_does_not_depend_on_the_one_before() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let golden_folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/kube/translate/golden");
    let mut inputs: Vec<PathBuf> = fs::read_dir(golden_folder)
        .expect("the golden pairs")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| !path.to_string_lossy().ends_with(".out.yaml"))
        .collect();
    inputs.sort();
    let mut settings = SETTINGS.iter().cycle();
    let mut gateway = Gateway::default();
    let mut accepted = 0;
    for input in &inputs {
        let (documents, options) = golden(input);
        let all: Vec<&String> = documents.iter().collect();
        // Whole, without each of its objects, and whole again under other settings.
        for without in 0..=documents.len() {
            let mut some = all.clone();
            if without > 0 {
                some.remove(without - 1);
            }
            for (documents, settings) in [
                (&some, SETTINGS[without % SETTINGS.len()]),
                (&all, SETTINGS[without % SETTINGS.len()]),
                (&all, settings.next().expect("endless")),
            ] {
                let source = source(folder.path(), settings, documents, &options);
                let again = gateway.load(&source);
                let mut alone = Gateway::default();
                let expected = alone.load(&source);
                let place = format!("{} without {without}, {settings}", input.display());
                assert!(
                    again == expected,
                    "{place}: {}",
                    difference(&again, &expected)
                );
                accepted += usize::from(alone.serving.is_some());
            }
        }
    }
    assert!(accepted > 300, "{accepted}");
}

#[test]
fn what_did_not_change_is_shared() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ingress = |name: &str, service: &str| {
        format!(
            "apiVersion: networking.k8s.io/v1\nkind: Ingress\n\
             metadata: {{name: {name}, namespace: shop}}\nspec: {{rules: [{{host: {name}.test, http: \
             {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: {service}, \
             port: {{number: 80}}}}}}}}]}}}}]}}\n"
        )
    };
    let service = |name: &str| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\n\
             spec: {{ports: [{{port: 80}}]}}\n---\napiVersion: discovery.k8s.io/v1\n\
             kind: EndpointSlice\nmetadata: {{name: {name}-1, namespace: shop, \
             labels: {{kubernetes.io/service-name: {name}}}}}\naddressType: IPv4\n\
             ports: [{{port: 80}}]\nendpoints: [{{addresses: [10.0.0.1]}}]\n"
        )
    };
    let (one, two) = (ingress("one", "web"), ingress("two", "web"));
    let (web, other) = (service("web"), service("other"));
    let changed = ingress("two", "other");
    let options = Options::default();
    let mut gateway = Gateway::default();
    let waf = SETTINGS[5];
    gateway.load(&source(
        folder.path(),
        waf,
        &[&one, &two, &web, &other],
        &options,
    ));
    let before = gateway.serving.take().expect("it serves");
    gateway.serving = None;
    let serving = Serving {
        snapshot: &before.snapshot,
        tls_files: &before.tls_files,
    };
    let load_now = |settings: &str| {
        let documents = [&one, &changed, &web, &other];
        let source = source(folder.path(), settings, &documents, &options);
        load(&source, &gateway.live, &gateway.metrics, Some(serving)).expect("it loads")
    };
    let is_shared = |now: &Loaded, id: &str| {
        let rule = |loaded: &Loaded| Arc::clone(loaded.snapshot.rule(id).expect("the rule"));
        Arc::ptr_eq(&rule(&before), &rule(now))
    };
    let now = load_now(waf);
    assert!(is_shared(&now, "shop/one/0"));
    assert!(!is_shared(&now, "shop/two/0"));
    let backends = now.snapshot.backends();
    let shared = backends.iter().filter(|now| {
        let mut before = before.snapshot.backends().iter();
        before.any(|before| Arc::ptr_eq(before, now))
    });
    assert_eq!((shared.count(), backends.len()), (1, 2));
    // Under other settings nothing is taken over that hangs on them.
    for settings in [SETTINGS[0], SETTINGS[6]] {
        assert!(!is_shared(&load_now(settings), "shop/one/0"));
    }
}

#[test]
fn rules_are_those_of_their_files_though_no_setting_is_another() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let rules = folder.path().join("own.conf");
    let settings = format!(
        "listeners: [{{name: http, protocol: http}}]\n\
         wafProfiles: [{{name: own, rules: [{{file: {}}}]}}]\ndefaults: {{waf: {{profile: own}}}}\n\
         backends: [{{name: web, endpoints: [{{address: '10.0.0.1:80'}}]}}]\n\
         routes: [{{name: web, rules: [{{backends: [{{name: web}}]}}]}}]\n",
        rules.display()
    );
    let mut gateway = Gateway::default();
    let mut seen = Vec::new();
    for word in ["one", "two", "two"] {
        let rule = format!("SecRule ARGS \"@contains {word}\" \"id:1,phase:2,deny\"\n");
        fs::write(&rules, rule).expect("writable");
        gateway.load(&source(folder.path(), &settings, &[], &Options::default()));
        let snapshot = &gateway.serving.as_ref().expect("it serves").snapshot;
        let compiled = snapshot.rule("web/0").expect("the rule");
        let waf = compiled.waf.as_ref().expect("its WAF");
        let profile = snapshot.rule_set("own").expect("the profile");
        assert!(Arc::ptr_eq(&waf.rules, profile));
        seen.push(Arc::clone(compiled));
    }
    assert!(!Arc::ptr_eq(&seen[0], &seen[1]));
    assert!(Arc::ptr_eq(&seen[1], &seen[2]));
}

/// Objects of a cluster that nothing is known of yet.
#[derive(Debug, Default)]
struct Unknown(tokio::sync::Notify);

impl crate::source::Objects for Unknown {
    fn settings(&self) -> Result<Settings, Vec<Problem>> {
        let text = "listeners: [{name: http, protocol: http}]\n\
                    egress: {listeners: [{name: proxy}], policies: [{name: p, subjects: \
                    [{addresses: [0.0.0.0/0]}], allowAll: true}]}\n";
        Ok(Settings {
            documents: vec![SourceFile {
                name: "settings".to_owned(),
                text: text.to_owned(),
            }],
            ..Settings::default()
        })
    }

    fn translate(&self, _: &mut Read) -> Contents {
        Contents::default()
    }

    fn are_known(&self) -> bool {
        false
    }

    fn changes(&self) -> &tokio::sync::Notify {
        &self.0
    }

    fn tell(&self, _: &[Problem]) {}

    fn unready(&self) -> Vec<String> {
        Vec::new()
    }
}

#[test]
fn before_objects_are_known_nothing_is_served_not_by_the_egress_proxy_either() {
    let source = Source::new(ConfigFiles::default(), Some(Arc::new(Unknown::default())));
    let loaded = load(&source, &Live::default(), &Metrics::new(), None).expect("it loads");
    let model = &loaded.snapshot.model;
    assert!(model.listeners.is_empty());
    assert!(model.egress.is_none(), "a floor may be among the objects");
}

/// The first lines that differ.
fn difference(one: &str, other: &str) -> String {
    let mut lines = one.lines().zip(other.lines());
    let found = lines.find(|(one, other)| one != other);
    found.map_or_else(
        || "one is longer".to_owned(),
        |(one, other)| format!("{one}\n{other}"),
    )
}
