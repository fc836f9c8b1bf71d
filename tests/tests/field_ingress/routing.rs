//! Which request goes where, and what the backend is asked for.

use portcullis_tests::{Backend, Gateway};

use crate::reached;

struct Site {
    gateway: Gateway,
    // They end with the test.
    _backends: Vec<Backend>,
}

/// A gateway with backends of these names, and routes as they are written.
async fn site(names: &[&str], routes: &str) -> Site {
    let mut backends = Vec::new();
    for name in names {
        backends.push(Backend::start(name).await);
    }
    let list: Vec<_> = names
        .iter()
        .zip(&backends)
        .map(|(name, backend)| {
            format!(
                "{{name: {name}, endpoints: [{{address: {}}}]}}",
                backend.address
            )
        })
        .collect();
    let gateway = Gateway::start(&format!(
        "listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]\nbackends: [{}]\nroutes:\n{routes}",
        list.join(", ")
    ));
    Site {
        gateway,
        _backends: backends,
    }
}

impl Site {
    fn sends(&self, host: &str, expected: &[(&str, &str)]) {
        for (target, to) in expected {
            let found = reached(self.gateway.http(), host, target);
            assert_eq!(found, *to, "{host} {target}");
        }
    }
}

/// A rule with a path condition, to a backend.
fn rule(condition: &str, backend: &str) -> String {
    format!("{{matches: [{{path: {{{condition}}}}}], backends: [{{name: {backend}}}]}}")
}

fn route(name: &str, host: &str, rules: &[String]) -> String {
    let rules = rules.join(", ");
    format!("- {{name: {name}, hosts: ['{host}'], rules: [{rules}]}}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn ing_01_a_prefix_matches_whole_elements() {
    for prefix in ["/foo", "/foo/"] {
        let rules = [
            rule(&format!("prefix: {prefix}"), "a"),
            rule("prefix: /", "root"),
        ];
        let site = site(&["a", "root"], &route("shop", "shop.test", &rules)).await;
        site.sends(
            "shop.test",
            &[
                ("/foo", "a /foo"),
                ("/foo/", "a /foo/"),
                ("/foo/x", "a /foo/x"),
                ("/foo?x=1", "a /foo?x=1"),
                ("/foobar", "root /foobar"),
                ("/foo.html", "root /foo.html"),
            ],
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ing_02_a_slash_at_the_end_is_a_part_of_an_exact_path() {
    let rules = [rule("exact: /docs-x/", "a")];
    let site = site(&["a"], &route("shop", "shop.test", &rules)).await;
    // No redirect to the path with the slash, either.
    site.sends(
        "shop.test",
        &[("/docs-x", "404"), ("/docs-x/", "a /docs-x/")],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ing_04_the_longest_path_wins_in_whatever_order() {
    for kind in ["prefix", "regex"] {
        let tail = if kind == "regex" { ".*" } else { "" };
        let routes = [
            ("first", "/api/", "a"),
            ("second", "/api/v2/users/", "b"),
            ("third", "/", "c"),
        ]
        .map(|(name, path, to)| {
            let condition = format!("{kind}: '{path}{tail}'");
            route(name, "api.test", &[rule(&condition, to)])
        });
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]] {
            let written: String = order.iter().map(|&n| routes[n].as_str()).collect();
            let site = site(&["a", "b", "c"], &written).await;
            site.sends(
                "api.test",
                &[
                    ("/api/v2/users/7", "b /api/v2/users/7"),
                    ("/api/v1", "a /api/v1"),
                    ("/other", "c /other"),
                ],
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ing_05_a_regex_of_one_route_leaves_the_others_as_they_are() {
    let written = route("one", "app.test", &[rule("regex: '/pear(/|$)(.*)'", "a")])
        + &route("two", "app.test", &[rule("exact: /re", "b")]);
    let site = site(&["a", "b"], &written).await;
    site.sends(
        "app.test",
        &[
            ("/re", "b /re"),
            ("/report", "404"),
            ("/RE", "404"),
            ("/pear/x", "a /pear/x"),
            ("/pear", "a /pear"),
            ("/pearl", "404"),
            ("/x/pear/x", "404"),
        ],
    );
}

/// A rule whose path is a regex, and what it is rewritten to.
fn rewritten(regex: &str, path: &str, backend: &str) -> String {
    format!(
        "{{matches: [{{path: {{regex: '{regex}'}}}}], rewrite: {{path: '{path}'}}, backends: [{{name: {backend}}}]}}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn ing_07_groups_of_a_regex_make_the_path() {
    let rules = [rewritten("/svc(/|$)(.*)", "/$2", "a")];
    let site = site(&["a"], &route("app", "app.test", &rules)).await;
    site.sends(
        "app.test",
        &[
            ("/svc", "a /"),
            ("/svc/", "a /"),
            ("/svc/a/b?x=1&y=%20", "a /a/b?x=1&y=%20"),
            ("/svcx", "404"),
            ("/svc//double", "a /double"),
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ing_08_escapes_survive_routing_and_rewriting() {
    let written = route("plain", "app.test", &[rule("prefix: /", "a")])
        + &route("groups", "app.test", &[rewritten("/mgmt/(.*)", "/$1", "b")])
        + "- {name: prefix, hosts: [app.test], rules: [{matches: [{path: {prefix: /pre}}], rewrite: {prefix: /}, backends: [{name: b}]}]}\n";
    let policies = "policies: {encodedSlashes: keep}, hosts:";
    let kept = site(&["a", "b"], &written.replace("hosts:", policies)).await;
    kept.sends(
        "app.test",
        &[
            ("/obj/%2Fa%2Fb", "a /obj/%2Fa%2Fb"),
            ("/obj/%2fa", "a /obj/%2fa"),
            ("/mgmt/k%24v%2Fz%20q", "b /k%24v%2Fz%20q"),
            ("/%6Dgmt/k%7Ev?q=%2F%20", "b /k%7Ev?q=%2F%20"),
            ("/pre/k%24v%2Fz%20q", "b /k%24v%2Fz%20q"),
        ],
    );
    // What has two readings is refused where nobody has said which one counts.
    let strict = site(&["a", "b"], &written).await;
    strict.sends(
        "app.test",
        &[("/obj/%2Fa%2Fb", "400"), ("/o%24", "a /o%24")],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ing_10_an_exact_host_beats_a_wildcard() {
    let wild = route("wild", "*.example.test", &[rule("prefix: /", "wild")]);
    let exact = route("exact", "api.example.test", &[rule("prefix: /v1", "api")]);
    for written in [format!("{wild}{exact}"), format!("{exact}{wild}")] {
        let site = site(&["wild", "api"], &written).await;
        for host in [
            "api.example.test",
            "api.example.test:8080",
            "API.Example.Test",
        ] {
            // Paths do not fall through to the wildcard.
            site.sends(host, &[("/v1", "api /v1"), ("/x", "404")]);
        }
        site.sends("other.example.test", &[("/x", "wild /x")]);
        site.sends("other.example.test:8080", &[("/x", "wild /x")]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ing_11_a_wildcard_covers_labels_and_never_the_name_itself() {
    let written = route("wild", "*.gw.test", &[rule("prefix: /", "g")]);
    let site = site(&["g"], &written).await;
    for host in ["one.gw.test", "one.two.gw.test"] {
        site.sends(host, &[("/", "g /")]);
    }
    for host in ["gw.test", "xgw.test", "gw.test.evil", ".gw.test"] {
        let status = reached(site.gateway.http(), host, "/");
        assert!(
            ["404", "400"].contains(&status.as_str()),
            "{host}: {status}"
        );
    }
}
