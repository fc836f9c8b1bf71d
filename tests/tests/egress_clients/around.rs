//! Destinations that are files, and clients that people use.

use portcullis_tests::{
    Authority, FileSite, Packages, Printed, RealClients,
    egress_site::{PUBLIC, Site},
};
use serde_json::Value;

/// Destinations that are files, and a proxy before them.
pub(super) struct Around {
    pub(super) site: Site,
    pub(super) files: FileSite,
    pub(super) clients: RealClients,
}

impl Around {
    /// Everything is published at `indexes`, and the files of packages at `store`. What goes past the proxy to
    /// `localhost` finds a greeting there.
    pub(super) async fn start(policies: &str, indexes: &str, store: &str) -> Self {
        let authority = Authority::new();
        let files = FileSite::start(&authority, &[indexes, store, "localhost"]).await;
        files.put("localhost/hello", "text/plain", "hello");
        let packages = tokio::task::block_in_place(Packages::new);
        packages.publish(&files, indexes, store);
        let dns = [indexes, store, "evil.test"].map(|host| format!("{host}={PUBLIC}"));
        let dns: Vec<&str> = dns.iter().map(String::as_str).collect();
        let map = [
            (&*format!("{PUBLIC}:443"), files.https),
            (&*format!("{PUBLIC}:80"), files.http),
        ];
        Self {
            site: Site::start(policies, &dns, &map),
            files,
            clients: RealClients::new(&authority),
        }
    }

    /// The URL of the proxy.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.site.proxy())
    }

    /// Has a client fetch what is published at a host.
    pub(super) fn run(&self, client: &str, host: &str) -> Option<Printed> {
        tokio::task::block_in_place(|| self.clients.run(client, &self.url(), host))
    }

    /// Lines of the audit log of a host.
    pub(super) fn records(&self, host: &str) -> Vec<Value> {
        let lines = self.site.gateway.audit_lines().into_iter();
        lines.filter(|line| line["host"] == host).collect()
    }
}
