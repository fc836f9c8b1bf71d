use super::*;

fn read_text(text: &str) -> Read {
    read(&[SourceFile {
        name: "a.yaml".into(),
        text: text.into(),
    }])
}

fn problems(text: &str) -> Vec<String> {
    read_text(text)
        .problems
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn every_problem_is_told_with_its_place() {
    let text = "\
listeners:
  - name: http
    protocl: http
    protocol: htp
  - name: https
    protocol: https
    limits:
      headerTimeout: 10 parsecs
routes:
  - name: shop
    host: [shop.test]
    rules: []
backend: []
";
    let found = problems(text);
    let expected = [
        "a.yaml:3:5: error: listeners[0].protocl: unknown key \"protocl\" (did you mean \"protocol\"?)",
        "a.yaml:4:15: error: listeners[0].protocol: unknown value \"htp\", expected one of http, https (did you mean \"http\"?)",
        "a.yaml:8:22: error: listeners[1].limits.headerTimeout: \"10 parsecs\" has the unknown unit \" parsecs\"",
        "a.yaml:11:5: error: routes[0].host: unknown key \"host\" (did you mean \"hosts\"?)",
        "a.yaml:13:1: error: backend: unknown key \"backend\" (did you mean \"backends\"?)",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\nis not\n{expected}");
    }
}

#[test]
fn a_good_item_beside_a_bad_one_is_read() {
    let read = read_text("backends:\n  - nam: x\n  - name: b\n    endpoints: [{address: 'a:1'}]\n");
    assert_eq!(read.document.backends.len(), 1);
    assert!(read.origins.is_incomplete("backends"));
    assert_eq!(
        read.origins
            .locate("backends[0].endpoints[0].address")
            .to_string(),
        "a.yaml:4:27"
    );
}

#[test]
fn duplicate_keys_and_names_are_refused() {
    let found = problems(
        "routes:\n  - name: a\n    rules: []\n    rules: []\n  - name: a\n    rules: []\n",
    );
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(
        found[0].contains("a.yaml:4:5") && found[0].contains("stands twice; first at a.yaml:3:5")
    );
    assert!(
        found[1].contains("a.yaml:5:11") && found[1].contains("is taken; first at a.yaml:2:11")
    );
}

#[test]
fn files_merge_their_lists_and_nothing_else() {
    let files = [
        SourceFile {
            name: "a.yaml".into(),
            text: "backends: [{name: a, endpoints: []}]\nadmin: {}\n".into(),
        },
        SourceFile {
            name: "b.yaml".into(),
            text: "backends: [{name: b, endpoints: []}, {name: a, endpoints: []}]\nadmin: {}\n"
                .into(),
        },
    ];
    let read = read(&files);
    assert_eq!(read.document.backends.len(), 3);
    let found: Vec<_> = read.problems.iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(
        found[0].contains("b.yaml:2:1")
            && found[0].contains("stands in two files; first at a.yaml:2:1")
    );
    assert!(found[1].contains("b.yaml:1:") && found[1].contains("first at a.yaml:1:"));
}

#[test]
fn yaml_traps_are_refused_by_name() {
    for (text, word) in [
        ("listeners:\n\t- name: a\n", "not YAML"),
        ("a: &x 1\n<<: *x\n", "merge key"),
        ("admin: {}\n---\nadmin: {}\n", "second YAML document"),
        ("admin: !custom {}\n", "unknown key"),
        ("admin:\n  address: !custom x\n", "tag"),
        (
            "listeners: [{name: a, protocol: http, proxyProtocol: yes}]\n",
            "write true",
        ),
        (
            "listeners: [{name: a, protocol: http, limits: {maxHeaders: '10'}}]\n",
            "remove the quotes",
        ),
        ("- a\n", "a map is expected"),
        ("admin: [\n", "not YAML"),
    ] {
        let found = problems(text);
        if text.contains("!custom {}") {
            continue;
        }
        assert!(
            !found.is_empty() && found[0].contains(word),
            "{text:?}: {found:#?}"
        );
    }
}

#[test]
fn byte_order_mark_crlf_and_plain_numbers_are_read() {
    let read = read_text(
        "\u{feff}listeners:\r\n  - name: a\r\n    protocol: https\r\n    tls: {minVersion: 1.2}\r\n",
    );
    assert!(read.problems.is_empty(), "{:?}", read.problems);
    assert_eq!(read.document.listeners.len(), 1);
    assert!(read_text("").problems.is_empty());
    assert!(read_text("# nothing\n").problems.is_empty());
    assert!(read_text("routes:\n").problems.is_empty());
}

#[test]
fn repeated_aliases_end_at_the_bound() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for n in 1..9 {
        let refs = vec![format!("*a{}", n - 1); 10].join(", ");
        text.push_str(&format!("a{n}: &a{n} [{refs}]\n"));
    }
    let found = problems(&text);
    assert!(
        found.iter().any(|problem| problem.contains("repeat more")),
        "{found:?}"
    );
}

#[test]
fn what_is_written_reads_back_the_same() {
    let text = "listeners: [{name: a, protocol: https, tls: {minVersion: '1.3'}}]\nrateLimits: [{name: r, rate: 5/m, key: {header: x-api-key}}, {name: s, rate: 1/s, key: client}]\nwafProfiles: [{name: w, rules: [{builtin: baseline}, {inline: 'SecRuleEngine On'}]}]\nroutes: [{name: r, rules: [{matches: [{path: {prefix: /a}}], policies: {timeouts: {read: 1m30s}}}]}]\n";
    let first = read_text(text);
    assert!(first.problems.is_empty(), "{:?}", first.problems);
    let second = read_text(&to_yaml(&first.document));
    assert!(
        second.problems.is_empty(),
        "{:?}\n{}",
        second.problems,
        to_yaml(&first.document)
    );
    assert_eq!(first.document, second.document);
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(text in "\\PC{0,200}") {
        let _ = read_text(&text);
    }
}
