//! A proxy that wants tokens, and relays beside its clients.

use std::net::SocketAddr;

pub(super) use portcullis_tests::relay_site::{Relay, Volume, ask, command};
use portcullis_tests::{Authority, Gateway, TokenIssuer, replace, wait_for};
use serde_json::{Value, json};

/// A public address; the test map leads it to this machine after it was judged.
pub(super) const PUBLIC: &str = "93.184.215.14";

/// Audience of its tokens.
const AUDIENCE: &str = "portcullis";

/// A proxy.
pub(super) struct Site {
    pub(super) gateway: Gateway,
    /// Certificates that it has with `tls`.
    pub(super) authority: Authority,
    tls: bool,
}

impl Site {
    /// Starts a proxy that takes the tokens of an issuer. Names of `example` lead to targets, by port.
    pub(super) fn start(
        listener: &str,
        issuer: &TokenIssuer,
        targets: &[(u16, SocketAddr)],
    ) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let authority = Authority::new();
        authority.write(folder.path(), "proxy", &["localhost"]);
        replace(&folder.path().join("ca.crt"), authority.pem());
        replace(
            &folder.path().join("jwks.json"),
            TokenIssuer::jwks(&[issuer]),
        );
        let tokens = json!({
            "jwks": "jwks.json",
            "issuer": TokenIssuer::ISSUER,
            "audience": AUDIENCE,
            "clockSkew": "0s",
        });
        let address = match listener.contains("address") {
            true => "",
            false => "address: '127.0.0.1:0', ",
        };
        let yaml = format!(
            "certificates: [{{name: proxy, certificate: proxy.crt, key: proxy.key}}]\n\
             egress:\n  listeners: [{{name: proxy, {address}{listener}}}]\n  \
             identity: {{serviceAccountTokens: {tokens}}}\n  policies:\n  - name: ci\n    \
             subjects: [{{namespace: ci}}]\n    \
             allow: [api.example, {{host: raw.example, ports: [22], raw: true}}]\n"
        );
        let mut arguments = Vec::new();
        for name in ["api.example", "raw.example"] {
            arguments.extend(["--test-dns".to_owned(), format!("{name}={PUBLIC}")]);
        }
        for (port, to) in targets {
            arguments.extend(["--test-address-map".into(), format!("{PUBLIC}:{port}={to}")]);
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Self {
            gateway: Gateway::start_in(folder, &yaml, &arguments),
            authority,
            tls: listener.contains("tls"),
        }
    }

    /// The URL of the proxy.
    pub(super) fn url(&self) -> String {
        let port = self.gateway.at("egress/proxy").port();
        match self.tls {
            true => format!("https://localhost:{port}"),
            false => format!("http://127.0.0.1:{port}"),
        }
    }

    /// Has it take the tokens of these issuers.
    pub(super) fn trust(&self, issuers: &[&TokenIssuer]) {
        let path = self.gateway.folder().join("jwks.json");
        let before = self.gateway.metric("portcullis_config_snapshot");
        replace(&path, TokenIssuer::jwks(issuers));
        wait_for("the keys", || {
            self.gateway.metric("portcullis_config_snapshot") > before
        });
    }

    /// Audit lines of a host, once there are so many.
    pub(super) fn audit(&self, host: &str, count: usize) -> Vec<Value> {
        let mut found = Vec::new();
        wait_for("the audit lines", || {
            let lines = self.gateway.audit_lines().into_iter();
            found = lines.filter(|line| line["host"] == host).collect();
            found.len() >= count
        });
        found
    }
}

/// A token of a ServiceAccount in the namespace `ci`.
pub(super) fn token(issuer: &TokenIssuer, account: &str) -> String {
    issuer.sign(&TokenIssuer::claims(AUDIENCE, ("ci", account), 600))
}

pub(super) fn reason(answer: &str) -> &str {
    answer
        .lines()
        .find_map(|line| line.strip_prefix("x-portcullis-reason: egress/"))
        .unwrap_or_default()
}
