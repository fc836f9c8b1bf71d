//! Exclusions that plugins bring along, and routes with rules of their own.

use http::Request;
use portcullis_tests::{Backend, Gateway, raw, status_of, wait_for};
use serde_json::json;

use super::{browser, config, crs, id_of, record, route, send};

/// A plugin in the shape of those of the CRS: switched on by its configuration, and around
/// its rules a marker that everybody else jumps to.
const PLUGIN: [(&str, &str); 3] = [
    (
        "blog-config.conf",
        r#"
SecRule &TX:blog-plugin_enabled "@eq 0" "id:9507000,phase:1,pass,nolog,setvar:'tx.blog-plugin_enabled=1'"
"#,
    ),
    (
        "blog-before.conf",
        r#"
SecRule TX:blog-plugin_enabled "@eq 0" "id:9507010,phase:1,pass,nolog,skipAfter:END-BLOG-BEFORE"
SecRule REQUEST_FILENAME "!@beginsWith /wp-json/" "id:9507020,phase:1,pass,nolog,skipAfter:END-BLOG-BEFORE"
SecRule REQUEST_FILENAME "@rx /wp-json/wp/v[0-9]+/(?:posts|pages)" \
    "id:9507100,phase:1,pass,nolog,t:none,\
    ctl:ruleRemoveTargetByTag=attack-xss;ARGS:json.content,\
    ctl:ruleRemoveTargetByTag=attack-rce;ARGS:json.content,\
    ctl:ruleRemoveTargetById=930000-944999;ARGS:json.styles.blocks.core/quote.typography.fontFamily,\
    ctl:ruleRemoveTargetById=920450;REQUEST_HEADERS_NAMES:x-http-method-override"
SecMarker "END-BLOG-BEFORE"
"#,
    ),
    (
        "blog-after.conf",
        "SecRuleUpdateTargetById 932000-932999 \"!ARGS:json.title\"\n",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn waf_01_the_editor_of_a_blog_is_refused_with_a_reason_and_a_plugin_lets_it_save() {
    let (Some(plain), Some(excluded)) = (crs(""), crs(", plugins: plugins")) else {
        return;
    };
    let backend = Backend::start("one").await;
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("plugins")).expect("a folder");
    for (name, text) in PLUGIN {
        std::fs::write(folder.path().join("plugins").join(name), text).expect("written");
    }
    let profiles =
        format!("- {{name: plain, rules: [{plain}]}}\n- {{name: blog, rules: [{excluded}]}}");
    let routes = route("plain.test", "{waf: {profile: plain}}")
        + &route("blog.test", "{waf: {profile: blog}}");
    let gateway = Gateway::start_in(folder, &config(backend.address, &profiles, &routes), &[]);
    let save = |host: &str, path: &str, field: &str| {
        let body = json!({
            field: "<!-- wp:paragraph --><p onmouseover=\"x\">Hi</p><!-- /wp:paragraph -->",
            "styles": {"blocks": {"core/quote": {"typography":
                {"fontFamily": "var(--wp--preset--font-family--demo)"}}}},
        });
        let request = Request::post(path)
            .header("content-type", "application/json")
            .header("x-http-method-override", "PUT");
        browser(request, host, &body.to_string())
    };
    let posts = "/wp-json/wp/v2/posts/7?_locale=user";

    let refused = send(&gateway, save("plain.test", posts, "content")).await;
    assert_eq!(refused.status(), 403);
    // The editor reads JSON, whatever it gets.
    assert_eq!(refused.headers()["content-type"], "application/json");
    let told: serde_json::Value = serde_json::from_slice(refused.body()).expect("JSON");
    assert_eq!(told["requestId"], id_of(&refused));
    let found = record(&gateway, &id_of(&refused))["waf"]["matches"].to_string();
    for wanted in ["941", "ARGS:json.content", "920450"] {
        assert!(found.contains(wanted), "{wanted}: {found}");
    }

    let saved = send(&gateway, save("blog.test", posts, "content")).await;
    assert_eq!(saved.status(), 200, "{:?}", gateway.audit_lines().last());
    // Another field, and another path, are looked at as before.
    for (path, field) in [
        (posts, "excerpt"),
        ("/wp-json/other", "content"),
        ("/", "content"),
    ] {
        let refused = send(&gateway, save("blog.test", path, field)).await;
        assert_eq!(refused.status(), 403, "{path} {field}");
    }
}

const MARKER: &str = "'SecRule ARGS \"@contains marker7\" \"id:1,phase:2,deny,log\"'";

#[tokio::test(flavor = "multi_thread")]
async fn waf_42_a_switch_follows_the_route_that_is_taken() {
    let backend = Backend::start("one").await;
    let profiles = format!("- {{name: own, rules: [{{inline: {MARKER}}}]}}");
    let rule = |prefix: &str, policies: &str| {
        format!(
            "  - {{matches: [{{path: {{prefix: {prefix}}}}}]{policies}, backends: [{{name: one}}]}}\n"
        )
    };
    let snippet = "[{inline: SecRuleEngine detectiononly}]";
    let off = "[{inline: SECRULEENGINE oFF}]";
    let routes = format!(
        "- name: shop\n  policies: {{waf: {{profile: own}}}}\n  rules:\n{}{}{}{}{}",
        rule("/a", ", policies: {waf: {}}"),
        rule("/b", ", policies: {waf: {profile: own, mode: detect}}"),
        rule(
            "/e",
            &format!(", policies: {{waf: {{profile: own, before: {snippet}}}}}")
        ),
        rule(
            "/f",
            &format!(", policies: {{waf: {{profile: own, before: {off}}}}}")
        ),
        rule("/c", ""),
    );
    let gateway = Gateway::start(&config(backend.address, &profiles, &routes));
    for (path, status, waf) in [
        ("/a", 200, None),
        ("/b", 200, Some("detected")),
        ("/e", 200, Some("detected")),
        ("/f", 200, Some("pass")),
        ("/c", 403, Some("blocked")),
        ("//c", 403, Some("blocked")),
        ("/a/../c", 403, Some("blocked")),
        ("/a/%2e%2e/c", 403, Some("blocked")),
        ("/a//../c", 403, Some("blocked")),
        ("/./c", 403, Some("blocked")),
        ("/%63", 403, Some("blocked")),
        ("/c/../a", 200, None),
        // Nobody knows what a backend makes of these: refused before any rule.
        ("/a/..%2fc", 400, None),
        ("/a/..%5cc", 400, None),
        ("/a/..;/c", 400, None),
    ] {
        let answer = raw(
            gateway.http(),
            format!("GET {path}?q=marker7 HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
                .as_bytes(),
        );
        assert_eq!(status_of(&answer), status, "{path}: {answer}");
        let lower = answer.to_ascii_lowercase();
        let id = lower
            .lines()
            .find_map(|line| line.strip_prefix("x-request-id: "));
        let id = id.expect("an id").trim().to_owned();
        let line = gateway.access_line(&id);
        assert_eq!(line["waf"].as_str(), waf, "{path}: {line}");
        let records = gateway.admin(&format!("/audit/{id}")).0;
        let has_record = matches!(waf, Some("detected" | "blocked"));
        assert_eq!(records == 200, has_record, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn waf_37_a_reload_of_malformed_rules_leaves_the_last_good_ones() {
    let backend = Backend::start("one").await;
    let folder = tempfile::tempdir().expect("a folder");
    let rule = |actions: &str| format!("SecRule ARGS \"@contains marker7\" \"{actions}\"\n");
    std::fs::write(folder.path().join("own.conf"), rule("id:1,phase:2,deny")).expect("written");
    let profiles = "- {name: own, rules: [{file: own.conf}]}";
    let routes = route("a.test", "{waf: {profile: own}}");
    let gateway = Gateway::start_in(folder, &config(backend.address, profiles, &routes), &[]);
    let asked = || browser(Request::get("/?q=marker7"), "a.test", "");
    assert_eq!(send(&gateway, asked()).await.status(), 403);
    // What is left open would make the decision a part of the message.
    let broken = rule("id:1,phase:2,msg:'unterminated,deny,status:403");
    gateway.write_beside("own.conf", &broken);
    wait_for("the refused reload", || {
        let (_, problems) = gateway.admin("/config/problems");
        problems.contains("own.conf:1:52") && problems.contains("quote is not closed")
    });
    assert_eq!(send(&gateway, asked()).await.status(), 403);
    assert_eq!(gateway.metric("portcullis_config_snapshot"), Some(1.0));
    let mended = rule("id:1,phase:2,msg:'terminated',deny,status:409");
    gateway.write_beside("own.conf", &mended);
    wait_for("the reload", || {
        gateway.metric("portcullis_config_snapshot") == Some(2.0)
    });
    assert_eq!(send(&gateway, asked()).await.status(), 409);
}
