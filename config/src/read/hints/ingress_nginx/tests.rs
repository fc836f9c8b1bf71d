use std::{fs, path::Path};

use super::*;
use crate::read::hints::layout::{levels, without_numbers};

/// `UPDATE_GOLDEN=1` writes the tables of the page again.
#[test]
fn the_page_says_the_same() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let page = folder.join(PAGE).with_extension("md");
    let text = fs::read_to_string(&page).unwrap();
    let mut expected = text.clone();
    for kind in ["annotations", "config-map"] {
        let (begin, end) = (
            format!("<!-- {kind} -->\n"),
            format!("<!-- end of {kind} -->"),
        );
        let from = expected.find(&begin).unwrap() + begin.len();
        let to = expected.find(&end).unwrap();
        expected.replace_range(from..to, &rows(kind));
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&page, &expected).unwrap();
    } else {
        assert!(
            text == expected,
            "write the page with UPDATE_GOLDEN=1:\n{expected}"
        );
    }
    for setting in table() {
        let page = folder.join(setting.page.unwrap_or(PAGE));
        assert!(page.with_extension("md").exists(), "{}", page.display());
    }
}

fn rows(kind: &str) -> String {
    let mut rows = "| ingress-nginx | Portcullis |\n| --- | --- |\n".to_owned();
    for setting in table().iter().filter(|setting| setting.kind == kind) {
        let names: Vec<_> = setting
            .names
            .iter()
            .map(|name| format!("`{name}`"))
            .collect();
        let here = match setting.here {
            Is(here) => here.to_owned(),
            Nothing(why) => format!("no counterpart: {why}"),
        };
        let page = match setting.page {
            None => String::new(),
            Some(page) => format!("; [{page}]({page}.md)"),
        };
        rows += &format!("| {} | {here}{page} |\n", names.join(", "));
    }
    rows
}

#[test]
fn what_is_named_here_is_in_the_document() {
    let mut paths = Vec::new();
    for level in levels() {
        let separator = if level.path.is_empty() { "" } else { "." };
        let keys = level.keys.iter();
        paths.extend(keys.map(|key| format!("{}{separator}{}", level.path, key.name)));
    }
    for setting in table() {
        let Is(here) = setting.here else { continue };
        let path = here.trim_start_matches('`');
        let path = &path[..path.find([':', '`', ' ']).unwrap()];
        let is_known = |known: &String| {
            let rest = known.strip_suffix(path);
            rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        assert!(
            path.starts_with("--") || paths.iter().any(is_known),
            "{:?}: {path}",
            setting.names
        );
    }
}

#[test]
fn a_name_stands_once() {
    let mut names: Vec<_> = table().iter().flat_map(|setting| &setting.names).collect();
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all);
}

#[test]
fn names_are_found_in_the_ways_they_are_written() {
    for key in [
        "proxy-body-size",
        "proxyBodySize",
        "proxy_body_size",
        "nginx.ingress.kubernetes.io/proxy-body-size",
    ] {
        let hint = find(key).unwrap();
        assert!(hint.contains("`policies.maxBodySize: 20MiB`"), "{hint}");
    }
    assert!(
        find("nginx.ingress.kubernetes.io/new")
            .unwrap()
            .contains("not read yet")
    );
    assert_eq!(find("proxy-body-sizes"), None);
    assert_eq!(without_numbers("a[1].b2[34]"), "a[].b2[]");
}
