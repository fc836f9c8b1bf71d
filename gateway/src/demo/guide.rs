//! What the demo tells a person to try.

use std::{fmt::Write, net::SocketAddr, path::Path};

use super::{DEMO_DESTINATION, DEMO_HOST};

/// Where everything listens.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// HTTP listener.
    pub http: SocketAddr,
    /// HTTPS listener.
    pub https: SocketAddr,
    /// Egress proxy.
    pub egress: SocketAddr,
    /// Health and metrics.
    pub management: SocketAddr,
    /// Configuration dump and audit.
    pub admin: SocketAddr,
}

/// Writes the commands to try, each with what it shows.
pub fn guide(addresses: &Addresses, authority: &Path, config: &Path) -> String {
    let Addresses {
        http,
        https,
        egress,
        management,
        admin,
    } = addresses;
    let (authority, config) = (authority.display(), config.display());
    let port = https.port();
    let site = format!(
        "curl -s --cacert {authority} --resolve {DEMO_HOST}:{port}:127.0.0.1 https://{DEMO_HOST}:{port}"
    );
    let mut text = String::new();
    let mut step = |title: &str, command: String| {
        // Writing to a String does not fail.
        let _ = writeln!(text, "  # {title}\n  {command}\n");
    };
    step(
        "a good request: 200",
        format!("curl -s http://{http}/hello"),
    );
    step("the same over TLS, HTTP/2", format!("{site}/hello"));
    step(
        "an attack: 403, the backend never sees it",
        format!("curl -s \"http://{http}/?id=1%27%20OR%20%271%27=%271\""),
    );
    step(
        "the same in a JSON body",
        format!(
            "curl -s http://{http}/ -H 'Content-Type: application/json' -d '{{\"q\":\"1 UNION SELECT password FROM users\"}}'"
        ),
    );
    step(
        "a burst: 429 after the first few",
        format!(
            "for i in 1 2 3 4 5 6 7 8; do curl -s -o /dev/null -w '%{{http_code}} ' http://{http}/burst; done; echo"
        ),
    );
    step(
        "outbound, to an allowed destination: 200",
        format!("curl -s -x http://{egress} --cacert {authority} https://{DEMO_DESTINATION}/"),
    );
    step(
        "outbound, to one that is not listed: 403",
        format!("curl -sS -x http://{egress} https://evil.example.net/"),
    );
    step(
        "outbound, to the cloud's metadata service: 403, and no policy can allow it",
        format!("curl -s -x http://{egress} http://169.254.169.254/latest/meta-data/"),
    );
    step("metrics", format!("curl -s http://{management}/metrics"));
    step(
        "the effective configuration",
        format!("curl -s http://{admin}/config"),
    );
    step(
        "change something: edit this file and save it",
        format!("${{EDITOR:-vi}} {config}"),
    );
    text
}
