//! A proposal as text. Comments say what stands behind it, which no serializer writes.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use super::{
    super::{lines::LineCounts, record::Workload},
    Collector, Form,
    collector::{Found, MAX_METHODS, Target},
    comments::{TOLD, comments, count, head, too_many},
    entries::{Entry, entries},
};

/// Names of policies have at most so many letters.
const MAX_NAME: usize = 128;

/// Ports of an entry that names none.
const DEFAULT_PORTS: [u16; 2] = [80, 443];

/// Writes the proposals as YAML. The same records make the same text, in whatever order they come.
pub fn write(collector: &Collector, counts: &LineCounts, form: Form) -> String {
    let mut text = head(collector, counts);
    let mut bodies = String::new();
    let mut has_policies = false;
    for (workload, found) in &collector.workloads {
        let entries = entries(found, collector.options.wildcard_from);
        has_policies |= !entries.is_empty();
        let lines = match (form, workload) {
            (Form::Resource, Workload::Account { .. }) => {
                let body = policy(workload, found, &entries, collector, form);
                let begin = if body.is_empty() { "" } else { "---" };
                let too_many = too_many(entries.len());
                let comments = comments(workload, found, &entries);
                format!("{begin}{comments}{too_many}{body}")
            }
            (Form::Resource, _) => format!(
                "\n# {workload} has shown no token, and a resource selects ServiceAccounts: --as document has {}\n",
                count(entries.len() as u64, "entry", "entries")
            ),
            (Form::Document, _) => {
                let body = policy(workload, found, &entries, collector, form);
                indented(&(comments(workload, found, &entries) + &body), "    ")
            }
        };
        bodies.push_str(&lines);
    }
    if form == Form::Document {
        let list = if has_policies { "" } else { " []" };
        // Writing to a String does not fail, here and below.
        let _ = writeln!(text, "egress:\n  policies:{list}");
    }
    text + &bodies
}

/// The policy of a workload; nothing where it has no entry, since a policy without entries would
/// say no more than having none.
fn policy(
    workload: &Workload,
    found: &Found,
    entries: &[Entry],
    collector: &Collector,
    form: Form,
) -> String {
    if entries.is_empty() {
        return String::new();
    }
    let mode = found.mode(collector.options.mode).text();
    let list: String = entries.iter().map(line).collect();
    match (form, workload) {
        (
            Form::Resource,
            Workload::Account {
                namespace,
                service_account,
            },
        ) => format!(
            "apiVersion: portcullis.dev/v1alpha1\nkind: EgressPolicy\nmetadata:\n  name: {name}\n  namespace: {}\nspec:\n  subjects:\n    - serviceAccount: {name}\n  mode: {mode}\n  allow:\n{}",
            scalar(namespace),
            indented(&list, "    "),
            name = scalar(service_account),
        ),
        _ => {
            let subject = match workload {
                Workload::Account {
                    namespace,
                    service_account,
                } => format!(
                    "{{namespace: {}, serviceAccount: {}}}",
                    scalar(namespace),
                    scalar(service_account)
                ),
                Workload::Certificate { spiffe, name } => match spiffe {
                    true => format!("{{spiffeId: \"{name}\"}}"),
                    false => format!("{{certificateName: \"{name}\"}}"),
                },
                Workload::Address(address) => format!("{{addresses: [\"{address}\"]}}"),
            };
            format!(
                "- name: {}\n  subjects:\n    - {subject}\n  mode: {mode}\n  allow:\n{}",
                scalar(&name(workload)),
                indented(&list, "    ")
            )
        }
    }
}

/// The name of a policy in a document. Those of ServiceAccounts have a dot, and so differ from
/// those of addresses; a namespace has none, so that they differ among each other.
fn name(workload: &Workload) -> String {
    match workload {
        Workload::Account {
            namespace,
            service_account,
        } => {
            let name = format!("{namespace}.{service_account}");
            if name.len() <= MAX_NAME {
                return name;
            }
            // Such names are cut, and stay apart by a hash of the whole.
            let hash = hash(&name);
            let room = MAX_NAME - hash.len() - 1;
            format!("{}-{hash}", name.get(..room).unwrap_or_default())
        }
        Workload::Certificate { spiffe, name } => {
            let kind = if *spiffe { "spiffe" } else { "common-name" };
            format!("{kind}-{}", hash(name))
        }
        Workload::Address(address) => {
            format!("address-{}", address.to_string().replace(['.', ':'], "-"))
        }
    }
}

fn hash(text: &str) -> String {
    let digest = Sha256::digest(text);
    digest
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// One entry as an item of a list.
fn line(entry: &Entry) -> String {
    let target = match &entry.target {
        Target::Name(name) => ("host", scalar(name)),
        Target::Below(parent) => ("host", format!("\"*.{parent}\"")),
        Target::Address(address) => {
            let length = if address.is_ipv4() { 32 } else { 128 };
            ("cidr", format!("\"{address}/{length}\""))
        }
    };
    let has_default_ports = entry.ports.iter().eq(&DEFAULT_PORTS);
    let mut fields = Vec::new();
    if !has_default_ports {
        let ports: Vec<String> = entry.ports.iter().map(u16::to_string).collect();
        fields.push(format!("ports: [{}]", ports.join(", ")));
    }
    if !entry.methods.is_empty() {
        // Between quotation marks: clients make methods up, as `-`, `NULL` or `NO`.
        let methods = entry.methods.iter();
        let methods: Vec<String> = methods.map(|method| format!("\"{method}\"")).collect();
        fields.push(format!("methods: [{}]", methods.join(", ")));
    }
    if entry.originated_tls {
        fields.push("originateTls: true".to_owned());
    }
    if entry.private {
        fields.push("private: true".to_owned());
    }
    if entry.raw {
        fields.push("raw: true".to_owned());
    }
    let text = match (target, fields.as_slice()) {
        (("host", host), []) => host,
        ((key, value), fields) => {
            let first = format!("{key}: {value}");
            let all: Vec<&str> = std::iter::once(first.as_str())
                .chain(fields.iter().map(String::as_str))
                .collect();
            format!("{{{}}}", all.join(", "))
        }
    };
    let mut remarks = Vec::new();
    match (entry.joined.as_slice(), entry.times) {
        ([], 1) => remarks.push("seen once".to_owned()),
        ([], _) => {}
        (names, _) => {
            let mut first: Vec<&str> = names.iter().take(TOLD).map(String::as_str).collect();
            if names.len() > TOLD {
                first.push("...");
            }
            remarks.push(format!("from {} names: {}", names.len(), first.join(", ")));
        }
    }
    if entry.unlisted > 0 {
        let requests = count(entry.unlisted, "request", "requests");
        remarks.push(format!(
            "{requests} with more methods than {MAX_METHODS} left out"
        ));
    }
    if entry.originated_tls {
        remarks
            .push("take over its `paths`, `waf` and `inject`: they are not in the log".to_owned());
    }
    let comment = match remarks.is_empty() {
        true => String::new(),
        false => format!(" # {}", remarks.join("; ")),
    };
    format!("- {text}{comment}\n")
}

/// A text as a YAML scalar: plain where nothing else can be read in it, as `1e5`, `no` or `null`.
fn scalar(text: &str) -> String {
    let is_plain = text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|byte| {
            byte.is_ascii_lowercase()
                || byte.is_ascii_digit()
                || matches!(byte, b'-' | b'.' | b'_')
        })
        // The longest word that YAML reads as something else is `false`.
        && (text.len() > 5 || text.contains(['-', '.', '_']));
    if is_plain {
        text.to_owned()
    } else {
        // What was judged has no letter that needs escaping.
        format!("\"{text}\"")
    }
}

fn indented(text: &str, by: &str) -> String {
    let indent = |line: &str| match line.trim().is_empty() {
        true => line.to_owned(),
        false => format!("{by}{line}"),
    };
    text.split_inclusive('\n').map(indent).collect()
}

#[cfg(test)]
mod tests;
