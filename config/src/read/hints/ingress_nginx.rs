//! What the settings of ingress-nginx are called here, for hints and for
//! `docs/from-ingress-nginx.md`.
//!
//! The names are those of its last release, 1.15.1; the table is `ingress_nginx.txt`.

use std::sync::LazyLock;

use Here::{Is, Nothing};

/// A setting there, and here.
struct Setting {
    /// `annotations`, or `config-map` for a key that is no annotation as well.
    kind: &'static str,
    names: Vec<&'static str>,
    here: Here,
    /// The page in `docs` with the rest.
    page: Option<&'static str>,
}

/// What stands here for a setting there.
enum Here {
    /// This, the path of the setting first.
    Is(&'static str),
    /// Nothing, and why, or what to do instead.
    Nothing(&'static str),
}

/// What every annotation begins with, by default.
const PREFIX: &str = "nginx.ingress.kubernetes.io/";
/// The page that lists all of them.
const PAGE: &str = "from-ingress-nginx";

/// Finds what a key is called here, whether it is written as there, as
/// `proxyBodySize`, or as `proxy_body_size`.
pub(super) fn find(key: &str) -> Option<String> {
    let annotation = key.strip_prefix(PREFIX);
    let name = kebab(annotation.unwrap_or(key));
    let mut settings = table().iter();
    let found = settings.find(|setting| setting.names.contains(&name.as_str()));
    if found.is_none() && annotation.is_none() {
        return None;
    }
    let hint = match found.map(|setting| &setting.here) {
        Some(Is(here)) => format!("here it is {here}"),
        Some(Nothing(why)) => format!("it has no counterpart here: {why}"),
        None => "it has no counterpart here".to_owned(),
    };
    let source = match (annotation, found) {
        (Some(_), _) => "annotations of ingress-nginx are not read yet",
        (None, Some(setting)) if setting.kind == "config-map" => {
            "of the ConfigMap of ingress-nginx"
        }
        _ => "of ingress-nginx",
    };
    let page = found.and_then(|setting| setting.page).unwrap_or(PAGE);
    Some(format!("{source}; {hint}; see docs/{page}.md"))
}

fn table() -> &'static [Setting] {
    static TABLE: LazyLock<Vec<Setting>> =
        LazyLock::new(|| parse(include_str!("ingress_nginx.txt")));
    &TABLE
}

fn parse(text: &'static str) -> Vec<Setting> {
    let mut kind = "";
    let mut settings = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some(next) = line.strip_prefix('[') {
            kind = next.trim_end_matches(']');
        }
        let mut parts = line.split(" | ");
        let (Some(names), Some(here)) = (parts.next(), parts.next()) else {
            continue;
        };
        settings.push(Setting {
            kind,
            names: names.split(", ").collect(),
            here: here.strip_prefix("- ").map_or(Is(here), Nothing),
            page: parts.next(),
        });
    }
    settings
}

fn kebab(name: &str) -> String {
    let mut kebab = String::new();
    for letter in name.chars() {
        match letter {
            '_' => kebab.push('-'),
            _ if letter.is_ascii_uppercase() => {
                kebab.extend(['-', letter.to_ascii_lowercase()]);
            }
            _ => kebab.push(letter),
        }
    }
    kebab
}

#[cfg(test)]
mod tests;
