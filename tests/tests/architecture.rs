//! Who may import whom, as ARCHITECTURE.md has it.

use std::{fs, path::Path};

/// Lines of a folder's source files that name a crate or module, by file.
fn users(folder: &str, name: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(folder);
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a source folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = fs::read_to_string(&path).expect("a source file");
                let code = text
                    .lines()
                    .filter(|line| !line.trim_start().starts_with("//"));
                if code.into_iter().any(|line| line.contains(name)) {
                    let shown = path.strip_prefix(&root).expect("below the root");
                    found.push(shown.display().to_string());
                }
            }
        }
    }
    found.sort();
    found
}

#[test]
fn pingora_stays_in_its_rooms() {
    let files = users("gateway/src", "pingora::");
    assert!(files.len() > 5, "{files:?}");
    for file in files {
        assert!(
            ["ingress/", "inspect/", "listen/", "upstream/"]
                .iter()
                .any(|room| file.starts_with(room)),
            "{file} names pingora"
        );
    }
}

#[test]
fn kubernetes_stays_in_its_room() {
    for name in ["k8s_openapi", "kube::api", "kube::Client", "kube_runtime"] {
        for file in users("gateway/src", name) {
            assert!(file.starts_with("kube/"), "{file} names {name}");
        }
    }
    assert!(users("gateway/src", "k8s_openapi").len() > 5);
    assert_eq!(users("gateway/src/kube", "pingora"), [""; 0]);
}

#[test]
fn the_leaves_know_no_network_and_not_each_other() {
    for (leaf, forbidden) in [
        (
            "config",
            &[
                "tokio",
                "pingora",
                "hyper",
                "portcullis_waf",
                "std::fs",
                "std::net::Tcp",
            ][..],
        ),
        (
            "waf-rules",
            &[
                "tokio",
                "pingora",
                "hyper",
                "portcullis_config",
                "std::fs",
                "std::net::Tcp",
            ],
        ),
    ] {
        for name in forbidden {
            let files = users(&format!("{leaf}/src"), name);
            assert!(files.is_empty(), "{leaf}: {files:?} name {name}");
        }
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("..")
            .join(leaf)
            .join("Cargo.toml");
        let manifest = fs::read_to_string(manifest).expect("a manifest");
        let (_, dependencies) = manifest.split_once("[dependencies]").expect("a section");
        let dependencies = dependencies.split("\n[").next().unwrap_or_default();
        for name in ["tokio", "pingora", "hyper", "rustls", "portcullis-"] {
            assert!(!dependencies.contains(name), "{leaf} depends on {name}");
        }
    }
}
