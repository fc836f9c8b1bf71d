//! An answer for people.

use std::{
    fmt::Display,
    io::{self, Write},
};

use portcullis_config::document::EgressMode;

use super::answer::{Answer, Counting, OfPolicy, Said};

/// Prints an answer.
pub(super) fn print(out: &mut impl Write, answer: &Answer) -> io::Result<()> {
    let said = &answer.said;
    let verdict = match (said.verdict, answer.words) {
        ("deny", _) => "refused",
        ("would_deny", _) => "let through, and told that it would be refused",
        (_, Some(_)) => "let through, though nothing allows it",
        (_, None) => "allowed",
    };
    writeln!(out, "{}: {verdict}", answer.destination)?;
    match answer.words {
        Some(words) => writeln!(out, "  reason: {}, {words}", said.reason)?,
        None => writeln!(out, "  reason: {}", said.reason)?,
    }
    if said.policy.is_some() {
        writeln!(out, "  by: {}", by(said))?;
    }
    if answer.over_tls {
        writeln!(out, "  sent over TLS, or nowhere")?;
    }
    let addresses: Vec<String> = answer.addresses.iter().map(ToString::to_string).collect();
    if !addresses.is_empty() {
        writeln!(out, "  with its addresses: {}", addresses.join(", "))?;
    }
    if let Some(until) = &answer.until {
        writeln!(out, "  until: {until}")?;
    }
    for quota in &answer.quotas {
        writeln!(out, "  counted by: {}", counted_by(quota))?;
    }
    for unknown in &answer.unknown {
        writeln!(out, "  not known: {unknown}")?;
    }
    if let Some(to_allow) = &answer.to_allow {
        writeln!(out, "  to allow it: {to_allow}")?;
    }
    for policy in &answer.policies {
        writeln!(out, "  {}", alone(policy))?;
    }
    Ok(())
}

fn by(said: &Said) -> String {
    let mut text = format!("policy {:?}", said.policy.as_deref().unwrap_or_default());
    if let Some(rule) = &said.rule {
        text += &format!(", entry {rule:?}");
    }
    if let Some(mode) = said.mode {
        text += &format!(", mode {}", name_of(mode));
    }
    text + &at(said.place.as_ref())
}

fn counted_by(quota: &Counting) -> String {
    let rule = match &quota.rule {
        Some(rule) => format!(", entry {rule:?}"),
        None => String::new(),
    };
    let mode = name_of(quota.mode);
    let place = at(quota.place.as_ref());
    format!(
        "the quota of policy {:?}{rule}, mode {mode}{place}",
        quota.policy
    )
}

/// What a policy says with no other beside it.
fn alone(policy: &OfPolicy) -> String {
    let kind = if policy.floor { "floor" } else { "policy" };
    let mode = name_of(policy.effective_mode);
    let by_floor = match policy.enforced_by_floor {
        true => " by a floor",
        false => "",
    };
    let said = &policy.said;
    let mut text = format!(
        "{kind} {:?} ({mode}{by_floor}) alone: {}, {}",
        policy.name, said.verdict, said.reason
    );
    if let Some(rule) = &said.rule {
        text += &format!(", entry {rule:?}");
    }
    text += &at(said.place.as_ref());
    match policy.leaves.as_deref() {
        Some([]) => text += "; it does not leave this to policies",
        Some(entries) => {
            let entries: Vec<String> = entries.iter().map(|text| format!("{text:?}")).collect();
            text += &format!("; it leaves this to policies by {}", entries.join(", "));
        }
        None if policy.floor => text += "; it leaves this to policies",
        None => {}
    }
    text
}

fn at(place: Option<&impl Display>) -> String {
    place.map_or_else(String::new, |place| format!(", {place}"))
}

fn name_of(mode: EgressMode) -> &'static str {
    match mode {
        EgressMode::Enforce => "enforce",
        EgressMode::Report => "report",
        EgressMode::Open => "open",
    }
}
