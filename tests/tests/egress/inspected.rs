//! A proxy that looks into TLS, with its authority, and a destination behind it.

use std::process::Command;

use portcullis_tests::{Authority, Backend, Inside};
use serde_json::Value;

use super::site::{PUBLIC, Site, allow, config};

/// What looks into TLS, and where its files are.
pub(super) const INSPECTION: &str =
    "inspection: {certificate: ca.crt, key: ca.key, trust: trust.crt}";

/// A proxy that looks into TLS.
pub(super) struct Inspected {
    pub(super) site: Site,
    /// The authority that clients trust.
    pub(super) authority: Authority,
    pub(super) backend: Backend,
}

impl Inspected {
    /// A proxy whose clients may reach these entries. `api.example` and `other.example` are one
    /// destination.
    pub(super) async fn start(entries: &str) -> Self {
        Self::start_with(&allow(entries), &["h2", "http/1.1"], &[]).await
    }

    /// The same with whole policies, of a destination with these protocols, and with files.
    pub(super) async fn start_with(policies: &str, alpn: &[&str], files: &[(&str, &str)]) -> Self {
        let destination = Authority::named("authority of destinations");
        let names = ["api.example", "other.example"];
        let backend = Backend::start_tls("one", destination.server(&names, alpn)).await;
        let trust = destination.pem();
        let mut all = vec![("trust.crt", trust.as_str())];
        all.extend(files);
        Self::with(policies, backend, &all)
    }

    /// The same with a destination that is there already.
    pub(super) fn with(policies: &str, backend: Backend, files: &[(&str, &str)]) -> Self {
        let authority = Authority::named("authority of the proxy");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let own = [("ca.crt", authority.pem()), ("ca.key", authority.key_pem())];
        let own = own.iter().map(|(name, text)| (*name, text.as_str()));
        for (name, text) in own.chain(files.iter().copied()) {
            std::fs::write(folder.path().join(name), text).expect("writable");
        }
        let dns = ["api", "other"].map(|name| format!("{name}.example={PUBLIC}"));
        let dns: Vec<&str> = dns.iter().map(String::as_str).collect();
        let map = [443, 8443].map(|port| format!("{PUBLIC}:{port}"));
        let map: Vec<_> = map
            .iter()
            .map(|from| (from.as_str(), backend.address))
            .collect();
        let site = Site::start_in(folder, &config(INSPECTION, policies), &dns, &map);
        Self {
            site,
            authority,
            backend,
        }
    }

    /// A client of HTTP/1.1 inside a tunnel.
    pub(super) fn inside(&self, target: &str) -> Inside {
        let tls = self.authority.client(&["http/1.1"]);
        Inside::connect(self.site.proxy(), target, tls).expect("a handshake")
    }

    /// What curl prints: the body, then the status.
    pub(super) fn curl(&self, arguments: &[&str]) -> String {
        let output = Command::new("curl")
            .args(["-sS", "--max-time", "20", "-w", " %{http_code}", "--cacert"])
            .arg(self.site.gateway.folder().join("ca.crt"))
            .arg("--proxy")
            .arg(format!("http://{}", self.site.proxy()))
            .args(arguments)
            .output()
            .expect("curl runs");
        let told = String::from_utf8_lossy(&output.stderr);
        format!("{}{told}", String::from_utf8_lossy(&output.stdout))
    }

    /// The records of requests inside tunnels, in the order in which they ended.
    pub(super) fn records(&self) -> Vec<Value> {
        let mut lines = self.site.gateway.audit_lines();
        lines.retain(|line| line["kind"] == "egress" && line["tunnel"].is_string());
        lines
    }

    /// The records of requests whose field has this value. Requests that follow each other may
    /// end in another order.
    pub(super) fn records_with(&self, field: &str, value: &str) -> Vec<Value> {
        let mut records = self.records();
        records.retain(|record| record[field] == value);
        records
    }

    /// The records of tunnels.
    pub(super) fn tunnels(&self) -> Vec<Value> {
        let mut lines = self.site.gateway.audit_lines();
        lines.retain(|line| line["kind"] == "egress" && line["method"] == "CONNECT");
        lines
    }
}
