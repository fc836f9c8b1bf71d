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
        "a.yaml:4:15: error: listeners[0].protocol: unknown value \"htp\", expected one of http, https, tcp, udp (did you mean \"http\"?)",
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
    assert_eq!(read.document.backends.len(), 2);
    let found: Vec<_> = read.problems.iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].contains("b.yaml:1:") && found[0].contains("first at a.yaml:1:"));
    assert!(
        found[1].contains("b.yaml:2:1")
            && found[1].contains("stands in two files; first at a.yaml:2:1")
    );
}

#[test]
fn yaml_traps_are_refused_by_name() {
    for (text, word) in [
        ("listeners:\n\t- name: a\n", "not YAML"),
        ("a: &x 1\n<<: *x\n", "merge key"),
        ("admin: {}\n---\nadmin: {}\n", "second YAML document"),
        ("admin: !custom {}\n", "the tag !custom"),
        ("routes: !!seq []\n", "the tag"),
        ("admin: *later\nlogs: &later {}\n", "not YAML"),
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
    assert!(
        read_text("%YAML 1.1\n---\nroutes: []\n...\n")
            .problems
            .is_empty()
    );
    for section in ["routes", "tlsPolicies", "defaults", "egress"] {
        let problems = read_text(&format!("{section}:\n# - name: a\n")).problems;
        assert_eq!(problems.len(), 1, "{section}: {problems:?}");
    }
}

#[test]
fn one_item_has_all_its_problems_told() {
    let text = "\
listeners:
  - address: [x]
    limits:
      maxHeaders: many
      headerTimeout: 10
      idleTimeout: 1:30
    proxyProtocol: on
routes:
  - name: a
    rules:
      - matches:
          - path: {prefx: /a}
          - path: {prefix: [/a]}
          - path: {exact: /a, prefix: /b}
        redirect: {status: 0301, port: 99999}
      - backends: [{nam: x}]
";
    let found = problems(text);
    let expected = [
        "a.yaml:2:5: error: listeners[0]: the key \"name\" is missing",
        "a.yaml:2:5: error: listeners[0]: the key \"protocol\" is missing",
        "a.yaml:2:14: error: listeners[0].address: text is expected here, not a list",
        "a.yaml:4:19: error: listeners[0].limits.maxHeaders: a whole number from 0 to 4294967295 is expected here, not `many`",
        "a.yaml:5:22: error: listeners[0].limits.headerTimeout: \"10\" has no unit",
        "a.yaml:6:20: error: listeners[0].limits.idleTimeout: \"1:30\" has the unknown unit",
        "a.yaml:7:20: error: listeners[0].proxyProtocol: true or false is expected here, not `on` (write true",
        "a.yaml:12:19: error: routes[0].rules[0].matches[0].path: unknown value \"prefx\", expected one of exact, prefix, regex (did you mean \"prefix\"?)",
        "a.yaml:13:28: error: routes[0].rules[0].matches[1].path.prefix: text is expected here, not a list",
        "a.yaml:14:19: error: routes[0].rules[0].matches[2].path: exactly one of exact, prefix, regex is expected here, not a map",
        "a.yaml:15:28: error: routes[0].rules[0].redirect.status: a whole number from 0 to 65535 is expected here, not `0301` (write a decimal number without leading zeros)",
        "a.yaml:15:40: error: routes[0].rules[0].redirect.port: a whole number from 0 to 65535 is expected here, not `99999`",
        "a.yaml:16:20: error: routes[0].rules[1].backends[0]: the key \"name\" is missing",
        "a.yaml:16:21: error: routes[0].rules[1].backends[0].nam: unknown key \"nam\" (did you mean \"name\"?)",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\nis not\n{expected}");
    }
}

#[test]
fn nothing_written_is_not_an_empty_list() {
    let read = read_text("accessLists:\n  - name: office\n    allow:\n#     - 10.0.0.0/8\n");
    assert_eq!(read.problems.len(), 1, "{:?}", read.problems);
    assert!(
        read.problems[0]
            .to_string()
            .contains("nothing is written for \"allow\"")
    );
    assert!(read.document.access_lists.is_empty());
}

#[test]
fn cfg_07_scalars_keep_their_text() {
    let read = read_text(
        "routes: [{name: NO, hosts: [no, 1.10, 0x50, 2026-01-02, null.test, 0443], rules: []}]\n",
    );
    assert!(read.problems.is_empty(), "{:?}", read.problems);
    let route = &read.document.routes[0];
    assert_eq!(route.name, "NO");
    let hosts = ["no", "1.10", "0x50", "2026-01-02", "null.test", "0443"];
    assert_eq!(route.hosts, hosts);
    for text in ["010", "0x50", "1e3", "12_000", "1.0", "-1", "+1", "~", "''"] {
        let found = problems(&format!(
            "listeners: [{{name: a, protocol: http, limits: {{maxHeaders: {text}}}}}]\n"
        ));
        assert_eq!(found.len(), 1, "{text}: {found:#?}");
    }
    assert!(problems("routes: [{name: a, hosts: [~], rules: []}]\n")[0].contains("not nothing"));
}

#[test]
fn nested_aliases_end_at_the_bound() {
    let mut text = String::from("a0: &a0 [[[[[[[[[[x]]]]]]]]]]\n");
    for n in 1..2000 {
        text.push_str(&format!("a{n}: &a{n} [[[[[[[[[[*a{}]]]]]]]]]]\n", n - 1));
    }
    let found = problems(&text);
    assert!(
        found.iter().any(|problem| problem.contains("nest deeper")),
        "{found:?}"
    );
    let deep = format!("a: {}", "[".repeat(100_000));
    assert_eq!(problems(&deep).len(), 1);
}

#[test]
fn aliases_repeat_a_value() {
    let read = read_text(
        "accessLists:\n  - {name: a, allow: &office [10.0.0.0/8]}\n  - {name: b, allow: *office}\n",
    );
    assert!(read.problems.is_empty(), "{:?}", read.problems);
    let lists = &read.document.access_lists;
    assert_eq!(lists[0].allow, lists[1].allow);
}

#[test]
fn cfg_11_forty_thousand_entries_are_read_at_once() {
    let mut text = String::from("accessLists:\n  - name: big\n    allow:\n");
    for n in 0..40_000 {
        text.push_str(&format!("      - 10.{}.{}.0/24\n", n / 250, n % 250));
    }
    let start = std::time::Instant::now();
    let read = read_text(&text);
    assert!(read.problems.is_empty());
    assert_eq!(
        read.document.access_lists[0].allow.as_ref().map(Vec::len),
        Some(40_000)
    );
    // A second in a release build; this one is not optimised, on a busy machine.
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

#[test]
fn a_flood_of_problems_ends_at_the_bound() {
    let mut text = String::from("admin:\n");
    for n in 0..5000 {
        text.push_str(&format!("  k{n}: x\n"));
    }
    assert_eq!(problems(&text).len(), MAX_PROBLEMS);
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
fn slips_of_yaml_itself_come_with_what_to_do() {
    for (text, hint) in [
        ("routes:\n- hosts: [*.example.com]\n", "needs quotes"),
        ("routes:\n\t- name: a\n", "takes no tabs"),
    ] {
        let found = problems(text);
        assert!(found[0].contains(hint), "{found:?}");
    }
    assert!(!problems("a: \u{1}")[0].contains("tabs"));
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
    fn any_text_in_a_document_survives_printing(text in "\\PC{0,40}|[ \\n\t#:'\"{}\\[\\]&*!|>-]{0,8}|yes|no|null|~|1\\.10|0x1|true") {
        let text = text.replace('\r', "");
        let mut document = Document::default();
        document.waf_profiles.push(crate::document::WafProfile {
            name: text.clone(),
            rules: vec![crate::document::WafRules::Inline(format!("{text}\n{text}"))],
            ..crate::document::WafProfile::default()
        });
        let printed = to_yaml(&document);
        let again = read_text(&printed);
        proptest::prop_assert!(again.problems.is_empty(), "{:?}\n{}", again.problems, printed);
        proptest::prop_assert_eq!(again.document, document);
    }

    #[test]
    fn any_text_is_read_without_a_panic(text in "\\PC{0,200}") {
        let _ = read_text(&text);
    }
}
