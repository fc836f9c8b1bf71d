//! The baseline rules, as texts that are compiled in.

use crate::source::RuleText;

/// Makes a text of each file of `rules/`.
macro_rules! texts {
    ($($file:literal,)*) => {
        [$((concat!("baseline/", $file), include_str!(concat!("../rules/", $file))),)*]
    };
}

/// Returns the texts of the baseline rules, a class of attacks in each, in the order in which
/// they are compiled.
///
/// They score attacks in `tx.inbound_anomaly_score` and deny at the end of
/// phase 2 when it reaches `tx.inbound_anomaly_score_threshold`: 5, unless a
/// text that is compiled before sets it with a `SecAction` in phase 1.
pub fn baseline() -> Vec<RuleText> {
    let texts = texts![
        "00-preparation.conf",
        "10-protocol.conf",
        "20-sql-injection.conf",
        "30-cross-site-scripting.conf",
        "40-files.conf",
        "50-inclusion-and-ssrf.conf",
        "60-command-injection.conf",
        "70-templates.conf",
        "80-php.conf",
        "85-java-and-node.conf",
        "87-deserialization.conf",
        "90-xml-and-directories.conf",
        "92-scanners.conf",
        "95-kubernetes.conf",
        "99-decision.conf",
    ];
    let text = |(name, text): (&str, &str)| RuleText {
        name: name.into(),
        text: text.into(),
    };
    texts.into_iter().map(text).collect()
}
