//! PCRE -> the syntax of the regex crate, where the two only write differently.
//!
//! | PCRE | here |
//! | --- | --- |
//! | `\x{HH}` | `\xHH`, a byte and not a code point |
//! | `[a[b]` | `[a\[b]`: a bracket in a class is itself |
//! | `[a&&b]`, `[a--b]`, `[a~~b]` | escaped: classes have no set operations |
//! | `[\w-.]` | `[\w\-.]`: no range begins with a class |
//! | `a{`, `{x}` | `a\{`, `\{x}`: a brace that is no repetition is itself |
//! | `\h`, `\R`, `\Z`, `\e` | spelled out |
//!
//! The meaning of everything else is the same, or the expression is refused by
//! the compiler.

/// Rewrites an expression.
pub(super) fn translate(pattern: &str) -> String {
    let chars: Vec<char> = pattern.chars().collect();
    let mut output = String::with_capacity(pattern.len() + 16);
    let mut at = 0;
    while at < chars.len() {
        at = match chars[at] {
            '\\' => escape(&chars, at, false, &mut output),
            '[' => class(&chars, at, &mut output),
            '{' if !is_repetition(&chars[at..]) => {
                output.push_str("\\{");
                at + 1
            }
            c => {
                output.push(c);
                at + 1
            }
        };
    }
    output
}

/// Rewrites an escape that begins at `at`; returns where it ends.
fn escape(chars: &[char], at: usize, in_class: bool, output: &mut String) -> usize {
    let Some(&letter) = chars.get(at + 1) else {
        output.push('\\');
        return at + 1;
    };
    if letter == 'x' && chars.get(at + 2) == Some(&'{') {
        let digits: String = chars[at + 3..]
            .iter()
            .take_while(|c| c.is_ascii_hexdigit())
            .take(8)
            .collect();
        let end = at + 3 + digits.len();
        if let (Some('}'), Ok(byte)) = (chars.get(end), u8::from_str_radix(&digits, 16)) {
            output.push_str(&format!("\\x{byte:02x}"));
            return end + 1;
        }
    }
    match (letter, in_class) {
        ('h', true) => output.push_str(" \\t"),
        ('h', false) => output.push_str("[ \\t]"),
        ('e', _) => output.push_str("\\x1b"),
        ('R', false) => output.push_str("(?:\\r\\n|[\\n\\r\\x0b\\x0c])"),
        ('Z', false) => output.push_str("(?:\\n?\\z)"),
        // Letters of no meaning must stay an error; a sign is itself.
        (letter, _) if !letter.is_ascii_alphanumeric() && letter.is_ascii() => {
            // `\<` and `\>` are word borders here and plain signs in PCRE.
            if !matches!(letter, '<' | '>' | ' ' | '\n' | '\t') || (in_class && letter == ' ') {
                output.push('\\');
            }
            output.push(letter);
        }
        (letter, _) => {
            output.push('\\');
            output.push(letter);
        }
    }
    at + 2
}

/// Rewrites a class that begins at `at`; returns where it ends.
fn class(chars: &[char], start: usize, output: &mut String) -> usize {
    output.push('[');
    let mut at = start + 1;
    if chars.get(at) == Some(&'^') {
        output.push('^');
        at += 1;
    }
    if chars.get(at) == Some(&']') {
        output.push_str("\\]");
        at += 1;
    }
    while let Some(&c) = chars.get(at) {
        let mut after_class = false;
        match c {
            ']' => {
                output.push(']');
                return at + 1;
            }
            '[' if chars.get(at + 1) == Some(&':') => match posix_end(&chars[at..]) {
                Some(length) => {
                    output.extend(&chars[at..at + length]);
                    at += length;
                    after_class = true;
                }
                None => {
                    output.push_str("\\[");
                    at += 1;
                }
            },
            '\\' => {
                after_class = matches!(
                    chars.get(at + 1),
                    Some('w' | 'W' | 'd' | 'D' | 's' | 'S' | 'h')
                );
                at = escape(chars, at, true, output);
            }
            '[' | '&' | '~' => {
                output.push('\\');
                output.push(c);
                at += 1;
            }
            _ => {
                output.push(c);
                at += 1;
                // The second of two hyphens ends a range, "+--" is "+" to "-".
                if chars.get(at) == Some(&'-') && chars.get(at + 1) == Some(&'-') {
                    output.push_str("-\\-");
                    at += 2;
                }
            }
        }
        if after_class && chars.get(at) == Some(&'-') && chars.get(at + 1) != Some(&']') {
            output.push_str("\\-");
            at += 1;
        }
    }
    at
}

/// Returns the length of `[:name:]`.
fn posix_end(chars: &[char]) -> Option<usize> {
    let name = chars[2..]
        .iter()
        .take_while(|c| c.is_ascii_alphabetic() || **c == '^')
        .count();
    (chars.get(2 + name) == Some(&':') && chars.get(3 + name) == Some(&']')).then_some(4 + name)
}

/// Tells whether `{n}`, `{n,}` or `{n,m}` begins here.
fn is_repetition(chars: &[char]) -> bool {
    let digits = |from: usize| {
        chars[from.min(chars.len())..]
            .iter()
            .take_while(|c| c.is_ascii_digit())
            .count()
    };
    let first = digits(1);
    if first == 0 {
        return false;
    }
    match chars.get(1 + first) {
        Some('}') => true,
        Some(',') => chars.get(2 + first + digits(2 + first)) == Some(&'}'),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::translate;
    use regex::bytes::RegexBuilder;

    #[test]
    fn spellings_of_pcre_mean_the_same_here() {
        for (pattern, value, matches) in [
            (r"^\x{ff}$", &b"\xff"[..], true),
            (r"[a[b]c", b"[c", true),
            (r"^[&&a]+$", b"&a", true),
            (r"^[\w-.]+$", b"a-.", true),
            (r"^[]a]+$", b"]a", true),
            (r"^[^]a]+$", b"b", true),
            (r"^[[:alpha:]-_]+$", b"a-_", true),
            (r"^[+--]+$", b",", true),
            (r"${jndi:", b"${jndi:", false),
            (r"\${jndi:", b"${jndi:", true),
            (r"^a{2}{$", b"aa{", true),
            (r"^a{,2}$", b"a{,2}", true),
            (
                r"^\/\#\<\>\'\-\@\%\&\~\`\!\=\:\;\,\/$",
                b"/#<>'-@%&~`!=:;,/",
                true,
            ),
            (r"^[\/\<\>\'\-\@\%\&\~\`\!\=\:\;\,]$", b"<", true),
            (r"^\ha\hb$", b"\ta b", true),
            (r"a.b", b"a\nb", true),
            (r"a$", b"a\n", false),
        ] {
            let translated = translate(pattern);
            let regex = RegexBuilder::new(&translated)
                .unicode(false)
                .dot_matches_new_line(true)
                .build();
            let regex = regex.unwrap_or_else(|error| panic!("{pattern}: {error}"));
            assert_eq!(regex.is_match(value), matches, "{pattern} as {translated}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_pattern_panics(pattern in r"([\[\]{}\\^:,&x-]|\PC){0,20}") {
            translate(&pattern);
        }
    }
}
