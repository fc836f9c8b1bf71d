//! Clients that people use, through the proxy: with an identity, without one, and to what no policy
//! allows, in which case their users are to see why. What they see is in docs/egress.md.
//!
//! Clients that are not installed are left out, which is printed. `.ci/run` has them all.

use std::{net::SocketAddr, process::Command};

use portcullis_tests::{
    Authority, FileSite, Packages, RealClients, TokenIssuer,
    egress_site::{PUBLIC, Site},
    portcullis,
    relay_site::{Relay, Volume},
    replace, wait_for,
};
use serde_json::{Value, json};

const ALLOWED: &str = "allowed.example";
const REFUSED: &str = "refused.example";

/// A proxy that wants to know who asks, a relay beside the clients, and what they fetch.
struct Around {
    site: Site,
    files: FileSite,
    relay: Relay,
    /// What the relay reads.
    volume: Volume,
    clients: RealClients,
    token: String,
}

impl Around {
    async fn start() -> Self {
        let authority = Authority::new();
        let files = FileSite::start(&authority, &[ALLOWED, REFUSED]).await;
        let packages = tokio::task::block_in_place(Packages::new);
        for host in [ALLOWED, REFUSED] {
            packages.publish(&files, host, host);
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        let issuer = TokenIssuer::new("one");
        let keys = TokenIssuer::jwks(&[&issuer]);
        replace(&folder.path().join("jwks.json"), keys);
        let egress = json!({
            "listeners": [{"name": "proxy", "address": "127.0.0.1:0"}],
            "identity": {"serviceAccountTokens": {
                "jwks": "jwks.json",
                "issuer": TokenIssuer::ISSUER,
                "audience": "portcullis",
            }},
            "policies": [{"name": "ci", "subjects": [{"namespace": "ci"}], "allow": [ALLOWED]}],
        });
        let dns = [ALLOWED, REFUSED].map(|host| format!("{host}={PUBLIC}"));
        let dns: Vec<&str> = dns.iter().map(String::as_str).collect();
        let map = [(&*format!("{PUBLIC}:443"), files.https)];
        let site = Site::start_in(folder, &format!("egress: {egress}\n"), &dns, &map);
        let token = issuer.sign(&TokenIssuer::claims("portcullis", ("ci", "builder"), 600));
        let mut volume = Volume::new();
        volume.put(&token);
        let relay = Relay::start(&url(site.proxy()), &volume, &[]);
        Self {
            site,
            files,
            relay,
            volume,
            clients: RealClients::new(&authority),
            token,
        }
    }

    /// Runs a client: whether it went well, and all that it printed.
    fn run(&self, client: &str, proxy: &str, host: &str) -> Option<(bool, String)> {
        let run = || self.clients.run(client, proxy, host);
        let printed = tokio::task::block_in_place(run)?;
        Some((printed.success, printed.text))
    }

    /// Waits for a line of the audit log.
    fn recorded(&self, is_it: impl Fn(&Value) -> bool) {
        wait_for("the audit line", || {
            self.site.gateway.audit_lines().iter().any(&is_it)
        });
    }
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}

/// A client by each of its ways. `nobody` is what it prints where it does not say who it is, `refused`
/// where no policy allows the destination.
async fn by_all_ways(client: &str, nobody: &str, refused: &str) {
    let around = Around::start().await;
    let proxy = around.site.proxy();
    let with_token = format!("http://token:{}@{proxy}", around.token);
    for proxy in [with_token.clone(), url(around.relay.address)] {
        let before = around.files.asked().len();
        let Some((success, text)) = around.run(client, &proxy, ALLOWED) else {
            return;
        };
        assert!(success, "{client} by {proxy}: {text}");
        assert!(around.files.asked().len() > before, "{client}: {text}");
        around.recorded(|line| {
            line["verdict"] == "allow" && line["identity"]["serviceAccount"] == "builder"
        });
    }
    let before = around.files.asked();
    for (proxy, host, shown, reason) in [
        (url(proxy), ALLOWED, nobody, "token_missing"),
        (with_token, REFUSED, refused, "not_allowed"),
        (url(around.relay.address), REFUSED, refused, "not_allowed"),
    ] {
        let Some((success, text)) = around.run(client, &proxy, host) else {
            return;
        };
        assert!(!success, "{client} {reason}: {text}");
        assert!(
            text.contains(shown),
            "{client} {reason}: {shown:?} is not in: {text}"
        );
        assert!(!text.contains(&around.token), "{client} shows its token");
        around.recorded(|line| line["host"] == host && line["reason"] == reason);
    }
    assert_eq!(around.files.asked(), before, "{client}");
}

const NOBODY: &str = "407 Proxy Authentication Required egress/token_missing";
const NOT_ALLOWED: &str = "403 Forbidden egress/not_allowed";

#[tokio::test(flavor = "multi_thread")]
async fn curl() {
    by_all_ways("curl", NOBODY, NOT_ALLOWED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wget() {
    by_all_ways(
        "wget",
        "Proxy tunneling failed: Proxy Authentication Required egress/token_missing",
        "Proxy tunneling failed: Forbidden egress/not_allowed",
    )
    .await;
}

/// libcurl shows the number, and the line with `GIT_CURL_VERBOSE=1`.
#[tokio::test(flavor = "multi_thread")]
async fn git() {
    by_all_ways("git", "response 407", "response 403").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pip() {
    by_all_ways("pip", NOBODY, NOT_ALLOWED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn npm() {
    by_all_ways("npm", NOBODY, NOT_ALLOWED).await;
}

/// libcurl again; the line with `CARGO_HTTP_DEBUG=true CARGO_LOG=network=debug`.
#[tokio::test(flavor = "multi_thread")]
async fn cargo() {
    by_all_ways("cargo", "response 407", "response 403").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn go_net_http() {
    by_all_ways(
        "go",
        "Proxy Authentication Required egress/token_missing",
        "Forbidden egress/not_allowed",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn go_modules() {
    by_all_ways(
        "go-mod",
        "Proxy Authentication Required egress/token_missing",
        "Forbidden egress/not_allowed",
    )
    .await;
}

/// `java.net.http` shows the number alone, and of a 407 what looks like an answer of the origin.
#[tokio::test(flavor = "multi_thread")]
async fn java_http_client() {
    by_all_ways("java", "407 null", "Tunnel failed, got: 403").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_fetch() {
    by_all_ways("node", "Proxy response (407)", "Proxy response (403)").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_requests() {
    by_all_ways("requests", NOBODY, NOT_ALLOWED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_httpx() {
    by_all_ways("httpx", NOBODY, NOT_ALLOWED).await;
}

/// What is printed names the file of the token alone; a shell reads it each time it runs the lines.
#[tokio::test(flavor = "multi_thread")]
async fn egr_27_the_printed_lines_of_a_shell_show_the_token_of_now() {
    let mut around = Around::start().await;
    let file = around.volume.token_file();
    let output = Command::new(portcullis())
        .args([
            "egress",
            "clients",
            &url(around.site.proxy()),
            "--token-file",
        ])
        .arg(file)
        .output()
        .expect("the binary runs");
    assert!(output.status.success(), "{output:?}");
    let lines = String::from_utf8(output.stdout).expect("text");
    assert!(!lines.contains(&around.token), "{lines}");
    let run = |around: &Around, client: &str| {
        let run = || around.clients.run_in_shell(client, &lines, ALLOWED);
        tokio::task::block_in_place(run)
    };
    for client in ["curl", "requests"] {
        let Some(printed) = run(&around, client) else {
            continue;
        };
        assert!(printed.success, "{client}: {}", printed.text);
        around.recorded(|line| {
            line["verdict"] == "allow" && line["identity"]["serviceAccount"] == "builder"
        });
    }
    around.volume.put("not.a.token");
    if let Some(printed) = run(&around, "curl") {
        assert!(printed.text.contains("407"), "{}", printed.text);
    }
}

/// Chromium takes no password in the URL of a proxy, so that its identity is the relay's. Its exit
/// does not say how it went.
#[tokio::test(flavor = "multi_thread")]
async fn chromium_by_the_relay() {
    let around = Around::start().await;
    let (proxy, relay) = (url(around.site.proxy()), url(around.relay.address));
    for (proxy, host, shown) in [
        (&relay, ALLOWED, ">hello</pre>"),
        (&relay, REFUSED, "net::ERR_TUNNEL_CONNECTION_FAILED"),
        (&proxy, ALLOWED, "net::ERR_PROXY_AUTH_UNSUPPORTED"),
    ] {
        let before = around.files.asked().len();
        let Some((_, text)) = around.run("chromium", proxy, host) else {
            return;
        };
        assert!(text.contains(shown), "{shown} is not in: {text}");
        let is_served = around.files.asked().len() > before;
        assert_eq!(is_served, shown.starts_with('>'), "{shown}");
    }
}
