//! The answers of the C library, which `fuzz/` records in `data/answers.txt`.

use std::time::{Duration, Instant};

use super::{html_readings, is_html_injection, sql_fingerprint, sql_readings};

/// A line has the fingerprint or `-`; a digit for each context of HTML; the fingerprint in
/// each context of SQL, behind a sign that tells whether it is that of an injection; and the
/// value, with bytes in `%xx`.
#[test]
fn answers_are_those_of_the_c_library() {
    let lines = include_str!("data/answers.txt").lines();
    let wrong: Vec<&str> = lines.filter(|line| !holds(line)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn holds(line: &str) -> bool {
    let parts: Vec<&str> = line.splitn(9, ' ').collect();
    let [fingerprint, html, sql @ .., value] = &parts[..] else {
        return false;
    };
    let value = unescape(value);
    let found = sql_fingerprint(&value);
    let found = found.as_ref().map_or(&b"-"[..], |found| found.as_bytes());
    let html_here = html_readings(&value).map(|found| if found { '1' } else { '0' });
    let sql_here = sql_readings(&value).map(|(letters, found)| {
        let sign = if found { "+" } else { "-" };
        [sign.as_bytes(), letters.as_bytes()].concat()
    });
    found == fingerprint.as_bytes()
        && is_html_injection(&value) == html.contains('1')
        && html_here.iter().collect::<String>() == *html
        && sql.iter().map(|letters| letters.as_bytes()).eq(sql_here)
}

#[test]
fn one_word_is_no_injection_whatever_it_says() {
    let words = include_str!("data/sql-words.txt").lines();
    let words = words
        .filter_map(|line| line.split_once(' '))
        .map(|(_, word)| word);
    let numbers = ["0", "1", "0123456789", "00", ""];
    let mut checked = 0;
    for word in words.chain(numbers).filter(|word| {
        let mut bytes = word.bytes();
        bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    }) {
        for word in [
            word.to_owned(),
            word.to_lowercase(),
            format!("{word}x1"),
            format!("_{word}"),
        ] {
            checked += 1;
            let readings = sql_readings(word.as_bytes());
            // Within quotes nobody looks, since there is none.
            let known = readings[..2].iter().any(|(_, found)| *found);
            assert!(!known, "{word}");
        }
    }
    assert!(checked > 2000, "{checked}");
}

#[test]
fn every_part_of_a_value_has_an_answer() {
    let value = b"<a href=\"&#x6a;ava\" onx='`y`'><!--[if-!> -->1' /**/ || @@`x` $a$b$a$ q'[c]' u&'d' x'0f' {`` 1.e5 --";
    for end in 0..=value.len() {
        for start in 0..end {
            sql_fingerprint(&value[start..end]);
            is_html_injection(&value[start..end]);
        }
    }
}

/// Where a search goes over the same bytes again and again, some of these take minutes.
#[test]
fn long_values_take_no_long_time() {
    let units = [
        "'",
        "\\'",
        "''",
        "\\",
        "$a",
        "$$",
        "$a$b",
        "q'a",
        "b'0",
        "/*",
        "*/",
        "-",
        "<!--",
        "<%",
        "]]>",
        "<",
        "</",
        "<a ",
        "a=",
        "/",
        "&#0",
        "on",
        "1+",
        "(",
        "a.",
        "@",
        "`",
        "{a",
        "[",
        "1e",
        "not ",
        "union ",
        "<!---\0",
        "<%%",
        "<![CDATA[]",
        "\0",
    ];
    let starts = ["", "'", "<!--"];
    for unit in units {
        for start in starts {
            let value = [start, &unit.repeat(1 << 15)].concat();
            let begun = Instant::now();
            sql_fingerprint(value.as_bytes());
            is_html_injection(value.as_bytes());
            let taken = begun.elapsed();
            assert!(
                taken < Duration::from_secs(5),
                "{start}{unit}... took {taken:?}"
            );
        }
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let mut parts = text.split('%');
    let mut value = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        value.push(u8::from_str_radix(&part[..2], 16).unwrap());
        value.extend_from_slice(&part.as_bytes()[2..]);
    }
    value
}
