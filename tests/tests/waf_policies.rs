//! What a route changes of a WAF profile holds on that route, and nowhere else.

use std::path::PathBuf;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use portcullis_tests::{Backend, Client, Gateway, check};

/// Routes by their first path segment, each with what it says of the WAF.
fn config(backend: &str, profiles: &str, routes: &[(&str, &str)]) -> String {
    let route = |(name, waf): &(&str, &str)| {
        format!(
            "  - {{name: {name}, policies: {{waf: {{profile: own{waf}}}}}, rules: [{{matches: [{{path: {{prefix: /{name}}}}}], backends: [{{name: one}}]}}]}}\n"
        )
    };
    let routes: String = routes.iter().map(route).collect();
    format!(
        "
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
wafProfiles:
{profiles}
backends: [{{name: one, endpoints: [{{address: '{backend}'}}]}}]
routes:
{routes}"
    )
}

async fn status(gateway: &Gateway, target: &str) -> u16 {
    let request: Request<Full<Bytes>> = Request::get(target)
        .header("host", "shop.example")
        .header("user-agent", "Mozilla/5.0")
        .header("accept", "*/*")
        .body(Full::default())
        .expect("a request");
    let mut client = Client::h1(gateway.http()).await;
    let response = client.send(request).await.expect("an answer");
    response.status().as_u16()
}

/// A rule set with a threshold, levels, and rules with tags.
const RULES: &str = r#"
  - name: own
    threshold: 4
    exclusions: [{ids: [5]}]
    rules:
      - inline: |
          SecAction "id:900,phase:1,pass,nolog,setvar:tx.blocking_paranoia_level=4"
          SecRule &TX:blocking_paranoia_level "@eq 0" "id:901,phase:1,pass,nolog,setvar:tx.blocking_paranoia_level=1"
          SecRule &TX:detection_paranoia_level "@eq 0" "id:902,phase:1,pass,nolog,setvar:tx.detection_paranoia_level=%{tx.blocking_paranoia_level}"
          SecRule &TX:inbound_anomaly_score_threshold "@eq 0" "id:903,phase:1,pass,nolog,setvar:tx.inbound_anomaly_score_threshold=5"
          SecRule ARGS "@contains union" "id:1,phase:2,pass,tag:attack-sql,setvar:tx.score=+4"
          SecRule ARGS "@contains script" "id:2,phase:2,pass,tag:attack-xss,setvar:tx.score=+5"
          SecRule TX:blocking_paranoia_level "@lt 2" "id:3,phase:2,pass,nolog,skipAfter:END-2"
          SecRule ARGS "@contains quote" "id:4,phase:2,pass,tag:attack-sql/2,setvar:tx.score=+5"
          SecMarker END-2
          SecRule ARGS "@contains never" "id:5,phase:2,deny,status:410"
          SecRule TX:score "@ge %{tx.inbound_anomaly_score_threshold}" "id:9,phase:2,deny,status:403"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn each_route_has_its_own_levels_thresholds_exclusions_and_rules() {
    let backend = Backend::start("one").await;
    let own = "'SecRule ARGS \"@contains mine\" \"id:10,phase:1,deny,status:409\"'";
    let lets = "'SecRule ARGS:ok \"@streq 1\" \"id:11,phase:1,pass,nolog,ctl:ruleRemoveById=1\"'";
    let after = format!(", after: [{{inline: {own}}}]");
    let before = format!(", before: [{{inline: {lets}}}]");
    let routes = [
        ("plain", ""),
        ("detect", ", mode: detect"),
        ("low", ", paranoiaLevel: 1"),
        ("lax", ", threshold: 5"),
        ("id", ", exclusions: [{ids: [1, 4-4]}]"),
        ("tag", ", exclusions: [{tags: [attack-sql]}]"),
        (
            "target",
            ", exclusions: [{ids: [1-2], targets: ['ARGS:q']}]",
        ),
        ("after", &*after),
        ("before", &*before),
    ];
    let yaml = config(&backend.address.to_string(), RULES, &routes);
    let gateway = Gateway::start(&yaml);
    // What each route answers to union, script, quote, never, mine.
    for (route, expected) in [
        ("plain", [403, 403, 403, 200, 200]),
        ("detect", [200, 200, 200, 200, 200]),
        ("low", [403, 403, 200, 200, 200]),
        ("lax", [200, 403, 403, 200, 200]),
        ("id", [200, 403, 200, 200, 200]),
        ("tag", [200, 403, 403, 200, 200]),
        ("target", [200, 200, 403, 200, 200]),
        ("after", [403, 403, 403, 200, 409]),
        ("before", [403, 403, 403, 200, 200]),
    ] {
        let words = ["union", "script", "quote", "never", "mine"];
        for (word, expected) in words.into_iter().zip(expected) {
            let target = format!("/{route}/?q={word}");
            assert_eq!(status(&gateway, &target).await, expected, "{target}");
        }
    }
    assert_eq!(status(&gateway, "/target/?other=union").await, 403);
    assert_eq!(status(&gateway, "/before/?q=union&ok=1").await, 200);

    // After a reload that changes one route, the others are as they were.
    gateway.reload(&yaml.replace(", paranoiaLevel: 1", ", paranoiaLevel: 2"));
    assert_eq!(status(&gateway, "/low/?q=quote").await, 403);
    assert_eq!(status(&gateway, "/lax/?q=union").await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_learns_the_request_id_and_nothing_of_the_rule() {
    let backend = Backend::start("one").await;
    let rules = r#"
  - name: own
    rules:
      - inline: 'SecRule ARGS "@contains secretword" "id:4711,phase:2,deny,status:451,msg:A-message,tag:a-tag"'"#;
    let gateway = Gateway::start(&config(&backend.address.to_string(), rules, &[("r", "")]));
    let request: Request<Full<Bytes>> = Request::get("/r?q=secretword")
        .header("host", "shop.example")
        .header("accept", "text/html")
        .body(Full::default())
        .expect("a request");
    let mut client = Client::h1(gateway.http()).await;
    let response = client.send(request).await.expect("an answer");
    assert_eq!(response.status(), 451);
    let headers = format!("{:?}", response.headers());
    let id = response.headers()["x-request-id"]
        .to_str()
        .expect("text")
        .to_owned();
    // What tells it from an answer of the application.
    assert_eq!(response.headers()["x-portcullis-reason"], "waf/blocked");
    let body: serde_json::Value = serde_json::from_slice(response.body()).expect("JSON");
    let keys: Vec<&String> = body.as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["status", "error", "stage", "reason", "requestId"]);
    assert_eq!(body["requestId"], *id);
    for told in ["4711", "A-message", "a-tag", "secretword"] {
        assert!(
            !body.to_string().contains(told) && !headers.contains(told),
            "{told}"
        );
    }
    // The id finds the record.
    portcullis_tests::wait_for("the record", || {
        let (status, text) = gateway.admin(&format!("/audit/{id}"));
        status == 200 && text.contains("4711")
    });
}

#[test]
fn what_would_have_no_effect_is_told_with_its_place() {
    let told = |profiles: &str, waf: &str| {
        let yaml = config("127.0.0.1:9", profiles, &[("r", waf)]);
        check(&yaml)
    };
    let baseline = "  - {name: own}";
    for (profiles, waf, accepted, expected) in [
        (
            baseline,
            ", outboundThreshold: 9",
            false,
            "routes[0].policies.waf.outboundThreshold: the rules of the profile do not ask for tx.outbound_anomaly_score_threshold",
        ),
        (
            "  - {name: own, rules: [{inline: 'SecAction \"id:1,pass\"'}], paranoiaLevel: 2}",
            "",
            false,
            "wafProfiles[0].paranoiaLevel: the rules of the profile do not ask for tx.blocking_paranoia_level",
        ),
        (
            baseline,
            ", exclusions: [{ids: [9100010]}, {ids: [942100]}, {tags: [sql]}]",
            true,
            "routes[0].policies.waf.exclusions[1]: no rule of the profile has the id 942100",
        ),
        (
            baseline,
            ", exclusions: [{ids: [9100010]}, {ids: [942100]}, {tags: [sql]}]",
            true,
            "routes[0].policies.waf.exclusions[2]: no rule of the profile has the tag sql",
        ),
        (
            "  - {name: own, exclusions: [{ids: [7]}]}",
            ", threshold: 9",
            true,
            "wafProfiles[0].exclusions[0]: no rule of the profile has the id 7",
        ),
        (
            baseline,
            ", exclusions: [{ids: [9100010], targets: ['NOTHING:x']}]",
            false,
            "routes[0].policies.waf.exclusions[0]: ",
        ),
        (
            baseline,
            ", after: [{inline: 'SecRule ARGS \"@rx (\" \"id:1\"'}]",
            false,
            "routes[0].policies.waf.after",
        ),
        (
            baseline,
            ", before: [{file: missing.conf}]",
            false,
            "routes[0].policies.waf.before: ",
        ),
        (
            baseline,
            ", after: [{inline: 'SecRuleEngine Off'}]",
            true,
            "routes[0].policies.waf: the rules say SecRuleEngine Off",
        ),
    ] {
        let (was, text) = told(profiles, waf);
        assert!(text.contains(expected), "{waf}: {text}");
        assert_eq!(was, accepted, "{waf}: {text}");
    }
    let (_, text) = told(
        "  - {name: own, exclusions: [{ids: [7]}]}",
        ", threshold: 9",
    );
    assert_eq!(text.matches("has the id 7").count(), 1, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_have_the_core_rule_set_at_their_own_level() {
    let Some(crs) = std::env::var_os("PORTCULLIS_CRS").map(PathBuf::from) else {
        println!("skipped: PORTCULLIS_CRS does not say where the OWASP CRS is");
        return;
    };
    let backend = Backend::start("one").await;
    let crs = crs.display();
    let profile = format!(
        "  - name: own\n    rules: [{{crs: {{setup: {crs}/crs-setup.conf.example, rules: {crs}/rules}}}}]"
    );
    let routes = [
        ("plain", ""),
        ("seen", ", detectionParanoiaLevel: 4"),
        ("strict", ", paranoiaLevel: 4"),
        ("lax", ", threshold: 1000"),
        ("excluded", ", exclusions: [{tags: [attack-sqli]}]"),
    ];
    let gateway = Gateway::start(&config(&backend.address.to_string(), &profile, &routes));
    let sql = "?id=1%27%20OR%20%271%27%3D%271";
    // 920273, of level 4: characters beyond a very strict set.
    let odd = "?q=a%7Cb%7D";
    for (route, of_sql, of_odd) in [
        ("plain", 403, 200),
        ("seen", 403, 200),
        ("strict", 403, 403),
        ("lax", 200, 200),
        ("excluded", 200, 200),
    ] {
        assert_eq!(
            status(&gateway, &format!("/{route}/{sql}")).await,
            of_sql,
            "{route}"
        );
        assert_eq!(
            status(&gateway, &format!("/{route}/{odd}")).await,
            of_odd,
            "{route}"
        );
    }
    portcullis_tests::wait_for("the record of what was only seen", || {
        let lines = gateway.audit_lines();
        let mut texts = lines.iter().map(ToString::to_string);
        texts.any(|text| text.contains("920273") && text.contains("/seen/"))
    });
}
