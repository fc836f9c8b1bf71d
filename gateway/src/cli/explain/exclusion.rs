//! The narrowest exclusion that lets a request pass.
//!
//! ```text
//! who refused --a rule with a score--> the rules that scored, as few as bring it below the threshold
//!             --any other rule------> itself
//! each of them, on this path, does not look at the variables that matched; nothing else changes
//! ```

use serde::Serialize;

use super::{
    name::{path_condition, target},
    record::{Found, Matched, Stop, WafRecord},
};

/// Ids for rules of one's own: 1 to 99,999.
const FIRST_ID: u64 = 1_000;
const IDS: u64 = 99_000;

/// Targets of one exclusion; more are no mistake of a rule about a parameter any more.
const MAX_TARGETS: usize = 8;

/// What to paste.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Proposal {
    /// The exclusion.
    pub(super) seclang: String,
    /// What each of its parts takes away.
    pub(super) removes: Vec<Removal>,
    /// What to know before it is pasted.
    pub(super) notes: Vec<String>,
}

/// A rule and the variable that it does not look at any more; all of them where there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Removal {
    pub(super) rule: u64,
    pub(super) variable: Option<String>,
}

/// Proposes an exclusion.
///
/// # Errors
/// Why there is none.
pub(super) fn propose(record: &WafRecord) -> Result<Proposal, String> {
    let stop = record
        .interruption
        .as_ref()
        .or(record.would_interrupt.as_ref());
    let stop = stop.ok_or("No rule wants to refuse it: there is nothing to exclude.")?;
    let Some(rule) = stop.rule else {
        return Err(format!(
            "It exceeds a limit ({}), which no exclusion opens: docs/limits.md names the settings.",
            stop.message
        ));
    };
    let mut notes = Vec::new();
    let chosen = match record.matches.iter().find(|found| found.rule == Some(rule)) {
        Some(found) if !decides_by_score(found) => vec![found],
        // A rule with `nolog` decides as well as one that is told.
        _ => scored(record, stop, rule, &mut notes)?,
    };
    let mut removes: Vec<Removal> = Vec::new();
    for found in chosen {
        let Some(rule) = found.rule else { continue };
        match targets(found) {
            Some(variables) => {
                let whole = variables.iter().filter(|variable| rank(variable) >= WHOLE);
                notes.extend(whole.map(|variable| {
                    format!("rule {rule} does not look at {variable} there any more, which is more than one parameter")
                }));
                removes.extend(variables.into_iter().map(|variable| Removal {
                    rule,
                    variable: Some(variable),
                }));
            }
            None => {
                notes.push(format!(
                    "rule {rule} is about the request as a whole, and is taken out for this path"
                ));
                removes.push(Removal {
                    rule,
                    variable: None,
                });
            }
        }
    }
    let mut seen = Vec::new();
    removes.retain(|removal| {
        let is_new = !seen.contains(removal);
        seen.push(removal.clone());
        is_new
    });
    if removes.is_empty() {
        return Err("The record does not tell which rule to exclude.".to_owned());
    }
    if record.matches_dropped > 0 {
        notes.push(format!(
            "{} more rules have matched than the record tells; this may not be enough",
            record.matches_dropped
        ));
    }
    Ok(Proposal {
        seclang: seclang(&record.path, &removes, &mut notes),
        removes,
        notes,
    })
}

/// Tells whether a rule looks at what others have counted.
fn decides_by_score(found: &Matched) -> bool {
    !found.found.is_empty()
        && found
            .found
            .iter()
            .all(|found| found.variable.starts_with("TX:"))
}

/// The rules that scored, as few as bring the score below the threshold.
fn scored<'a>(
    record: &'a WafRecord,
    stop: &Stop,
    decider: u64,
    notes: &mut Vec<String>,
) -> Result<Vec<&'a Matched>, String> {
    let is_inbound = stop.phase <= 2;
    let (score, threshold) = match is_inbound {
        true => (record.inbound_anomaly_score, record.level.inbound_threshold),
        false => (
            record.outbound_anomaly_score,
            record.level.outbound_threshold,
        ),
    };
    let level = record.level.paranoia.unwrap_or(i64::MAX);
    let mut scored: Vec<&Matched> = record
        .matches
        .iter()
        .filter(|found| {
            found.score > 0
                && found.rule != Some(decider)
                && (found.phase <= 2) == is_inbound
                && paranoia_level(found) <= level
        })
        .collect();
    if scored.is_empty() {
        return Err(format!(
            "Rule {decider} refuses for a score, and the record has no rule that scored."
        ));
    }
    // Those that scored most first: then few are enough.
    scored.sort_by_key(|found| -found.score);
    let Some(threshold) = threshold else {
        notes.push("the rules tell no threshold: every rule that scored is excluded".to_owned());
        return Ok(scored);
    };
    let mut left = score;
    let mut enough = Vec::new();
    for found in scored {
        if left < threshold {
            break;
        }
        left -= found.score;
        enough.push(found);
    }
    if left >= threshold {
        notes.push(
            "the score is higher than what these rules account for; this may not be enough"
                .to_owned(),
        );
    }
    Ok(enough)
}

/// The level from which on a rule of the CRS runs.
fn paranoia_level(found: &Matched) -> i64 {
    let mut tags = found.tags.iter();
    let level = tags.find_map(|tag| tag.strip_prefix("paranoia-level/")?.parse().ok());
    level.unwrap_or(1)
}

/// What a rule is not to look at: all that one link of its chain has found, where that is
/// a part of the request.
fn targets(found: &Matched) -> Option<Vec<String>> {
    if found.found_dropped > 0 {
        return None;
    }
    let last = found.found.iter().map(|one| one.link).max()?;
    let links = (0..=last).filter_map(|link| {
        let of_link: Vec<&Found> = found.found.iter().filter(|one| one.link == link).collect();
        let rank = of_link.iter().map(|one| rank(&one.variable)).max()?;
        Some((rank, of_link))
    });
    let (rank, chosen) = links.min_by_key(|(rank, of_link)| (*rank, of_link.len()))?;
    if rank == NOT_A_PART || chosen.len() > MAX_TARGETS {
        return None;
    }
    chosen
        .into_iter()
        .map(|one| target(&one.variable))
        .collect()
}

/// From here on a variable holds more than one parameter.
const WHOLE: u8 = 3;

const NOT_A_PART: u8 = 9;

/// How little an exclusion of a variable takes away: a parameter is the least.
fn rank(variable: &str) -> u8 {
    let (collection, name) = match variable.split_once(':') {
        Some((collection, name)) => (collection, Some(name)),
        None => (variable, None),
    };
    match (collection, name) {
        (
            "ARGS"
            | "ARGS_GET"
            | "ARGS_POST"
            | "ARGS_NAMES"
            | "ARGS_GET_NAMES"
            | "ARGS_POST_NAMES"
            | "REQUEST_COOKIES"
            | "REQUEST_COOKIES_NAMES"
            | "FILES"
            | "FILES_NAMES"
            | "MULTIPART_PART_HEADERS"
            | "MULTIPART_FILENAME"
            | "MULTIPART_NAME",
            Some(_),
        ) => 1,
        ("REQUEST_HEADERS" | "REQUEST_HEADERS_NAMES" | "RESPONSE_HEADERS", Some(_)) => 2,
        ("XML", _) => 3,
        (
            "REQUEST_BODY" | "QUERY_STRING" | "REQUEST_URI" | "REQUEST_URI_RAW" | "REQUEST_LINE"
            | "REQUEST_FILENAME" | "REQUEST_BASENAME" | "RESPONSE_BODY",
            _,
        ) => 4,
        _ => NOT_A_PART,
    }
}

fn seclang(path: &str, removes: &[Removal], notes: &mut Vec<String>) -> String {
    let controls: Vec<String> = removes
        .iter()
        .map(|removal| match &removal.variable {
            Some(variable) => {
                format!("ctl:ruleRemoveTargetById={};{variable}", removal.rule)
            }
            None => format!("ctl:ruleRemoveById={}", removal.rule),
        })
        .collect();
    let condition = path_condition(path);
    let head = match &condition {
        Some(condition) => format!("SecRule REQUEST_FILENAME \"{condition}\""),
        None => {
            notes.push(
                "the path is not told, so that this holds on every path; narrow it".to_owned(),
            );
            "SecAction".to_owned()
        }
    };
    let id = id(&head, &controls);
    let transformations = if condition.is_some() { ",t:none" } else { "" };
    let actions = controls.join(",\\\n    ");
    format!("{head} \\\n    \"id:{id},phase:1,pass,nolog{transformations},\\\n    {actions}\"\n")
}

/// The same for the same exclusion, and another for another: several can be pasted.
fn id(head: &str, controls: &[String]) -> u64 {
    let texts = std::iter::once(head).chain(controls.iter().map(String::as_str));
    let hash = texts
        .flat_map(str::bytes)
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    FIRST_ID + hash % IDS
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn proposed(record: serde_json::Value) -> Result<Proposal, String> {
        propose(&serde_json::from_value(record).expect("a record"))
    }

    #[test]
    fn few_rules_are_excluded_and_only_where_they_matched() {
        let found = |variable: &str| json!([{ "link": 0, "variable": variable, "value": "x" }]);
        let proposal = proposed(json!({
            "path": "/search",
            "interruption": { "status": 403, "rule": 949_110, "phase": 2, "message": "score" },
            "inboundAnomalyScore": 10,
            "level": { "paranoia": 1, "inboundThreshold": 5 },
            "matches": [
                { "rule": 1, "phase": 1, "score": 2, "found": found("REQUEST_HEADERS:Accept") },
                { "rule": 2, "phase": 2, "score": 5, "found": found("ARGS:q") },
                { "rule": 3, "phase": 2, "score": 3, "found": [
                    { "link": 0, "variable": "REQUEST_METHOD" }, { "link": 1, "variable": "ARGS:a b" },
                    { "link": 2, "variable": "TX:1" } ] },
                { "rule": 4, "phase": 2, "score": 5, "tags": ["paranoia-level/2"], "found": found("ARGS:q") },
                { "rule": 949_110, "phase": 2, "score": 0, "found": found("TX:blocking_inbound_anomaly_score") },
            ],
        }))
        .expect("an exclusion");
        let lines: Vec<&str> = proposal.seclang.lines().collect();
        assert_eq!(lines[0], "SecRule REQUEST_FILENAME \"@streq /search\" \\");
        assert_eq!(
            &lines[2..],
            [
                r"    ctl:ruleRemoveTargetById=2;ARGS:q,\",
                "    ctl:ruleRemoveTargetById=3;ARGS:/^a\\x20b$/\""
            ]
        );
        assert!(proposal.notes.is_empty(), "{:?}", proposal.notes);
    }

    #[test]
    fn a_rule_that_refuses_by_itself_is_excluded_itself() {
        let stop = json!({ "status": 400, "rule": 7, "phase": 1 });
        let proposal = proposed(json!({
            "path": "/a b", "wouldInterrupt": stop,
            "matches": [{ "rule": 7, "phase": 1, "found": [{ "link": 0, "variable": "&REQUEST_HEADERS" }] }],
        }))
        .expect("an exclusion");
        assert!(
            proposal
                .seclang
                .starts_with("SecRule REQUEST_FILENAME \"@rx ^\\x2fa\\x20b$\""),
            "{}",
            proposal.seclang
        );
        assert!(proposal.seclang.contains("ctl:ruleRemoveById=7\""));
        assert_eq!(proposal.notes.len(), 1);
    }

    #[test]
    fn an_exclusion_of_more_than_a_parameter_is_noted() {
        let proposal = proposed(json!({
            "path": "/a", "interruption": { "status": 403, "rule": 7, "phase": 2 },
            "matches": [{ "rule": 7, "phase": 2, "found": [
                { "link": 0, "variable": "REQUEST_URI" }, { "link": 0, "variable": "ARGS:q" }] }],
        }))
        .expect("an exclusion");
        assert!(
            proposal.seclang.contains("=7;REQUEST_URI,")
                && proposal.seclang.contains("=7;ARGS:q\"")
        );
        assert_eq!(proposal.notes.len(), 1, "{:?}", proposal.notes);
    }

    #[test]
    fn where_there_is_nothing_to_exclude_the_reason_is_told() {
        for (record, expected) in [
            (json!({}), "nothing to exclude"),
            (
                json!({ "interruption": { "status": 400, "rule": null, "phase": 1, "message": "too many arguments" } }),
                "a limit (too many arguments)",
            ),
            (
                json!({ "interruption": { "status": 403, "rule": 9, "phase": 2 } }),
                "no rule that scored",
            ),
        ] {
            let reason = proposed(record).expect_err("nothing to exclude");
            assert!(reason.contains(expected), "{reason}");
        }
    }
}
