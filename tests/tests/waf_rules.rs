//! Rules from files and folders, and the OWASP Core Rule Set as it is.

use std::{fs, path::PathBuf};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use portcullis_tests::{Backend, Client, Gateway, wait_for};
use tempfile::TempDir;

fn config(backend: std::net::SocketAddr, rules: &str) -> String {
    format!(
        "
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
wafProfiles: [{{name: rules, rules: {rules}}}]
backends: [{{name: one, endpoints: [{{address: {backend}}}]}}]
defaults: {{waf: {{profile: rules}}}}
routes: [{{name: any, rules: [{{backends: [{{name: one}}]}}]}}]
"
    )
}

fn browser(uri: &str) -> Request<Full<Bytes>> {
    Request::get(uri)
        .header("host", "shop.example")
        .header("user-agent", "Mozilla/5.0")
        .header("accept", "*/*")
        .body(Full::default())
        .expect("a request")
}

async fn status(gateway: &Gateway, request: Request<Full<Bytes>>) -> u16 {
    let mut client = Client::h1(gateway.http()).await;
    let response = client.send(request).await.expect("an answer");
    response.status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_rules_name_stand_beside_them_and_new_ones_are_noticed() {
    let backend = Backend::start("one").await;
    let folder = TempDir::new().expect("a folder");
    let rules = folder.path().join("rules");
    fs::create_dir_all(rules.join("more")).expect("a folder");
    let write = |name: &str, text: &str| fs::write(rules.join(name), text).expect("written");
    write("20.conf", "Include more/*.conf\n");
    write(
        "10.conf",
        "SecRule ARGS \"@pmFromFile words.data\" \"id:1,phase:2,deny\"\n",
    );
    write("words.data", "first\n");
    write("more/a.conf", "SecRule ARGS second \"id:2,phase:2,deny\"\n");
    write("ignored.txt", "this is no rule\n");
    let gateway = Gateway::start_in(folder, &config(backend.address, "[{file: rules}]"), &[]);
    for (uri, expected) in [("/?a=first", 403), ("/?a=second", 403), ("/?a=third", 200)] {
        assert_eq!(status(&gateway, browser(uri)).await, expected, "{uri}");
    }

    let rules = gateway.folder().join("rules");
    let loads = || gateway.metric("portcullis_config_snapshot").unwrap_or(0.0);
    fs::write(
        rules.join("more/b.conf"),
        "SecRule ARGS third \"id:3,phase:2,deny\"\n",
    )
    .expect("written");
    wait_for("the new file", || loads() >= 2.0);
    assert_eq!(status(&gateway, browser("/?a=third")).await, 403);
    fs::write(
        rules.join("30.conf"),
        "SecRule ARGS fourth \"id:4,phase:2,deny\"\n",
    )
    .expect("written");
    wait_for("the other new file", || loads() >= 3.0);
    assert_eq!(status(&gateway, browser("/?a=fourth")).await, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_core_rule_set_refuses_attacks_and_passes_a_browser() {
    let Some(crs) = std::env::var_os("PORTCULLIS_CRS").map(PathBuf::from) else {
        println!("skipped: PORTCULLIS_CRS does not say where the OWASP CRS is");
        return;
    };
    let backend = Backend::start("one").await;
    let rules = format!(
        "[{{file: {}}}, {{file: {}}}]",
        crs.join("crs-setup.conf.example").display(),
        crs.join("rules").display()
    );
    let gateway = Gateway::start(&config(backend.address, &rules));
    for (uri, expected) in [
        ("/search?q=garden+furniture&page=2", 200),
        ("/?id=1%27%20OR%20%271%27%3D%271", 403),
        ("/?q=%3Cscript%3Ealert(1)%3C/script%3E", 403),
        ("/?file=../../../../etc/passwd", 403),
    ] {
        assert_eq!(status(&gateway, browser(uri)).await, expected, "{uri}");
    }
    let told = || {
        gateway
            .audit_lines()
            .iter()
            .any(|line| line.to_string().contains("930120"))
    };
    wait_for("the audit record of the last", told);
}
