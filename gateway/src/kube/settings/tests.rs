use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use k8s_openapi::ByteString;

use super::*;

/// A ConfigMap with texts, and contents that are packed.
fn config_map(texts: &[(&str, &str)], packed: &[(&str, &[u8])]) -> ConfigMap {
    let pack = |content: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(content).expect("memory");
        ByteString(encoder.finish().expect("memory"))
    };
    let owned = |(key, text): &(&str, &str)| ((*key).to_owned(), (*text).to_owned());
    ConfigMap {
        data: Some(texts.iter().map(owned).collect()),
        binary_data: Some(
            packed
                .iter()
                .map(|(key, content)| ((*key).to_owned(), pack(content)))
                .collect(),
        ),
        ..ConfigMap::default()
    }
}

fn read(named: &[&str], known: Vec<(&str, ConfigMap)>) -> Result<Vec<SourceFile>, Vec<String>> {
    let name = |text: &str| text.parse::<ResourceName>().expect("a name");
    let mut objects = ObjectSet::default();
    for (text, config_map) in known {
        objects.config_maps.insert(name(text), Arc::new(config_map));
    }
    let options = Options {
        config_maps: named.iter().map(|text| name(text)).collect(),
        ..Options::default()
    };
    let read = settings(&objects, &options);
    read.map(|settings| settings.documents)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

#[test]
fn all_of_them_are_one_configuration_in_the_order_of_their_names() {
    let files = read(
        &["b/one", "a/two", "a/one", "a/two"],
        vec![
            ("b/one", config_map(&[("a.yaml", "5")], &[])),
            (
                "a/two",
                config_map(
                    &[("b.yaml", "3"), ("README", "not read")],
                    &[
                        ("a.yml.gz", b"2"),
                        ("b.yaml.gz", b"4"),
                        ("c.gz", b"not read"),
                    ],
                ),
            ),
            ("a/one", config_map(&[("z.yml", "1")], &[])),
            ("a/other", config_map(&[("a.yaml", "not named")], &[])),
        ],
    )
    .expect("settings");
    let shown: Vec<(&str, &str)> = files
        .iter()
        .map(|file| (file.name.as_str(), file.text.as_str()))
        .collect();
    assert_eq!(
        shown,
        [
            ("ConfigMap/a/one/z.yml", "1"),
            ("ConfigMap/a/two/a.yml.gz", "2"),
            ("ConfigMap/a/two/b.yaml", "3"),
            ("ConfigMap/a/two/b.yaml.gz", "4"),
            ("ConfigMap/b/one/a.yaml", "5"),
        ]
    );
}

#[test]
fn one_that_is_missing_blocks_all_and_each_is_named() {
    let refused = read(
        &["a/one", "a/two", "b/three", "c/four"],
        vec![
            ("a/one", config_map(&[("a.yaml", "admin: {}")], &[])),
            ("b/three", config_map(&[("README", "text")], &[])),
        ],
    );
    assert_eq!(
        refused.expect_err("two are missing"),
        [
            "ConfigMap/a/two: error: there is no such ConfigMap",
            "ConfigMap/b/three: error: no key of it ends in .yaml or .yaml.gz",
            "ConfigMap/c/four: error: there is no such ConfigMap",
        ]
    );
}

#[test]
fn what_unpacks_to_too_much_or_is_not_packed_is_named() {
    let bomb = vec![b' '; 17 << 20];
    let refused = read(
        &["a/one"],
        vec![(
            "a/one",
            config_map(
                &[("text.yaml.gz", "admin: {}")],
                &[("bomb.yaml.gz", &bomb), ("bytes.yaml.gz", b"a: \xff")],
            ),
        )],
    )
    .expect_err("none can be read");
    assert_eq!(
        refused[0],
        "ConfigMap/a/one/bomb.yaml.gz: error: unpacks to more than 16 MiB"
    );
    assert_eq!(
        refused[1],
        "ConfigMap/a/one/bytes.yaml.gz: error: not UTF-8 at byte 3"
    );
    let text = &refused[2];
    assert!(
        text.starts_with("ConfigMap/a/one/text.yaml.gz: error: cannot be unpacked as gzip: "),
        "{text}"
    );
    assert_eq!(refused.len(), 3);
    // Each within its limit, and all together not.
    let large = &bomb[..15 << 20];
    let keys: Vec<String> = (0..5).map(|number| format!("{number}.yaml.gz")).collect();
    let packed: Vec<(&str, &[u8])> = keys.iter().map(|key| (key.as_str(), large)).collect();
    let refused = read(&["a/one"], vec![("a/one", config_map(&[], &packed))]);
    assert_eq!(
        refused.expect_err("75 MiB"),
        [
            "ConfigMap/a/one/4.yaml.gz: error: unpacks to more than 4 MiB, \
             which is what is left of 64 MiB for all documents together"
        ]
    );
}
