use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::*;
use crate::model::HostPattern;
use crate::{
    read::{SourceFile, read},
    route::{canonical_host, canonical_path},
    validate::validate,
};

/// Routes as `name listeners hosts` and a list of matches, in the YAML of the document.
fn routes(text: &str) -> Vec<Arc<Route>> {
    let listeners = "listeners: [{name: in, protocol: http, address: '127.0.0.1:0'}, {name: out, protocol: http, address: '127.0.0.1:0'}]\nroutes:\n";
    let read = read(&[SourceFile {
        name: "a.yaml".into(),
        text: format!("{listeners}{text}"),
    }]);
    assert!(read.problems.is_empty(), "{:#?}", read.problems);
    let validated = validate(&read.document, &read.origins);
    let errors = validated
        .problems
        .iter()
        .filter(|problem| problem.severity == crate::problem::Severity::Error);
    assert_eq!(errors.count(), 0, "{:#?}", validated.problems);
    validated.model.routes
}

/// Every order for a few routes, every rotation and its mirror for more.
fn orders(routes: &[Arc<Route>]) -> Vec<Vec<Arc<Route>>> {
    let mut orders = Vec::new();
    for start in 0..routes.len() {
        let mut order = routes.to_vec();
        order.rotate_left(start);
        orders.push(order.clone());
        order.reverse();
        orders.push(order);
    }
    orders
}

/// A request as `[METHOD] host/path [header=value]*`, on the listener `in`.
fn find(table: &RouteTable, listener: &str, request: &str) -> Option<(String, usize)> {
    let mut words = request.split(' ').peekable();
    let method = words.next_if(|word| word.bytes().all(|byte| byte.is_ascii_uppercase()));
    let method = Method::from_bytes(method.unwrap_or("GET").as_bytes()).unwrap();
    let target = words.next().unwrap();
    let (host, path) = target.split_at(target.find('/').unwrap());
    let mut headers = HeaderMap::new();
    for header in words {
        let (name, value) = header.split_once('=').unwrap();
        let name: HeaderName = name.parse().unwrap();
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    let host = match host {
        "" => String::new(),
        host => canonical_host(host).unwrap().0.into_owned(),
    };
    let (path, query) = match path.split_once('?') {
        Some((path, query)) => (path, Some(query.as_bytes())),
        None => (path, None),
    };
    let path = canonical_path(path.as_bytes()).unwrap();
    let request = RouteRequest {
        listener,
        host: &host,
        path: path.canonical(),
        method: &method,
        headers: &headers,
        query,
    };
    let found = table.find(request)?;
    let prefix_len = match found.reached {
        Reached::Prefix(length) => length,
        Reached::Exact | Reached::Regex(_) => 0,
    };
    Some((found.rule.id.clone(), prefix_len))
}

/// Asserts what requests find, whatever the order of the routes.
fn check(text: &str, cases: &[(&str, &str)]) {
    for order in orders(&routes(text)) {
        let table = RouteTable::new(&order);
        for (request, expected) in cases {
            let found = find(&table, "in", request);
            let found = found.map_or("404".to_owned(), |(id, _)| id);
            assert_eq!(&found, expected, "{request}");
        }
    }
}

#[test]
fn ing_01_a_prefix_is_whole_segments() {
    check(
        "  - {name: a, hosts: [shop.test], rules: [{matches: [{path: {prefix: /cart}}]}]}\n",
        &[
            ("shop.test/cart", "a/0"),
            ("shop.test/cart/", "a/0"),
            ("shop.test/cart/7", "a/0"),
            ("shop.test//cart//7", "a/0"),
            ("shop.test/%63art", "a/0"),
            ("shop.test/x/../cart", "a/0"),
            ("shop.test/cartoon", "404"),
            ("shop.test/CART", "404"),
            ("shop.test/", "404"),
        ],
    );
}

#[test]
fn ing_02_an_exact_path_with_a_slash_is_not_the_path_without() {
    check(
        "  - {name: a, hosts: [shop.test], rules: [{matches: [{path: {exact: /docs-x/}}]}]}\n",
        &[
            ("shop.test/docs-x/", "a/0"),
            ("shop.test/docs-x", "404"),
            ("shop.test/docs-x/y", "404"),
        ],
    );
}

#[test]
fn ing_04_the_longest_path_wins_in_every_order() {
    check(
        "
  - {name: a, hosts: [api.test], rules: [{matches: [{path: {prefix: /api}}]}]}
  - {name: b, hosts: [api.test], rules: [{matches: [{path: {prefix: /api/v2/users}}]}]}
  - {name: c, hosts: [api.test], rules: [{matches: [{path: {prefix: /}}]}]}
",
        &[
            ("api.test/api/v2/users/7", "b/0"),
            ("api.test/api/v1", "a/0"),
            ("api.test/api/v2/usersx", "a/0"),
            ("api.test/other", "c/0"),
        ],
    );
    check(
        "
  - {name: a, hosts: [api.test], rules: [{matches: [{path: {regex: /api/.*}}]}]}
  - {name: b, hosts: [api.test], rules: [{matches: [{path: {regex: /api/v2/users/.*}}]}]}
  - {name: c, hosts: [api.test], rules: [{matches: [{path: {regex: /.*}}]}]}
  - {name: d, hosts: [api.test], rules: [{matches: [{path: {regex: /apix/x.}}]}]}
  - {name: e, hosts: [api.test], rules: [{matches: [{path: {regex: /apix/.x}}]}]}
",
        &[
            ("api.test/api/v2/users/7", "b/0"),
            ("api.test/api/v1", "a/0"),
            ("api.test/other", "c/0"),
            ("api.test/apix/xx", "e/0"),
        ],
    );
}

#[test]
fn ing_05_a_regex_of_one_route_does_not_change_another() {
    check(
        "
  - {name: a, hosts: [app.test], rules: [{matches: [{path: {regex: '/pear(/|$)(.*)'}}]}]}
  - {name: b, hosts: [app.test], rules: [{matches: [{path: {exact: /re}}]}]}
",
        &[
            ("app.test/re", "b/0"),
            ("app.test/report", "404"),
            ("app.test/RE", "404"),
            ("app.test/pear/x", "a/0"),
            ("app.test/spear/x", "404"),
        ],
    );
}

#[test]
fn ing_10_an_exact_host_beats_a_wildcard_and_keeps_its_requests() {
    check(
        "
  - {name: wild, hosts: ['*.example.test'], rules: [{}]}
  - {name: api, hosts: [api.example.test], rules: [{matches: [{path: {prefix: /v1}}]}]}
  - {name: any, rules: [{}]}
",
        &[
            ("api.example.test/v1", "api/0"),
            ("api.example.test:8080/v1", "api/0"),
            ("API.Example.Test/v1", "api/0"),
            ("api.example.test./v1", "api/0"),
            ("other.example.test/", "wild/0"),
            ("api.example.test/x", "404"),
            ("example.test/", "any/0"),
            ("/", "any/0"),
        ],
    );
}

#[test]
fn ing_11_a_wildcard_covers_labels_and_never_the_apex() {
    check(
        "
  - {name: g, hosts: ['*.gw.test'], rules: [{}]}
  - {name: deep, hosts: ['*.two.gw.test'], rules: [{}]}
",
        &[
            ("one.gw.test/", "g/0"),
            ("one.two.gw.test/", "deep/0"),
            ("two.gw.test/", "g/0"),
            ("gw.test/", "404"),
            ("xgw.test/", "404"),
            ("other.test/", "404"),
        ],
    );
}

#[test]
fn rules_of_one_host_go_by_path_then_method_then_headers() {
    check(
        "
  - {name: prefix, hosts: [a.test], rules: [{matches: [{path: {prefix: /a}}]}]}
  - {name: method, hosts: [a.test], rules: [{matches: [{path: {prefix: /a}, method: POST}]}]}
  - {name: header, hosts: [a.test], rules: [{matches: [{path: {prefix: /a}, headers: [{name: X-A, exact: '1'}]}]}]}
  - {name: headers, hosts: [a.test], rules: [{matches: [{path: {prefix: /a}, headers: [{name: x-a, present: true}, {name: x-b, regex: '[0-9]+'}]}]}]}
  - {name: exact, hosts: [a.test], rules: [{matches: [{path: {exact: /a/b}, method: GET}]}]}
  - {name: regex, hosts: [a.test], rules: [{matches: [{path: {regex: '/a/.'}, method: PUT}]}]}
  - {name: absent, hosts: [a.test], rules: [{matches: [{path: {prefix: /c}, headers: [{name: x-a, present: false}]}]}]}
",
        &[
            ("a.test/a", "prefix/0"),
            ("POST a.test/a", "method/0"),
            ("POST a.test/a x-a=1", "method/0"),
            ("a.test/a x-a=1", "header/0"),
            ("a.test/a x-a=0 x-a=1", "header/0"),
            ("a.test/a x-a=2", "prefix/0"),
            ("a.test/a x-a=1 x-b=42", "headers/0"),
            ("a.test/a x-a=1 x-b=4x", "header/0"),
            ("a.test/a/b", "exact/0"),
            ("PUT a.test/a/b", "regex/0"),
            ("DELETE a.test/a/b", "prefix/0"),
            ("a.test/c", "absent/0"),
            ("a.test/c x-a=1", "404"),
        ],
    );
}

#[test]
fn ties_go_to_what_stands_first() {
    let table = RouteTable::new(&routes(
        "  - {name: b, rules: [{}, {}]}\n  - {name: a, rules: [{}]}\n",
    ));
    assert_eq!(find(&table, "in", "x.test/"), Some(("b/0".into(), 0)));
}

#[test]
fn a_listener_sees_its_routes_only_before_the_host_is_chosen() {
    let table = RouteTable::new(&routes(
        "
  - {name: exact, listeners: [out], hosts: [a.test], rules: [{}]}
  - {name: wild, hosts: ['*.test'], rules: [{}]}
",
    ));
    let id = |listener| find(&table, listener, "a.test/").map(|(id, _)| id);
    assert_eq!(id("out").as_deref(), Some("exact/0"));
    assert_eq!(id("in").as_deref(), Some("wild/0"));
    assert_eq!(id("unknown").as_deref(), Some("wild/0"));
}

#[test]
fn a_prefix_match_tells_what_it_covered() {
    let table = RouteTable::new(&routes(
        "  - {name: a, rules: [{matches: [{path: {prefix: /a/b/}}]}, {}]}\n",
    ));
    for (request, expected) in [
        ("a.test/a/b", ("a/0", 4)),
        ("a.test/a/b/", ("a/0", 4)),
        ("a.test/a/b/c", ("a/0", 4)),
        ("a.test/a", ("a/1", 0)),
    ] {
        let found = find(&table, "in", request).unwrap();
        assert_eq!((found.0.as_str(), found.1), expected, "{request}");
    }
}

#[test]
fn thousands_of_routes_are_found_by_their_own_path() {
    let mut text = String::new();
    for n in 0..5000 {
        text.push_str(&format!(
            "  - {{name: r{n}, hosts: [h{}.test], rules: [{{matches: [{{path: {{prefix: /p{n}}}}}]}}]}}\n",
            n % 50
        ));
    }
    let table = RouteTable::new(&routes(&text));
    for n in (0..5000).step_by(7) {
        let found = find(&table, "in", &format!("h{}.test/p{n}/x", n % 50)).unwrap();
        assert_eq!(found.0, format!("r{n}/0"));
    }
}

/// The documented order, read off every match of every rule one by one.
fn find_slowly<'a>(
    routes: &'a [Arc<Route>],
    listener: &str,
    host: &str,
    path: &str,
) -> Option<&'a str> {
    let served = |route: &&Arc<Route>| {
        route.listeners.is_empty() || route.listeners.iter().any(|name| name == listener)
    };
    let rank = |pattern: &HostPattern| match pattern {
        HostPattern::Exact(name) => (name == host).then_some(usize::MAX),
        HostPattern::Suffix(suffix) => host
            .strip_suffix(suffix.as_str())
            .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            .then_some(suffix.len()),
    };
    let rank = |route: &Arc<Route>| match route.hosts.is_empty() {
        true => Some(0),
        false => route.hosts.iter().filter_map(rank).max(),
    };
    let best = routes.iter().filter(served).filter_map(rank).max()?;
    let mut found: Vec<_> = Vec::new();
    for route in routes.iter().filter(served) {
        // A route may have several hosts; it counts where one of them is the chosen one.
        if rank(route) != Some(best) {
            continue;
        }
        for (wanted, rule) in route
            .rules
            .iter()
            .flat_map(|(matches, rule)| matches.iter().map(move |wanted| (wanted, rule)))
        {
            let key = match &wanted.path {
                PathMatch::Exact(exact) if exact == path => (0, 0, String::new()),
                PathMatch::Regex(regex) if regex.is_match(path) => {
                    (1, usize::MAX - regex.as_str().len(), regex.to_string())
                }
                PathMatch::Prefix(prefix)
                    if path
                        .strip_prefix(prefix.as_str())
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) =>
                {
                    (2, usize::MAX - prefix.len(), String::new())
                }
                _ => continue,
            };
            let method = wanted.method.as_ref();
            if method.is_none_or(|method| method == Method::GET) {
                found.push(((key.0, key.1, method.is_none(), key.2), rule.id.as_str()));
            }
        }
    }
    // The sort is stable: ties stay in document order.
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    found.first().map(|(_, id)| *id)
}

proptest::proptest! {
    #[test]
    fn the_table_finds_what_the_documented_order_says(
        picks in proptest::collection::vec((0usize..3, 0usize..7, 0usize..12, 0usize..3), 1..12),
    ) {
        let listeners = ["", "listeners: [in], ", "listeners: [out], "];
        let hosts = ["", "[a.test]", "['*.a.test']", "['*.test']", "[b.a.test, c.test]", "['*.b.a.test']", "[test]"];
        let paths = [
            "", "exact: /", "exact: /a", "exact: /a/b", "prefix: /a", "prefix: /a/b", "prefix: /",
            "regex: /.*", "regex: /a/.*", "regex: /./b", "regex: /a/.", "regex: '/|/a'",
        ];
        let methods = ["", "method: GET", "method: POST"];
        let mut text = String::new();
        for (index, (listener, host, path, method)) in picks.into_iter().enumerate() {
            let mut wanted = Vec::new();
            if path > 0 {
                wanted.push(format!("path: {{{}}}", paths[path]));
            }
            if method > 0 {
                wanted.push(methods[method].to_owned());
            }
            let host = match host {
                0 => String::new(),
                host => format!("hosts: {}, ", hosts[host]),
            };
            text.push_str(&format!(
                "  - {{name: r{index}, {}{host}rules: [{{matches: [{{{}}}]}}]}}\n",
                listeners[listener],
                wanted.join(", "),
            ));
        }
        let routes = routes(&text);
        let table = RouteTable::new(&routes);
        for listener in ["in", "out", "other"] {
            for host in ["a.test", "b.a.test", "x.b.a.test", "x.a.test", "c.test", "test", "other"] {
                for path in ["/", "/a", "/a/", "/a/b", "/a/bc", "/a/b/c", "/c/b", "/ab"] {
                    let found = find(&table, listener, &format!("{host}{path}"));
                    let expected = find_slowly(&routes, listener, host, path);
                    proptest::prop_assert_eq!(
                        found.as_ref().map(|(id, _)| id.as_str()),
                        expected,
                        "{} {}{}\n{}", listener, host, path, text
                    );
                }
            }
        }
    }
}

#[test]
fn cookies_and_query_parameters_choose_and_count_as_in_the_gateway_api() {
    check(
        "
  - {name: plain, hosts: [a.test], rules: [{}]}
  - {name: query, hosts: [a.test], rules: [{matches: [{query: [{name: v, exact: a b}]}]}]}
  - {name: two, hosts: [a.test], rules: [{matches: [{query: [{name: v, exact: a b}, {name: w, present: true}]}]}]}
  - {name: cookie, hosts: [a.test], rules: [{matches: [{cookies: [{name: beta, regex: 'yes|on'}]}]}]}
  - {name: absent, hosts: [b.test], rules: [{matches: [{query: [{name: v, present: false}]}]}]}
",
        &[
            ("a.test/", "plain/0"),
            ("a.test/?v=a+b", "query/0"),
            ("a.test/?v=a%20b", "query/0"),
            ("a.test/?%76=a+b&v=c", "query/0"),
            ("a.test/?v=c&v=a+b", "plain/0"),
            ("a.test/?V=a+b", "plain/0"),
            ("a.test/?v=a+b&w", "two/0"),
            // A cookie is a part of a header, which goes before any number of parameters.
            ("a.test/?v=a+b&w cookie=beta=yes", "cookie/0"),
            ("a.test/ cookie=x=1;beta=on", "cookie/0"),
            ("a.test/ cookie=beta=yes!", "plain/0"),
            ("a.test/ cookie=beta=no;beta=yes", "plain/0"),
            ("b.test/", "absent/0"),
            ("b.test/?w=1", "absent/0"),
            ("b.test/?v", "404"),
        ],
    );
}
