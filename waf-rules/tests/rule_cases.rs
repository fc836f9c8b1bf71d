//! Cases from public reports about the language of rules, each named by its id.

mod support;

use std::sync::Arc;

use portcullis_waf::{EngineMode, RuleSet, RuleSource, RuleText};

use support::{FORM, Request, form, json, run, status};

/// Files by name, of which `Include *.conf` means all, in order.
struct Files<'a>(&'a [(&'a str, &'a str)]);

impl RuleSource for Files<'_> {
    fn read(&self, path: &str) -> Result<String, String> {
        let found = self.0.iter().find(|(name, _)| *name == path);
        found.map_or(Err("no such file".into()), |(_, text)| {
            Ok((*text).to_owned())
        })
    }

    fn included(&self, path: &str, _: &str) -> Result<Vec<String>, String> {
        match path {
            "*.conf" => Ok(self.0.iter().map(|(name, _)| (*name).to_owned()).collect()),
            _ => Ok(vec![path.to_owned()]),
        }
    }
}

/// Compiles `Include *.conf` of files; the problems, each with its place.
fn compile(files: &[(&str, &str)]) -> Result<Arc<RuleSet>, Vec<String>> {
    let text = RuleText {
        name: "main".into(),
        text: "Include *.conf".into(),
    };
    let rules = RuleSet::compile(&[text], &Files(files));
    rules
        .map(Arc::new)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

fn refused(text: &str) -> Vec<String> {
    compile(&[("a.conf", text)]).expect_err(text)
}

#[test]
fn waf_07_letters_of_other_scripts_keep_all_their_bits() {
    let rule =
        "SecRule ARGS \"@rx <>\" \"id:1,phase:2,deny,t:none,t:utf8toUnicode,t:urlDecodeUni\"";
    // Their low bytes spell 8<>.
    assert_eq!(status(rule, &form("c", "имо")), None);
    assert_eq!(status(rule, &form("c", "%u003c%u003e")), Some(403));
    let path = rule.replace("<>", r"/\.\.");
    // U+062F, whose low byte is a slash.
    assert_eq!(status(&path, &form("c", "د..")), None);
    assert_eq!(status(&path, &form("c", "%u002f..")), Some(403));
    // Full-width forms are what some backends fold to ASCII.
    assert_eq!(status(rule, &form("c", "%uff1c%uff1e")), Some(403));
}

#[test]
fn waf_09_escapes_that_are_none_stay_byte_for_byte() {
    for text in ["%+FF", "%zz", "%4", "a%", "%", "%%41"] {
        let wanted = text.replace("%%41", "%A");
        let rule = format!(
            "SecRule ARGS:json.v \"@streq {wanted}\" \"id:1,phase:2,deny,t:none,t:urlDecode\""
        );
        let request = json(&format!("{{\"v\":\"{text}\"}}"));
        assert_eq!(status(&rule, &request), Some(403), "{text}");
        let uni = rule.replace("urlDecode", "urlDecodeUni");
        assert_eq!(status(&uni, &request), Some(403), "{text}, Uni");
        // The same where the arguments are taken apart.
        let rule = rule.replace("json.v", "v").replace(",t:urlDecode", "");
        let request = Request::post(FORM, &format!("v={text}"));
        assert_eq!(status(&rule, &request), Some(403), "{text}, form");
    }
}

#[test]
fn waf_10_js_decode_knows_escapes_in_braces() {
    let rule = "SecRule ARGS \"@contains alert(\" \"id:1,phase:2,deny,t:none,t:jsDecode\"";
    for text in [
        r"\u0061lert(1)",
        r"\u{61}lert(1)",
        r"\u{000061}lert(1)",
        r"\x61lert(1)",
        r"\141lert(1)",
    ] {
        assert_eq!(status(rule, &form("q", text)), Some(403), "{text}");
    }
    for text in [r"\u{}alert 1", r"\u{6zz1}lert(1)", "u{61}lert(1)"] {
        assert_eq!(status(rule, &form("q", text)), None, "{text}");
    }
}

#[test]
fn waf_36_files_are_read_as_apache_reads_them() {
    let long = format!(
        "SecRule ARGS:long \"@pm {} marker7\" \"id:9,phase:2,deny\"\n",
        "word ".repeat(4000)
    );
    let files = [
        (
            "10.conf",
            "\u{feff}# -=[ Rules ]=-\r\nSecRule ARGS:crlf \"@streq 1\" \\\r\n\t\"id:'200002',\\\r\n\tphase:2,deny\"\r\n\
             SecRule ARGS:mixed \"@streq 1\" \\\n\t \"id:2,\\\r\n    phase:2,\\\n\tdeny\"\r\n",
        ),
        (
            "20.conf",
            "SecRule ARGS:chain \"@streq 1\" \"id:3,phase:2,deny,chain\"\n# the other half\n\n    # indented\n\
             SecRule ARGS:other \"@streq 1\"\n# a comment behind the last link",
        ),
        (
            "30.conf",
            "# a comment first\n#SecRule ARGS:gone \"@streq 1\" \\\n#   \"id:4,phase:2,\\\n#   deny\" \\\n\n\
             SecRule ARGS:case \"@streq abc\" \"id:5,phase:2,deny,t:'none', t:'lowercase'\"",
        ),
        ("40.conf", &long),
    ];
    let rules = compile(&files).expect("the files load");
    assert_eq!(rules.len(), 5);
    for (target, wanted) in [
        ("/?crlf=1", Some(403)),
        ("/?mixed=1", Some(403)),
        ("/?chain=1&other=1", Some(403)),
        ("/?chain=1", None),
        ("/?gone=1", None),
        ("/?case=ABC", Some(403)),
        ("/?long=a+marker7", Some(403)),
        ("/?crlf=2", None),
    ] {
        let found = run(&rules, EngineMode::On, &Request::get(target)).0;
        assert_eq!(found, wanted, "{target}");
    }
}

#[test]
fn waf_36_what_cannot_be_read_is_told_with_its_place_whatever_follows() {
    for (text, wanted) in [
        (
            "SecRule ARGS x \\  \n  \"id:1,deny\"\n",
            "a.conf:1:16: a backslash before blanks",
        ),
        (
            "SecRule ARGS x \"id:1,deny,chain\"\n",
            "a.conf:1:1: this chain has no end",
        ),
        (
            "# SecRule ARGS x \\\n  \"id:1,deny\"\n",
            "a.conf:2:1: this line is part of the comment that line 1 continues",
        ),
        (
            "SecRule ARGS x \"id:1,\\\n\tdeny,nonsense\"\n",
            "a.conf:2:7: unknown action nonsense",
        ),
    ] {
        let next = [
            ("b.conf", "# a comment\nSecRule ARGS y \"id:2,deny\"\n"),
            ("b.conf", "SecRule ARGS y \"id:2,deny\"\n"),
            ("b.conf", ""),
        ];
        for next in next {
            let errors = compile(&[("a.conf", text), next]).expect_err(text);
            assert!(errors[0].starts_with(wanted), "{text:?}: {errors:?}");
            assert!(
                errors.iter().all(|error| error.starts_with("a.conf")),
                "{errors:?}"
            );
        }
    }
}

#[test]
fn waf_37_malformed_actions_are_errors_with_their_place() {
    for (text, wanted) in [
        (
            "\nSecRule ARGS \"@rx x\" \"id:1,phase:2,msg:'unterminated,deny,status:403\"",
            "a.conf:2:40: this quote is not closed",
        ),
        (
            "SecRule ARGS x \"id:1,deny\"\nSecRule ARGS y \"id:1,deny\"",
            "a.conf:2:1: id 1 is taken by the rule at a.conf:1",
        ),
        (
            "SecRule ARGS \"@rx (\" \"id:3,deny\"",
            "a.conf:1:15: regular expression: unclosed group",
        ),
        (
            "SecRule NOSUCHVAR x \"id:1,deny\"",
            "a.conf:1:9: unknown variable NOSUCHVAR",
        ),
        (
            "SecRule ARGS x \"id:1,deny,t:nosuch\"",
            "a.conf:1:27: unknown transformation nosuch",
        ),
        ("SecRule ARGS x \"deny\"", "a.conf:1:1: this rule has no id"),
        (
            "SecRule ARGS x \"id:1,ctl:nosuch=1\"",
            "a.conf:1:22: unknown ctl option nosuch",
        ),
        (
            "SecRule ARGS x \"id:1,deny,chain\"\nSecRuleUpdateTargetById 1 \"!ARGS:a\"\nSecRule ARGS y",
            "a.conf:1:1: this chain has no end",
        ),
    ] {
        let errors = refused(text);
        assert!(errors[0].starts_with(wanted), "{text}: {errors:?}");
    }
}

#[test]
fn waf_39_a_backslash_in_quotes_escapes_the_quote_alone() {
    // As in ModSecurity v3; Apache would make ^\d+$ of the first.
    let doubled = r#"SecRule ARGS:a "@rx ^\\d+$" "id:1,phase:2,deny""#;
    assert_eq!(status(doubled, &Request::get("/?a=12")), None);
    assert_eq!(status(doubled, &form("a", r"\d")), Some(403));
    let single = doubled.replace(r"\\", r"\");
    assert_eq!(status(&single, &Request::get("/?a=12")), Some(403));
    assert_eq!(status(&single, &form("a", r"\d")), None);
    let quotes = r#"SecRule ARGS:a "@rx \"x\"" "id:2,phase:2,deny""#;
    assert_eq!(status(quotes, &form("a", "\"x\"")), Some(403));
    assert_eq!(status(quotes, &form("a", "x")), None);
    let other = r#"SecRule ARGS:a '@rx a\.b' "id:3,phase:2,deny""#;
    assert_eq!(status(other, &Request::get("/?a=a.b")), Some(403));
    assert_eq!(status(other, &Request::get("/?a=axb")), None);
    let bare = r#"SecRule ARGS:a \\d "id:4,phase:2,deny""#;
    assert_eq!(status(bare, &form("a", r"\d")), Some(403));
    assert_eq!(status(bare, &Request::get("/?a=1")), None);
}
