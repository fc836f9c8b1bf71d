//! Lines of words -> Ast.

use super::{
    ast::{ActionText, Ast, Directive, DirectiveKind, IdRange, OperatorText, Setting},
    lexer::{Text, lex},
    targets::targets,
};
use crate::{
    error::{Complaint, RuleError},
    limits::BodyOverLimit,
    verdict::EngineMode,
};

/// Directives that are understood.
const DIRECTIVES: &[&str] = &[
    "SecRule",
    "SecAction",
    "SecDefaultAction",
    "SecMarker",
    "Include",
    "SecRuleRemoveById",
    "SecRuleRemoveByTag",
    "SecRuleRemoveByMsg",
    "SecRuleUpdateActionById",
    "SecRuleUpdateTargetById",
    "SecRuleUpdateTargetByTag",
    "SecRuleUpdateTargetByMsg",
    "SecRuleEngine",
    "SecRequestBodyAccess",
    "SecRequestBodyLimit",
    "SecRequestBodyNoFilesLimit",
    "SecRequestBodyLimitAction",
    "SecRequestBodyJsonDepthLimit",
    "SecResponseBodyAccess",
    "SecResponseBodyLimit",
    "SecResponseBodyLimitAction",
    "SecResponseBodyMimeType",
    "SecUploadFileLimit",
    "SecArgumentsLimit",
    "SecArgumentSeparator",
    "SecCollectionTimeout",
    "SecComponentSignature",
    "SecAuditLogParts",
];

/// Directives whose subject the gateway decides: logs, files, and what a
/// library embedded in a server must be told. They are reported as warnings.
const OF_THE_GATEWAY: &[&str] = &[
    "SecAuditEngine",
    "SecAuditLog",
    "SecAuditLogDirMode",
    "SecAuditLogFileMode",
    "SecAuditLogFormat",
    "SecAuditLogRelevantStatus",
    "SecAuditLogStorageDir",
    "SecAuditLogType",
    "SecCookieFormat",
    "SecDataDir",
    "SecDebugLog",
    "SecDebugLogLevel",
    "SecPcreMatchLimit",
    "SecPcreMatchLimitRecursion",
    "SecRequestBodyInMemoryLimit",
    "SecStatusEngine",
    "SecTmpDir",
    "SecTmpSaveUploadedFiles",
    "SecUnicodeMapFile",
    "SecUploadDir",
    "SecUploadFileMode",
    "SecUploadKeepFiles",
];

/// Directives of ModSecurity that change what is blocked and are not here.
const REFUSED: &[&str] = &[
    "SecCacheTransformations",
    "SecConnEngine",
    "SecContentInjection",
    "SecDisableBackendCompression",
    "SecGeoLookupDb",
    "SecGsbLookupDb",
    "SecHashEngine",
    "SecHashKey",
    "SecHttpBlKey",
    "SecInterceptOnError",
    "SecParseXmlIntoArgs",
    "SecRemoteRules",
    "SecRulePerfTime",
    "SecRuleScript",
    "SecSensorId",
    "SecServerSignature",
    "SecStreamInBodyInspection",
    "SecStreamOutBodyInspection",
    "SecWebAppId",
    "SecXmlExternalEntity",
];

/// Parses a text; problems go to `errors`.
pub(crate) fn parse(file: &str, text: &str, errors: &mut Vec<RuleError>) -> Ast {
    let mut ast = Ast::default();
    for line in lex(file, text, errors) {
        let place = line[0].place(0);
        match directive(&line[0], &line[1..]) {
            Ok(kind) => ast.directives.push(Directive { place, kind }),
            Err(error) => errors.push(error),
        }
    }
    ast
}

/// Parses one directive and its arguments.
fn directive(name: &Text, arguments: &[Text]) -> Result<DirectiveKind, RuleError> {
    let lower = name.value.to_ascii_lowercase();
    let known = |list: &[&str]| list.iter().any(|known| known.eq_ignore_ascii_case(&lower));
    if known(OF_THE_GATEWAY) {
        return Ok(DirectiveKind::OfTheGateway(name.value.clone()));
    }
    if known(REFUSED) {
        return Err(Complaint::unsupported("directive", &name.value).at(&name.place(0)));
    }
    if !known(DIRECTIVES) {
        let all = DIRECTIVES.iter().chain(OF_THE_GATEWAY).copied();
        return Err(Complaint::unknown("directive", &name.value, all).at(&name.place(0)));
    }
    let count = |least: usize, most: usize| match arguments.len() {
        given if (least..=most).contains(&given) => Ok(()),
        given => {
            let wanted = if least == most {
                least.to_string()
            } else {
                format!("{least} to {most}")
            };
            let message = format!("{} takes {wanted} argument(s), found {given}", name.value);
            Err(Complaint::new(message).at(&name.place(0)))
        }
    };
    match lower.as_str() {
        "secrule" => {
            count(2, 3)?;
            Ok(DirectiveKind::Rule {
                targets: targets(&arguments[0])?,
                operator: operator(&arguments[1]),
                actions: arguments.get(2).map_or(Ok(Vec::new()), actions)?,
            })
        }
        "secruleremovebyid" => {
            count(1, usize::MAX)?;
            Ok(DirectiveKind::RemoveById(id_ranges(arguments)?))
        }
        "secresponsebodymimetype" => {
            count(1, usize::MAX)?;
            let types = arguments
                .iter()
                .map(|word| word.value.to_ascii_lowercase())
                .collect();
            Ok(DirectiveKind::Setting(Setting::ResponseBodyMimeType(types)))
        }
        "secruleupdatetargetbyid" => {
            count(2, 2)?;
            let ids = id_ranges(&arguments[..1])?;
            Ok(DirectiveKind::UpdateTargetById(
                ids,
                targets(&arguments[1])?,
            ))
        }
        "secruleupdateactionbyid" => {
            count(2, 2)?;
            let (ids, link) = link_ids(&arguments[0])?;
            Ok(DirectiveKind::UpdateActionById {
                ids,
                link,
                actions: actions(&arguments[1])?,
            })
        }
        "secruleupdatetargetbytag" => {
            count(2, 2)?;
            Ok(DirectiveKind::UpdateTargetByTag(
                arguments[0].clone(),
                targets(&arguments[1])?,
            ))
        }
        "secruleupdatetargetbymsg" => {
            count(2, 2)?;
            Ok(DirectiveKind::UpdateTargetByMsg(
                arguments[0].clone(),
                targets(&arguments[1])?,
            ))
        }
        _ => {
            count(1, 1)?;
            with_one_argument(&lower, &arguments[0])
        }
    }
}

/// Parses the directives that have exactly one argument.
fn with_one_argument(lower: &str, word: &Text) -> Result<DirectiveKind, RuleError> {
    let setting = match lower {
        "secaction" => return Ok(DirectiveKind::Action(actions(word)?)),
        "secdefaultaction" => return Ok(DirectiveKind::DefaultAction(actions(word)?)),
        "secmarker" => return Ok(DirectiveKind::Marker(word.value.clone())),
        "include" => return Ok(DirectiveKind::Include(word.clone())),
        "secruleremovebytag" => return Ok(DirectiveKind::RemoveByTag(word.clone())),
        "secruleremovebymsg" => return Ok(DirectiveKind::RemoveByMsg(word.clone())),
        "secruleengine" => Setting::RuleEngine(choice(
            word,
            &[
                ("On", EngineMode::On),
                ("Off", EngineMode::Off),
                ("DetectionOnly", EngineMode::DetectionOnly),
            ],
        )?),
        "secrequestbodyaccess" => Setting::RequestBodyAccess(switch(word)?),
        "secresponsebodyaccess" => Setting::ResponseBodyAccess(switch(word)?),
        "secrequestbodylimit" => Setting::RequestBodyLimit(number(word)?),
        "secrequestbodynofileslimit" => Setting::RequestBodyNoFilesLimit(number(word)?),
        "secrequestbodyjsondepthlimit" => Setting::RequestBodyJsonDepthLimit(number(word)?),
        "secresponsebodylimit" => Setting::ResponseBodyLimit(number(word)?),
        "secuploadfilelimit" => Setting::UploadFileLimit(number(word)?),
        "secargumentslimit" => Setting::ArgumentsLimit(number(word)?),
        "secrequestbodylimitaction" => Setting::RequestBodyLimitAction(over_limit(word)?),
        "secresponsebodylimitaction" => Setting::ResponseBodyLimitAction(over_limit(word)?),
        "seccollectiontimeout" => Setting::CollectionTimeout(number(word)? as u64),
        "secauditlogparts" => Setting::AuditLogParts(audit_parts(word)?),
        "secargumentseparator" => match word.value.as_bytes() {
            [byte] => Setting::ArgumentSeparator(*byte),
            _ => return Err(Complaint::new("the separator is one character").at(&word.place(0))),
        },
        _ => Setting::ComponentSignature(word.value.clone()),
    };
    Ok(DirectiveKind::Setting(setting))
}

/// Parses the letters of the parts of an audit record.
fn audit_parts(word: &Text) -> Result<String, RuleError> {
    const PARTS: &str = "ABCDEFGHIJKZ";
    let letters = word.value.to_ascii_uppercase();
    match letters.chars().find(|letter| !PARTS.contains(*letter)) {
        None if !letters.is_empty() => Ok(letters),
        _ => Err(Complaint::new(format!(
            "expected letters of {PARTS}, found {:?}",
            word.value
        ))
        .at(&word.place(0))),
    }
}

fn switch(word: &Text) -> Result<bool, RuleError> {
    choice(word, &[("On", true), ("Off", false)])
}

fn over_limit(word: &Text) -> Result<BodyOverLimit, RuleError> {
    choice(
        word,
        &[
            ("Reject", BodyOverLimit::Reject),
            ("ProcessPartial", BodyOverLimit::InspectPrefix),
        ],
    )
}

fn choice<T: Copy>(word: &Text, choices: &[(&str, T)]) -> Result<T, RuleError> {
    let found = choices
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(&word.value));
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        Complaint::new(format!(
            "expected {}, found {}",
            names.join(" or "),
            word.value
        ))
        .at(&word.place(0))
    })
}

fn number(word: &Text) -> Result<usize, RuleError> {
    let error =
        |_| Complaint::new(format!("expected a number, found {}", word.value)).at(&word.place(0));
    word.value.parse().map_err(error)
}

/// Parses ids and ranges, separated by blanks or commas.
fn id_ranges(words: &[Text]) -> Result<Vec<IdRange>, RuleError> {
    let mut ranges = Vec::new();
    for word in words {
        for part in word
            .value
            .split([',', ' ', '\t'])
            .filter(|part| !part.is_empty())
        {
            ranges.push(id_range(part).map_err(|complaint| complaint.at(&word.place(0)))?);
        }
    }
    Ok(ranges)
}

/// Parses `7`, `7-9` or `7:1`, the second link of chain 7.
fn link_ids(word: &Text) -> Result<(Vec<IdRange>, usize), RuleError> {
    let (ids, link) = word.value.split_once(':').unwrap_or((&word.value, "0"));
    let complaint = |complaint: Complaint| complaint.at(&word.place(0));
    let link = link.trim().parse().map_err(|_| {
        complaint(Complaint::new(format!(
            "expected the number of a link, found {link:?}"
        )))
    })?;
    Ok((vec![id_range(ids).map_err(complaint)?], link))
}

/// Parses `7` or `7-9`.
pub(crate) fn id_range(text: &str) -> Result<IdRange, Complaint> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.trim().parse::<u64>(), last.trim().parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => Ok(first..=last),
        _ => Err(Complaint::new(format!(
            "expected a rule id or a range of ids, found {text:?}"
        ))),
    }
}

/// Splits an operator from its argument.
fn operator(text: &Text) -> OperatorText {
    let value = text.value.trim_start();
    let place = text.place(text.value.len() - value.len());
    let (negated, value) = match value.strip_prefix('!') {
        Some(rest) if rest.trim_start().starts_with('@') => (true, rest.trim_start()),
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let (name, argument) = match value.strip_prefix('@') {
        Some(rest) => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        None => ("rx", value),
    };
    OperatorText {
        place,
        negated,
        name: name.to_owned(),
        argument: argument.trim_start().to_owned(),
    }
}

/// Splits a list of actions at its commas; single quotes protect a comma.
fn actions(text: &Text) -> Result<Vec<ActionText>, RuleError> {
    let value = text.value.as_str();
    let mut found = Vec::new();
    let mut at = 0;
    while at < value.len() {
        let rest = &value[at..];
        let start = at + (rest.len() - rest.trim_start().len());
        let name_end = value[start..]
            .find([':', ','])
            .map_or(value.len(), |length| start + length);
        let name = value[start..name_end].trim().to_owned();
        let place = text.place(start);
        if name.is_empty() && start >= value.len() {
            break;
        }
        if name.is_empty() {
            return Err(Complaint::new("an action is missing here").at(&place));
        }
        let mut argument = None;
        at = name_end;
        if value[at..].starts_with(':') {
            let (parsed, end) = argument_of(text, name_end + 1)?;
            argument = Some(parsed);
            at = end;
        }
        found.push(ActionText {
            place,
            name,
            argument,
        });
        at += usize::from(at < value.len());
    }
    Ok(found)
}

/// Parses an argument that begins at `start`; returns it and where its comma is.
fn argument_of(text: &Text, start: usize) -> Result<(String, usize), RuleError> {
    let value = text.value.as_str();
    let rest = &value[start..];
    let open = start + (rest.len() - rest.trim_start().len());
    if !value[open..].starts_with('\'') {
        let end = value[open..]
            .find(',')
            .map_or(value.len(), |length| open + length);
        return Ok((value[open..end].trim_end().to_owned(), end));
    }
    let mut argument = String::new();
    let mut chars = value[open + 1..].char_indices().peekable();
    while let Some((index, c)) = chars.next() {
        match c {
            '\\' if chars.next_if(|(_, next)| *next == '\'').is_some() => argument.push('\''),
            '\\' => {
                argument.push(c);
                argument.extend(
                    chars
                        .next_if(|(_, next)| *next == '\\')
                        .map(|(_, next)| next),
                );
            }
            '\'' => {
                let after = open + 1 + index + 1;
                let tail = &value[after..];
                let end = after + (tail.len() - tail.trim_start().len());
                if !matches!(value[end..].chars().next(), None | Some(',')) {
                    let complaint = Complaint::new("expected a comma after this quoted argument")
                        .hint("escape a quote inside the text as \\'");
                    return Err(complaint.at(&text.place(end)));
                }
                return Ok((argument, end));
            }
            _ => argument.push(c),
        }
    }
    Err(Complaint::new("this quote is not closed").at(&text.place(open)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seclang::{SelectorText, ast::DirectiveKind};

    fn one(text: &str) -> DirectiveKind {
        let mut errors = Vec::new();
        let mut ast = parse("t", text, &mut errors);
        assert_eq!(errors, Vec::new());
        ast.directives.remove(0).kind
    }

    fn error(text: &str) -> String {
        let mut errors = Vec::new();
        parse("t", text, &mut errors);
        errors.first().map(ToString::to_string).unwrap_or_default()
    }

    #[test]
    fn a_rule_falls_into_its_parts() {
        let text = r#"SecRule ARGS|!ARGS:/a\/|b/|&REQUEST_HEADERS:Host "!@rx ^\d+$" "id:'7', msg:'it\'s, ok',t:none""#;
        let DirectiveKind::Rule {
            targets,
            operator,
            actions,
        } = one(text)
        else {
            panic!("not a rule")
        };
        assert_eq!(targets.len(), 3);
        assert_eq!(
            targets[1].selector,
            Some(SelectorText::Regex("a/|b".into()))
        );
        assert!(targets[1].excluded && targets[2].counted);
        assert_eq!(
            (operator.negated, &*operator.name, &*operator.argument),
            (true, "rx", r"^\d+$")
        );
        let actions: Vec<_> = actions
            .iter()
            .map(|a| (&*a.name, a.argument.as_deref()))
            .collect();
        assert_eq!(
            actions,
            [
                ("id", Some("7")),
                ("msg", Some("it's, ok")),
                ("t", Some("none"))
            ]
        );
    }

    #[test]
    fn an_unterminated_message_does_not_swallow_the_deny() {
        let text = r#"SecRule ARGS "@rx x" "id:1,phase:2,msg:'unterminated,deny,status:403""#;
        assert_eq!(error(text), "t:1:40: this quote is not closed");
    }

    #[test]
    fn directives_are_known_refused_or_suggested() {
        assert_eq!(
            error("SecRul ARGS x"),
            "t:1:1: unknown directive SecRul (did you mean SecRule?)"
        );
        assert_eq!(
            error("SecRuleScript a.lua"),
            "t:1:1: directive SecRuleScript is not supported"
        );
        assert_eq!(
            error("SecRuleEngine Maybe"),
            "t:1:15: expected On or Off or DetectionOnly, found Maybe"
        );
        assert_eq!(
            error("SecRule ARGS"),
            "t:1:1: SecRule takes 2 to 3 argument(s), found 1"
        );
    }

    #[test]
    fn every_error_of_a_text_is_reported() {
        let mut errors = Vec::new();
        parse("t", "Foo\nSecRule \"\nSecRequestBodyLimit x\n", &mut errors);
        let lines: Vec<u32> = errors.iter().map(|error| error.line).collect();
        assert_eq!(lines.len(), 3, "{errors:?}");
    }
}
