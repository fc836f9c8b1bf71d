//! What inputs are made of: words of both languages, and the texts of the CRS tests.

use std::{fs, io, path::Path};

/// Tokens of SQL and HTML that are not in the tables.
const TOKENS: &[&str] = &[
    " ",
    " ",
    " ",
    " ",
    "\t",
    "\n",
    "\r\n",
    "\x0b",
    "\x0c",
    "\0",
    "\0\0",
    "'",
    "'",
    "'",
    "\"",
    "\"",
    "`",
    "`",
    "''",
    "\"\"",
    "``",
    "\\'",
    "\\\"",
    "\\\\'",
    "\\",
    "\\N",
    "\\n",
    "--",
    "-- ",
    "--\n",
    "--x",
    "#",
    "# ",
    "#\n",
    "/*",
    "*/",
    "/**/",
    "/*!",
    "/*!50000",
    "/*/*/",
    "*/*",
    "/",
    "*",
    ";",
    ";;",
    ",",
    ".",
    "..",
    ":",
    "::",
    "?",
    "(",
    ")",
    "((",
    "))",
    "[",
    "]",
    "{",
    "}",
    "{``",
    "{`a`",
    "<=>",
    "<=",
    "=",
    "==",
    ":=",
    "||",
    "&&",
    "|",
    "&",
    "^",
    "~",
    "!",
    "!!",
    "+",
    "-",
    "%",
    "@",
    "@@",
    "@x",
    "@@version",
    "@`a`",
    "@'a'",
    "@@\"b",
    "$",
    "$$",
    "$a$",
    "$tag$",
    "$1",
    "$1,000.00",
    "$.",
    "$.a",
    "$a",
    "$\0",
    "0",
    "1",
    "12",
    "1.",
    ".1",
    "1.5",
    "1e",
    "1e5",
    "1e+",
    "1e-3",
    "1.e",
    ".e1",
    "1f",
    "1d",
    "1fu",
    "1f;",
    "1f ",
    "0x",
    "0x1F",
    "0xg",
    "0b",
    "0b01",
    "0b2",
    "0x\0",
    "x'1f'",
    "x'1g'",
    "x'\0'",
    "b'01'",
    "b'02'",
    "b'",
    "n'",
    "n'a'",
    "e'a'",
    "e'",
    "q'(a)'",
    "q'[a",
    "nq'<a>'",
    "nQ'!a!'",
    "q'\x7fa\x7f'",
    "q' a '",
    "u&'a'",
    "U&'a",
    "u&",
    "sp_password",
    "_utf8",
    "_latin1",
    "utf8_bin",
    "collate",
    "a",
    "b",
    "abc",
    "foo_bar",
    "foo.bar",
    "a.b.c",
    "`a`.`b`",
    "`select`",
    "`abs`",
    "select.1",
    "select`a`",
    "sleep(5)",
    "user",
    "user()",
    "user(1)",
    "current_user",
    "if",
    "if(1",
    ";if",
    "in",
    "not in",
    "not",
    "like",
    "not like",
    "like(",
    "not like(",
    "not like",
    "not in(",
    "localtimestamp(",
    "current_timestamp(",
    "a::int",
    "::int",
    "collate utf8_bin",
    "collate x",
    "in(",
    "union",
    "union all",
    "or 1=1",
    "and 1",
    "select",
    "from",
    "<",
    "</",
    ">",
    "/>",
    "<a",
    "<a ",
    "<a/",
    "<!",
    "<!--",
    "-->",
    "--!>",
    "-!>",
    "-\0->",
    "<?",
    "<?xml",
    "<?import",
    "<!entity",
    "<%",
    "%>",
    "<![CDATA[",
    "]]>",
    "<!doctype",
    "<!DOCTYPE ",
    "<script",
    "<script>",
    "</script>",
    "<s\0cript",
    "<svg",
    "<xsl:",
    "<iframe",
    "<\0a",
    "</>",
    "<//",
    "<a\0b",
    "on",
    "onclick=",
    "onerror=x",
    "onload",
    " onx=",
    "href=",
    "href =",
    "href= ",
    "src='",
    "style=",
    "style",
    "xmlns",
    "xlink:href=",
    "attributename=",
    "attributename='href'",
    "action=",
    "data:",
    "javascript:",
    "java",
    "vbscript:",
    "view-source:",
    "&#106;",
    "&#x6a;",
    "&#x6A",
    "&#106",
    "&#",
    "&#x",
    "&#0;",
    "&#10;",
    "&#x1000ff",
    "&#9999999",
    "&#x164;",
    "&#00000106;",
    "[if",
    "[IF ",
    "xml",
    "import",
    "=''",
    "=\"\"",
    "=`",
    "=/",
    "/ ",
    "//",
    "= >",
    "=>",
];

/// Bytes that no token has.
const BYTES: &[u8] = &[
    0, 1, 0x1f, 0x7f, 0x80, 0x9f, 0xa0, 0xa1, 0xc3, 0xe2, 0xfe, 0xff,
];

pub struct Seeds {
    /// Small pieces.
    pub tokens: Vec<Vec<u8>>,
    /// So many of them are no plain words.
    pub few: usize,
    /// Whole values.
    pub values: Vec<Vec<u8>>,
}

impl Seeds {
    /// Reads the regression tests of the CRS, where a folder is named.
    pub fn read(crs: Option<&Path>) -> io::Result<Self> {
        let tokens = TOKENS.iter().map(|token| token.as_bytes().to_vec());
        let mut tokens: Vec<_> = tokens.chain(BYTES.iter().map(|&byte| vec![byte])).collect();
        let few = tokens.len();
        let words = include_str!("../../src/inject/data/sql-words.txt").lines();
        let names = include_str!("../../src/inject/data/html-names.txt").lines();
        for line in words.chain(names) {
            if let Some((_, word)) = line.split_once(' ') {
                tokens.push(word.as_bytes().to_vec());
            }
        }
        let mut values = Vec::new();
        if let Some(crs) = crs {
            read_folder(&crs.join("tests"), &mut values)?;
        }
        values.sort();
        values.dedup();
        if values.is_empty() {
            values.push(b"1' or 1=1--".to_vec());
        }
        Ok(Self {
            tokens,
            few,
            values,
        })
    }
}

fn read_folder(folder: &Path, values: &mut Vec<Vec<u8>>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            read_folder(&path, values)?;
        } else if path.extension().is_some_and(|end| end == "yaml") {
            for line in fs::read(&path)?.split(|&byte| byte == b'\n') {
                read_line(line, values);
            }
        }
    }
    Ok(())
}

/// Takes what is behind the name in a line of YAML, as it is and decoded, whole and in
/// the parts of a form.
fn read_line(line: &[u8], values: &mut Vec<Vec<u8>>) {
    let line = line.trim_ascii();
    let text = match line.windows(2).position(|pair| pair == b": ") {
        Some(at) => line[at + 2..].trim_ascii(),
        None => line,
    };
    let text = match text {
        [b'"', inside @ .., b'"'] | [b'\'', inside @ .., b'\''] => inside,
        text => text,
    };
    let parts = text.split(|&byte| byte == b'&' || byte == b'?');
    let ends = parts
        .clone()
        .map(|part| match part.iter().position(|&byte| byte == b'=') {
            Some(at) => &part[at + 1..],
            None => part,
        });
    for part in [text].into_iter().chain(ends) {
        if part.len() > 2 && part.len() < 2000 {
            values.push(part.to_vec());
            values.push(decoded(part));
        }
    }
}

fn decoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let digits = text
            .get(at + 1..at + 3)
            .and_then(|hex| str::from_utf8(hex).ok());
        match digits.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(value) if byte == b'%' => {
                out.push(value);
                at += 3;
            }
            _ => {
                out.push(if byte == b'+' { b' ' } else { byte });
                at += 1;
            }
        }
    }
    out
}
