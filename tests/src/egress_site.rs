//! A proxy with scripted names, and what is asked of it.

use std::{collections::BTreeSet, net::SocketAddr, sync::Mutex};

use crate::{Authority, Gateway, Raw, wait_for};
use serde_json::Value;

/// A public address; the test map leads it to this machine after it was judged.
pub const PUBLIC: &str = "93.184.215.14";

/// A proxy.
pub struct Site {
    /// The gateway, whose listener is named `proxy`.
    pub gateway: Gateway,
    /// The audit lines that [`Site::told`] has returned, by their place in the file.
    told: Mutex<BTreeSet<usize>>,
}

impl Site {
    /// Starts a proxy whose policies are given, with scripted names and a map of dialled addresses.
    pub fn start(policies: &str, dns: &[&str], map: &[(&str, SocketAddr)]) -> Self {
        Self::start_with("", policies, dns, map)
    }

    /// The same with more of the section `egress`, a line or several.
    pub fn start_with(
        more: &str,
        policies: &str,
        dns: &[&str],
        map: &[(&str, SocketAddr)],
    ) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self::start_in(folder, &config(more, policies), dns, map)
    }

    /// The same in a folder that has files already, with a whole configuration.
    pub fn start_in(
        folder: tempfile::TempDir,
        config: &str,
        dns: &[&str],
        map: &[(&str, SocketAddr)],
    ) -> Self {
        let mut arguments: Vec<String> = Vec::new();
        for entry in dns {
            arguments.extend(["--test-dns".to_owned(), (*entry).to_owned()]);
        }
        for (from, to) in map {
            arguments.extend(["--test-address-map".to_owned(), format!("{from}={to}")]);
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Self {
            gateway: Gateway::start_in(folder, config, &arguments),
            told: Mutex::default(),
        }
    }

    /// Address of the proxy.
    pub fn proxy(&self) -> SocketAddr {
        self.gateway.at("egress/proxy")
    }

    /// Asks for a tunnel and returns what answers.
    pub fn connect(&self, target: &str) -> (Raw, String) {
        let mut connection = Raw::connect(self.proxy());
        connection.send(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n").as_bytes());
        let answer = connection.response();
        (connection, answer)
    }

    /// Sends a plain request for a whole URL and returns what answers.
    pub fn get(&self, target: &str) -> String {
        let request =
            format!("GET {target} HTTP/1.1\r\nHost: x\r\nProxy-Connection: keep-alive\r\n\r\n");
        Raw::connect(self.proxy())
            .send(request.as_bytes())
            .response()
    }

    /// Waits for an audit line of a host that says this, and was not returned by this before.
    ///
    /// Lines are written when connections end, and those of several may do so in any order.
    pub fn told(&self, host: &str, field: &str, says: &str) -> Value {
        let mut told = self.told.lock().expect("no test has panicked with it");
        let mut found = Value::Null;
        wait_for(&format!("a line of {host} with {field}: {says}"), || {
            let lines = self.gateway.audit_lines().into_iter().enumerate();
            let mut new = lines.filter(|(place, line)| {
                let is_of_host = line["kind"] == "egress" && line["host"] == host;
                is_of_host && line[field] == says && !told.contains(place)
            });
            new.next().is_some_and(|(place, line)| {
                found = line;
                told.insert(place)
            })
        });
        found
    }

    /// The last audit line of a host. Where it has several, [`Site::told`] is meant.
    pub fn audit(&self, host: &str) -> Value {
        let mut found = Value::Null;
        wait_for("the audit line", || {
            let lines = self.gateway.audit_lines();
            found = lines
                .into_iter()
                .rfind(|line| line["kind"] == "egress" && line["host"] == host)
                .unwrap_or_default();
            !found.is_null()
        });
        found
    }
}

/// A configuration of one listener, with policies and more of the section.
pub fn config(more: &str, policies: &str) -> String {
    format!(
        r"
egress:
  listeners: [{{name: proxy, address: '127.0.0.1:0'}}]
  {more}
  policies:
{policies}
"
    )
}

/// A policy of everybody that allows some entries, in the words of YAML.
pub fn allow(entries: &str) -> String {
    format!("  - {{name: all, subjects: [{{addresses: [127.0.0.0/8]}}], allow: {entries}}}\n")
}

/// The reason that an answer has; empty where it has none.
pub fn reason(answer: &str) -> &str {
    answer
        .lines()
        .find_map(|line| line.strip_prefix("x-portcullis-reason: "))
        .unwrap_or_default()
}

/// A ClientHello for a name.
pub fn client_hello(authority: &Authority, name: &str) -> Vec<u8> {
    let name = rustls_pki_types::ServerName::try_from(name.to_owned()).expect("a name");
    let mut client =
        rustls::ClientConnection::new(authority.client(&["http/1.1"]), name).expect("a client");
    let mut hello = Vec::new();
    client.write_tls(&mut hello).expect("in memory");
    hello
}
