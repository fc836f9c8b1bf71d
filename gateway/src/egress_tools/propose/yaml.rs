//! A proposal as text. Comments say what stands behind it, which no serializer writes.

use std::{collections::BTreeMap, fmt::Write};

use portcullis_config::document::Timestamp;
use sha2::{Digest, Sha256};

use super::{
    super::{lines::LineCounts, record::Workload},
    Collector, Form,
    collector::{Destination, Found, Target},
    entries::{Entry, entries},
    seen::why,
};

/// Destinations that a comment names; of more their number is told.
const TOLD: usize = 10;

/// Names of policies have at most so many letters.
const MAX_NAME: usize = 128;

/// Ports of an entry that names none.
const DEFAULT_PORTS: [u16; 2] = [80, 443];

/// Writes the proposals as YAML. The same records make the same text, in whatever order they come.
pub fn write(collector: &Collector, counts: &LineCounts, form: Form) -> String {
    let mut text = head(collector, counts);
    let mut bodies = String::new();
    for (workload, found) in &collector.workloads {
        let entries = entries(&found.destinations, collector.options.wildcard_from);
        let lines = match (form, workload) {
            (Form::Resource, Workload::Account { .. }) => {
                let body = policy(workload, found, &entries, collector, form);
                let begin = if body.is_empty() { "" } else { "---" };
                format!("{begin}{}{body}", comments(workload, found))
            }
            (Form::Resource, _) => format!(
                "\n# {workload} has shown no token, and a resource selects ServiceAccounts: --as document has {}\n",
                count(entries.len() as u64, "entry", "entries")
            ),
            (Form::Document, _) => {
                let body = policy(workload, found, &entries, collector, form);
                indented(&(comments(workload, found) + &body), "    ")
            }
        };
        bodies.push_str(&lines);
    }
    if form == Form::Document {
        let has_policies = collector
            .workloads
            .values()
            .any(|found| !found.destinations.is_empty());
        let list = if has_policies { "" } else { " []" };
        // Writing to a String does not fail, here and below.
        let _ = writeln!(text, "egress:\n  policies:{list}");
    }
    text + &bodies
}

fn head(collector: &Collector, counts: &LineCounts) -> String {
    let mut text =
        String::from("# Proposed by `portcullis egress propose`; to be read before it is used.\n");
    let records = count(counts.records, "egress record", "egress records");
    let _ = match collector.reach {
        None => writeln!(text, "# The log has no egress record."),
        Some((first, last)) => writeln!(
            text,
            "# From {records}, {} to {}.",
            Timestamp(first),
            Timestamp(last)
        ),
    };
    for (number, what) in [
        (counts.others, "not of the egress proxy"),
        (counts.too_long, "too long"),
        (counts.unusable, "records that could not be used"),
    ] {
        if number > 0 {
            let _ = writeln!(
                text,
                "# Passed over: {}, {what}.",
                count(number, "line", "lines")
            );
        }
    }
    if let Some(first) = &counts.first_unusable {
        let _ = writeln!(text, "# The first of these: {}", commented(first));
    }
    text
}

/// What is known of a workload beside its policy.
fn comments(workload: &Workload, found: &Found) -> String {
    let mut text = format!(
        "\n# {workload}: {}\n",
        count(found.records, "connection", "connections")
    );
    if matches!(workload, Workload::Address(_)) {
        text.push_str("# It is known by its address alone, which others may come to have.\n");
    }
    if found.hidden_name {
        text.push_str(
            "# Some of its ClientHellos may hide a name: `encryptedClientHello: refuse` would end them.\n",
        );
    }
    for (reason, times) in &found.left_out {
        let total: u64 = times.values().sum();
        let _ = writeln!(
            text,
            "# left out, {reason} ({}): {}",
            why(reason),
            told(times, total)
        );
    }
    if found.destinations.is_empty() {
        text.push_str("# Nothing is left to propose.\n");
    }
    text
}

/// The first destinations, and how many more there are.
fn told(times: &BTreeMap<Option<Destination>, u64>, total: u64) -> String {
    let known: Vec<&Destination> = times.keys().flatten().collect();
    if known.is_empty() {
        return count(total, "request", "requests");
    }
    let mut names: Vec<String> = known.iter().take(TOLD).map(|at| shown(at)).collect();
    if known.len() > TOLD {
        names.push(format!("and {} more", known.len() - TOLD));
    }
    if times.contains_key(&None) {
        names.push("and some that were not understood".to_owned());
    }
    names.join(", ")
}

fn shown(destination: &Destination) -> String {
    match &destination.host {
        Target::Name(name) => format!("{name}:{}", destination.port),
        Target::Below(parent) => format!("*.{parent}:{}", destination.port),
        Target::Address(address) => {
            std::net::SocketAddr::new(*address, destination.port).to_string()
        }
    }
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
        let methods: Vec<&str> = entry.methods.iter().map(String::as_str).collect();
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
    let comment = match (entry.joined.as_slice(), entry.times) {
        ([], 1) => " # seen once".to_owned(),
        ([], _) => String::new(),
        (names, _) => {
            let mut first: Vec<&str> = names.iter().take(TOLD).map(String::as_str).collect();
            if names.len() > TOLD {
                first.push("...");
            }
            format!(" # from {} names: {}", names.len(), first.join(", "))
        }
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

/// A text of others in a comment, which it cannot end.
fn commented(text: &str) -> String {
    let plain = |letter: char| match letter {
        ' '..='~' => letter,
        _ => '?',
    };
    text.chars().map(plain).take(300).collect()
}

fn indented(text: &str, by: &str) -> String {
    let indent = |line: &str| match line.trim().is_empty() {
        true => line.to_owned(),
        false => format!("{by}{line}"),
    };
    text.split_inclusive('\n').map(indent).collect()
}

fn count(number: u64, one: &str, many: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        _ => format!("{number} {many}"),
    }
}

#[cfg(test)]
mod tests;
