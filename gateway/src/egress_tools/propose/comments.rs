//! What a proposal says beside its policies, in comments.

use std::{collections::BTreeMap, fmt::Write};

use portcullis_config::document::Timestamp;

use super::{
    super::{lines::LineCounts, record::Workload},
    Collector,
    collector::{Destination, Found, Target},
    entries::Entry,
    seen::why,
};
use crate::kube::MAX_EGRESS_POLICY_ENTRIES as MAX_ENTRIES;

/// Destinations that a comment names; of more their number is told.
pub(super) const TOLD: usize = 10;

/// What the records are that all of it is from.
pub(super) fn head(collector: &Collector, counts: &LineCounts) -> String {
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
    if collector.inside > 0 {
        let records = count(collector.inside, "record", "records");
        let _ = writeln!(
            text,
            "# Of requests inside tunnels: {records}. Those of the tunnels stand for them."
        );
    }
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
pub(super) fn comments(workload: &Workload, found: &Found, entries: &[Entry]) -> String {
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
    text.push_str(&looked_into(found));
    if entries.is_empty() {
        text.push_str("# Nothing is left to propose.\n");
    }
    text
}

/// Where tunnels are looked into: all of it, since an entry that is to be kept must be known.
fn looked_into(found: &Found) -> String {
    if found.looked_into.is_empty() {
        return String::new();
    }
    let mut text = String::from(
        "# left out, inspected: some entry looks into these tunnels. What is allowed inside, and which WAF\n\
         # rules see it, is not in the log, and an entry for the host alone would open all of it. Keep the entries:\n",
    );
    for (destination, policy) in &found.looked_into {
        let _ = match policy {
            Some(policy) => writeln!(
                text,
                "#   {}, allowed by policy {}",
                shown(destination),
                commented(policy)
            ),
            None => writeln!(text, "#   {}", shown(destination)),
        };
    }
    text
}

/// What is said of an object that the API server does not take.
pub(super) fn too_many(entries: usize) -> String {
    if entries <= MAX_ENTRIES {
        return String::new();
    }
    format!(
        "# It has {entries} entries, and an object may have {MAX_ENTRIES}: it is refused as it is. Join names with\n\
         # --wildcard-from, or make several objects of it; --as document has no such limit.\n"
    )
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

/// A text of others in a comment, which it cannot end.
fn commented(text: &str) -> String {
    let plain = |letter: char| match letter {
        ' '..='~' => letter,
        _ => '?',
    };
    text.chars().map(plain).take(300).collect()
}

/// A number with its noun.
pub(super) fn count(number: u64, one: &str, many: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        _ => format!("{number} {many}"),
    }
}
