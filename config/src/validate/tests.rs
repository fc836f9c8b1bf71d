use std::time::Duration;

use super::*;
use crate::{
    model::{BuiltinRules, HostPattern, Policies, RateLimitKey, Rule, WafMode, WafRules},
    read::{SourceFile, read},
};

fn model(text: &str) -> Model {
    let read = read(&[SourceFile {
        name: "a.yaml".into(),
        text: text.into(),
    }]);
    validate(&read.document, &read.origins).model
}

fn rule<'a>(model: &'a Model, id: &str) -> &'a Rule {
    let mut rules = model.routes.iter().flat_map(|route| &route.rules);
    let found = rules.find(|(_, rule)| rule.id == id);
    &found.unwrap_or_else(|| panic!("no rule {id}")).1
}

/// The backends of a rule with the number of their endpoints and their weight.
fn forward(rule: &Rule) -> Vec<(&str, usize, u32)> {
    let Action::Forward(backends) = &rule.action else {
        panic!("{rule:?} redirects");
    };
    backends
        .iter()
        .map(|(backend, weight)| (backend.name.as_str(), backend.endpoints.len(), *weight))
        .collect()
}

#[test]
fn a_rule_without_its_security_control_forwards_nowhere() {
    let model = model(
        "backends: [{name: b, endpoints: [{address: '10.0.0.1:80'}]}]
accessLists:
  - {name: good, allow: [10.0.0.0/8]}
  - {name: bad, deny: [10.0.0.x]}
rateLimits: [{name: bad, rate: 5/s, burst: 0}]
authentications: [{name: bad, basic: {users: ''}}, {name: empty}]
wafProfiles: [{name: bad, threshold: 0}]
routes:
  - name: r
    rules:
      - {backends: [{name: b}], policies: {access: [good]}}
      - {backends: [{name: b}], policies: {access: [good, bad]}}
      - {backends: [{name: b}], policies: {access: [missing]}}
      - {backends: [{name: b}], policies: {rateLimits: [bad]}}
      - {backends: [{name: b}], policies: {authentication: [bad]}}
      - {backends: [{name: b}], policies: {authentication: [empty]}}
      - {backends: [{name: b}], policies: {authentication: [missing], satisfy: any, access: [good]}}
      - {backends: [{name: b}], policies: {waf: {profile: bad}}}
      - {backends: [{name: b}], policies: {waf: {mode: block}}}
      - {redirect: {scheme: https}, policies: {access: [missing]}}
      - {backends: [{name: b}], responseHeaders: {set: {X-Frame-Options: \"a\\nb\"}}}
  - {name: inherits, policies: {access: [missing]}, rules: [{backends: [{name: b}]}, {backends: [{name: b}], policies: {access: []}}]}
",
    );
    assert_eq!(forward(rule(&model, "r/0")), [("b", 1, 1)]);
    for index in 1..11 {
        assert_eq!(forward(rule(&model, &format!("r/{index}"))), [], "{index}");
    }
    assert_eq!(forward(rule(&model, "inherits/0")), []);
    assert_eq!(forward(rule(&model, "inherits/1")), [("b", 1, 1)]);
    assert_eq!(model.access_lists.len(), 1);
    assert!(model.authentications.is_empty());
    assert!(model.rate_limits.is_empty() && model.waf_profiles.is_empty());
}

#[test]
fn defaults_that_cannot_be_read_open_nothing() {
    let model = model(
        "defaults: {access: office}
backends: [{name: b, endpoints: [{address: '10.0.0.1:80'}]}]
routes: [{name: r, rules: [{backends: [{name: b}]}, {backends: [{name: b}], policies: {access: [], authentication: [], rateLimits: [], waf: {}}}, {backends: [{name: b}], policies: {access: [], rateLimits: [], waf: {}}}]}]
",
    );
    assert_eq!(forward(rule(&model, "r/0")), []);
    assert_eq!(forward(rule(&model, "r/1")), [("b", 1, 1)]);
    assert_eq!(forward(rule(&model, "r/2")), []);
}

#[test]
fn a_backend_that_is_missing_or_wrong_keeps_its_share_without_endpoints() {
    let model = model(
        "backends:
  - {name: good, endpoints: [{address: '10.0.0.1:80'}]}
  - {name: bad, endpoints: [{address: '10.0.0.1:80'}], tls: {serverName: '*.a'}}
routes: [{name: r, rules: [{backends: [{name: good, weight: 8}, {name: bad}, {name: missing}]}]}]
",
    );
    let expected = [("good", 1, 8), ("bad", 0, 1), ("missing", 0, 1)];
    assert_eq!(forward(rule(&model, "r/0")), expected);
    let names: Vec<_> = model.backends.iter().map(|backend| &backend.name).collect();
    assert_eq!(names, ["good", "bad", "missing"]);
}

#[test]
fn each_field_of_the_policies_comes_from_the_nearest_level() {
    let model = model(
        "accessLists: [{name: a, allow: [10.0.0.0/8]}, {name: b, allow: [10.0.0.0/8]}]
wafProfiles: [{name: w, mode: detect}]
defaults: {access: [a], maxBodySize: 1MiB, waf: {profile: w}, timeouts: {connect: 1s, read: 2s, write: 3s}}
routes:
  - name: r
    policies: {access: [b], timeouts: {read: 20s}}
    rules:
      - {}
      - policies: {access: [], maxBodySize: 0, waf: {}, timeouts: {write: 30s}}
      - policies: {waf: {profile: w, mode: block}}
",
    );
    let policies = |id| &rule(&model, id).policies;
    let first = policies("r/0");
    assert_eq!(first.access.len(), 1);
    assert_eq!(first.access[0].name, "b");
    assert_eq!(first.max_body_size, Some(1 << 20));
    let waf = |policies: &Policies| {
        let waf = policies.waf.as_ref();
        waf.map(|waf| (waf.profile.clone(), waf.mode))
    };
    assert_eq!(waf(first), Some(("w".into(), WafMode::Detect)));
    let seconds = |time: Duration| time.as_secs();
    let times = |id| {
        let times = &policies(id).timeouts;
        [times.connect, times.read, times.write, times.client_read].map(seconds)
    };
    assert_eq!(times("r/0"), [1, 20, 3, 60]);
    assert_eq!(times("r/1"), [1, 20, 30, 60]);
    let second = policies("r/1");
    assert!(second.access.is_empty() && second.waf.is_none());
    assert_eq!(second.max_body_size, None);
    assert_eq!(waf(policies("r/2")), Some(("w".into(), WafMode::Block)));
}

#[test]
fn what_is_left_out_has_its_default() {
    let model = model(
        "listeners: [{name: h, protocol: http}, {name: s, protocol: https}]
certificates: [{name: c, certificate: a.crt, key: a.key, hosts: ['*.Shop.test.']}]
rateLimits: [{name: l, rate: 20/m}]
wafProfiles: [{name: w}]
backends: [{name: b, endpoints: [{address: '10.0.0.1:80'}]}]
routes: [{name: r, hosts: ['SHOP.test.', '*.Shop.test'], rules: [{matches: [{path: {prefix: /a/}}], redirect: {scheme: https}}]}]
",
    );
    let addresses: Vec<_> = model
        .listeners
        .iter()
        .map(|listener| listener.address.to_string())
        .collect();
    assert_eq!(addresses, ["[::]:8080", "[::]:8443"]);
    assert_eq!(model.certificates[0].hosts, ["*.shop.test"]);
    let limit = &model.rate_limits[0];
    assert_eq!((limit.burst, limit.max_keys), (20, 100_000));
    assert_eq!(limit.key, RateLimitKey::Address { v4: 32, v6: 64 });
    let profile = &model.waf_profiles[0];
    assert_eq!(profile.rules, [WafRules::Builtin(BuiltinRules::Baseline)]);
    assert_eq!(
        (profile.tuning.threshold, profile.body_limit),
        (None, 1 << 20)
    );
    assert_eq!(model.backends[0].keepalive, Duration::from_secs(4));
    let hosts = [
        HostPattern::Exact("shop.test".into()),
        HostPattern::Suffix("shop.test".into()),
    ];
    assert_eq!(model.routes[0].hosts, hosts);
    let rule = rule(&model, "r/0");
    assert_eq!(rule.policies.max_body_size, Some(10 << 20));
    let Action::Redirect(redirect) = &rule.action else {
        panic!("{rule:?} forwards");
    };
    assert_eq!((redirect.scheme, redirect.status), (Some("https"), 302));
    let (matches, _) = &model.routes[0].rules[0];
    assert!(matches!(&matches[0].path, crate::model::PathMatch::Prefix(prefix) if prefix == "/a"));
    assert_eq!(model.process, crate::model::Process::default());
    assert!(model.egress.is_none());
}

#[test]
fn lim_07_one_entry_may_hold_a_folded_list() {
    let model = model(
        "accessLists:
  - name: a
    allow:
      - \" 10.0.0.0/8 , 192.168.0.0/16 ,\"
      - |
        172.16.0.0/12
        2001:db8::/32
      - 0.0.0.0/0,::/0
",
    );
    let allow = model.access_lists[0].allow.as_ref();
    assert_eq!(allow.map(crate::access::AddressSet::len), Some(6));
}

#[test]
fn cfg_05_a_broken_route_never_becomes_broader() {
    let model = model(
        "routes:
  - {name: hosts, hosts: ['a b'], rules: [{}]}
  - {name: listeners, listeners: [missing], rules: [{}]}
  - name: matches
    rules:
      - matches: [{path: {regex: '/a['}}, {path: {prefix: /b}, headers: [{name: 'x y', exact: a}]}]
",
    );
    let names: Vec<_> = model.routes.iter().map(|route| &route.name).collect();
    assert_eq!(names, ["listeners", "matches"]);
    assert_eq!(model.routes[0].listeners, ["missing"]);
    assert!(model.routes[1].rules[0].0.is_empty());
}

#[test]
fn a_document_that_was_not_read_has_its_duplicate_names_told() {
    let list = |name: &str| crate::document::AccessList {
        name: name.into(),
        address: None,
        allow: None,
        deny: vec!["10.0.0.0/8".into()],
    };
    let document = Document {
        access_lists: vec![list("a"), list("a")],
        ..Document::default()
    };
    let validated = validate(&document, &Origins::default());
    assert_eq!(validated.model.access_lists.len(), 1);
    assert_eq!(
        validated.problems[0].to_string(),
        "built-in: error: accessLists[1].name: the name \"a\" is taken"
    );
}

#[test]
fn what_is_made_again_is_what_is_made_alone_whatever_was_wrong_before() {
    let (good, bad) = ("10.0.0.1:80", "10.0.0.1:0");
    let document = |backend: &str, mirror: &str, list: &str| {
        let text = format!(
            "backends: [{{name: b, endpoints: [{{address: '{backend}'}}]}}, {{name: m, endpoints: [{{address: '{mirror}'}}]}}]
accessLists: [{{name: office, allow: [{list}]}}]
routes:
  - {{name: r, rules: [{{backends: [{{name: b}}], mirrors: [{{backend: m}}], policies: {{access: [office]}}}}]}}
  - {{name: s, rules: [{{backends: [{{name: b}}]}}, {{matches: [{{path: {{regex: '/a['}}}}], backends: [{{name: m}}]}}]}}
"
        );
        read(&[SourceFile {
            name: "a.yaml".into(),
            text,
        }])
    };
    let (inside, outside, wrong) = ("10.0.0.0/8", "192.0.2.0/24", "10.0.0.x");
    let mut before = Made::default();
    for (backend, mirror, list) in [
        (good, good, inside),
        (good, bad, inside),
        (good, good, inside),
        (bad, good, inside),
        (good, good, wrong),
        (good, good, inside),
        (good, good, outside),
        (good, good, outside),
    ] {
        let mut now = document(backend, mirror, list);
        let alone = validate(&now.document, &now.origins);
        now.document.share(before.document());
        let shared = Arc::new(now.document);
        let (again, made) = validate_again(&shared, &now.origins, &before);
        before = made;
        let told = |validated: &Validated| format!("{validated:#?}");
        assert_eq!(told(&again), told(&alone), "{backend} {mirror} {list}");
    }
}
