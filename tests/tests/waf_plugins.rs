//! A rule set with plugins, in the layout of the CRS and mounted as ConfigMaps are.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use portcullis_tests::{Backend, Client, Gateway, check, swap_config_map, wait_for};

const SETUP: &str = "SecAction \"id:900990,phase:1,pass,nolog,setvar:tx.setup=1\"\n";

const RULES: &str = r#"
SecRule &TX:word "@eq 0" "id:901000,phase:1,pass,nolog,setvar:tx.word=none"
SecRule ARGS "@contains attack" "id:942100,phase:2,deny,status:403,tag:attack-sqli"
SecRule ARGS "@streq %{tx.word}" "id:942200,phase:2,deny,status:406"
SecRule ARGS "@pmFromFile words.data" "id:942300,phase:2,deny,status:409"
"#;

/// Runs behind the setup, and before the rules give defaults.
const CONFIG: &str = r#"
SecRule TX:setup "@streq 1" "id:9500010,phase:1,pass,nolog,setvar:tx.word=first"
"#;

const BEFORE: &str = "Include ../exclusions/editor-*.conf\n";

const EXCLUSIONS: &str = r#"
SecRule REQUEST_FILENAME "@beginsWith /editor" "id:9500100,phase:1,pass,nolog,ctl:ruleRemoveTargetById=942100;ARGS:text"
"#;

/// Means rules that come before it only.
const AFTER: &str = "SecRuleRemoveById 942300\n";

async fn status(gateway: &Gateway, target: &str) -> u16 {
    let request: Request<Full<Bytes>> = Request::get(target)
        .header("host", "shop.example")
        .body(Full::default())
        .expect("a request");
    let mut client = Client::h1(gateway.http()).await;
    let response = client.send(request).await.expect("an answer");
    response.status().as_u16()
}

fn config(backend: &str) -> String {
    format!(
        "
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
wafProfiles:
  - name: crs
    rules: [{{crs: {{setup: setup/crs-setup.conf, rules: rules, plugins: plugins}}}}]
backends: [{{name: one, endpoints: [{{address: '{backend}'}}]}}]
defaults: {{waf: {{profile: crs}}}}
routes: [{{name: any, rules: [{{backends: [{{name: one}}]}}]}}]
"
    )
}

fn plugins(after: &str) -> [(&'static str, String); 3] {
    [
        ("editor-config.conf", CONFIG.to_owned()),
        ("editor-before.conf", BEFORE.to_owned()),
        ("editor-after.conf", after.to_owned()),
    ]
}

fn swap(folder: &std::path::Path, version: u32, files: &[(&str, String)]) {
    std::fs::create_dir_all(folder).expect("a folder");
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, &**text)).collect();
    swap_config_map(folder, version, &files);
}

#[tokio::test(flavor = "multi_thread")]
async fn plugins_come_in_their_order_and_a_swapped_mount_is_a_reload() {
    let backend = Backend::start("one").await;
    let folder = tempfile::tempdir().expect("a folder");
    let mount = |name: &str| folder.path().join(name);
    swap(&mount("setup"), 1, &[("crs-setup.conf", SETUP.to_owned())]);
    let rules = [
        ("REQUEST-942.conf", RULES.to_owned()),
        ("words.data", "third\n".to_owned()),
    ];
    swap(&mount("rules"), 1, &rules);
    swap(&mount("plugins"), 1, &plugins(AFTER));
    let exclusions = |text: &str| [("editor-pages.conf", text.to_owned())];
    swap(&mount("exclusions"), 1, &exclusions(EXCLUSIONS));
    let yaml = config(&backend.address.to_string());
    let gateway = Gateway::start_in(folder, &yaml, &[]);
    for (target, expected) in [
        ("/?text=attack", 403),
        ("/editor?text=attack", 200),
        ("/editor?other=attack", 403),
        ("/?q=first", 406),
        ("/?q=none", 200),
        ("/?q=third", 200),
    ] {
        assert_eq!(status(&gateway, target).await, expected, "{target}");
    }
    // The recommended rules come along.
    let broken = Request::post("/editor")
        .header("host", "shop.example")
        .header("content-type", "application/json")
        .body(Full::from("{\"a\":"))
        .expect("a request");
    let mut client = Client::h1(gateway.http()).await;
    let response = client.send(broken).await.expect("an answer");
    assert_eq!(response.status(), 400);

    // The mount says something else: a rule counts again.
    let loads = || gateway.metric("portcullis_config_snapshot").unwrap_or(0.0);
    let before = loads();
    swap(&gateway.folder().join("plugins"), 2, &plugins("# none\n"));
    wait_for("the swapped mount", || loads() > before);
    assert_eq!(status(&gateway, "/?q=third").await, 409);
    // So does what a plugin includes from another mount, of which no setting tells.
    let before = loads();
    swap(
        &gateway.folder().join("exclusions"),
        2,
        &exclusions("# none\n"),
    );
    wait_for("the swapped mount", || loads() > before);
    assert_eq!(status(&gateway, "/editor?text=attack").await, 403);

    // What cannot be compiled leaves the last good rules.
    let failed = || gateway.log().contains("editor-after.conf:1");
    swap(
        &gateway.folder().join("plugins"),
        3,
        &plugins("SecNothing\n"),
    );
    wait_for("the refused reload", failed);
    assert_eq!(status(&gateway, "/?q=third").await, 409);
}

#[test]
fn a_file_whose_turn_nobody_knows_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    for (path, text) in [
        ("setup/crs-setup.conf", SETUP),
        ("rules/words.data", "third\n"),
        ("rules/a.conf", RULES),
        ("plugins/editor.conf", CONFIG),
    ] {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("written");
    }
    let at = |part: &str| folder.path().join(part).display().to_string();
    let yaml = config("127.0.0.1:9")
        .replace("setup/crs", &at("setup/crs"))
        .replace("rules: rules", &format!("rules: {}", at("rules")))
        .replace("plugins: plugins", &format!("plugins: {}", at("plugins")));
    let (accepted, text) = check(&yaml);
    assert!(!accepted, "{text}");
    assert!(
        text.contains(
            "editor.conf: a file of a plugin ends in -config.conf, -before.conf or -after.conf"
        ),
        "{text}"
    );
}
