//! Text -> lines of words, as Apache reads its configuration files.
//!
//! A backslash at the end of a line joins it to the next one. A line whose first
//! character is `#` is a comment. Words are separated by blanks, or quoted with
//! `"` or `'`; inside quotes a backslash before the quote escapes it, and every
//! other backslash stays, so that a regular expression is written as it is
//! (ModSecurity v3; Apache would also halve `\\`).

use std::sync::Arc;

use crate::error::{Complaint, RuleError};

/// A place in a text. Line and column count from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: Arc<str>,
    pub(crate) line: u32,
    pub(crate) column: u32,
}

/// A piece of text that knows where each of its bytes was written.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    file: Arc<str>,
    pub(crate) value: String,
    /// Runs of characters that follow each other in the source, ascending.
    runs: Vec<Run>,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    offset: usize,
    line: u32,
    column: u32,
}

impl Text {
    fn new(file: &Arc<str>) -> Self {
        Self {
            file: file.clone(),
            value: String::new(),
            runs: Vec::new(),
        }
    }

    /// Makes a text that is part of no file.
    pub(crate) fn standalone(value: &str) -> Self {
        Self {
            file: "".into(),
            value: value.to_owned(),
            runs: Vec::new(),
        }
    }

    /// Returns where the byte at `offset` was written.
    pub(crate) fn place(&self, offset: usize) -> Place {
        let at = self
            .runs
            .partition_point(|run| run.offset <= offset)
            .saturating_sub(1);
        let (line, column) = match self.runs.get(at) {
            None => (1, 1),
            Some(run) => {
                let between = self.value.get(run.offset..offset.min(self.value.len()));
                let between = between.map_or(0, |text| text.chars().count() as u32);
                (run.line, run.column.saturating_add(between))
            }
        };
        Place {
            file: self.file.clone(),
            line,
            column,
        }
    }

    fn push(&mut self, c: char, line: u32, column: u32) {
        let follows = self.runs.last().is_some_and(|run| {
            let length = self.value.len() - run.offset;
            // A cheap guess for the usual ASCII run; a wrong one only adds a run.
            run.line == line && run.column as usize + length == column as usize
        });
        if !follows {
            self.runs.push(Run {
                offset: self.value.len(),
                line,
                column,
            });
        }
        self.value.push(c);
    }

    /// Iterates over the characters, with the offset, line and column of each.
    ///
    /// Asking [`Self::place`] for each would read a line once for every character of it.
    fn placed(&self) -> impl Iterator<Item = Char> {
        let mut runs = self.runs.iter().peekable();
        let (mut line, mut column) = (1, 0);
        self.value.char_indices().map(move |(offset, c)| {
            column += 1;
            while let Some(run) = runs.next_if(|run| run.offset <= offset) {
                (line, column) = (run.line, run.column);
            }
            Char {
                offset,
                c,
                line,
                column,
            }
        })
    }
}

/// A character of a text, and where it was written.
#[derive(Clone, Copy)]
struct Char {
    offset: usize,
    c: char,
    line: u32,
    column: u32,
}

/// Splits a text into lines of words; a line has at least one word.
pub(crate) fn lex(file: &str, text: &str, errors: &mut Vec<RuleError>) -> Vec<Vec<Text>> {
    let file: Arc<str> = file.into();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = Vec::new();
    for joined in join(&file, text, errors) {
        match words(&joined) {
            Ok(words) if words.is_empty() => {}
            Ok(words) => lines.push(words),
            Err(error) => errors.push(error),
        }
    }
    lines
}

/// Joins continued lines and leaves comments out.
fn join(file: &Arc<str>, text: &str, errors: &mut Vec<RuleError>) -> Vec<Text> {
    let mut joined = Vec::new();
    let mut current: Option<Text> = None;
    let mut comment_goes_on = None;
    for (index, raw) in text.split('\n').enumerate() {
        let number = u32::try_from(index).unwrap_or(u32::MAX).saturating_add(1);
        let raw = raw.strip_suffix('\r').unwrap_or(raw);
        let place = |column| Place {
            file: file.clone(),
            line: number,
            column,
        };
        let trimmed = raw.trim();
        if current.is_none() && trimmed.starts_with('#') {
            comment_goes_on = raw.ends_with('\\').then_some(number);
            continue;
        }
        if let Some(line) = comment_goes_on.take()
            && !trimmed.is_empty()
        {
            let complaint = Complaint::new(format!(
                "this line is part of the comment that line {line} continues"
            ))
            .hint("remove the backslash at the end of the comment, or write # here too");
            errors.push(complaint.at(&place(1)));
            continue;
        }
        let continued = raw.strip_suffix('\\');
        if continued.is_none() && raw.trim_end().ends_with('\\') {
            let column = raw.trim_end().chars().count() as u32;
            let complaint = Complaint::new("a backslash before blanks does not continue the line")
                .hint("remove the blanks at the end of the line");
            errors.push(complaint.at(&place(column)));
        }
        let line = current.get_or_insert_with(|| Text::new(file));
        let content = continued.unwrap_or_else(|| raw.trim_end().trim_end_matches('\\'));
        for (column, c) in (1..).zip(content.chars()) {
            line.push(c, number, column);
        }
        if continued.is_none() {
            joined.extend(current.take());
        }
    }
    joined.extend(current);
    joined
}

/// Splits a joined line into words.
fn words(line: &Text) -> Result<Vec<Text>, RuleError> {
    let mut words = Vec::new();
    let mut chars = line.placed().peekable();
    while let Some(&first) = chars.peek() {
        if first.c.is_whitespace() {
            chars.next();
            continue;
        }
        let quote = matches!(first.c, '"' | '\'').then_some(first.c);
        if quote.is_some() {
            chars.next();
        }
        let mut word = Text::new(&line.file);
        word.runs.push(Run {
            offset: 0,
            line: first.line,
            column: first.column,
        });
        let mut closed = quote.is_none();
        while let Some(&Char {
            c, line, column, ..
        }) = chars.peek()
        {
            if quote.is_none() && c.is_whitespace() {
                break;
            }
            chars.next();
            if quote == Some(c) {
                closed = true;
                break;
            }
            if c == '\\' {
                let next = chars.next();
                if next.is_none_or(|escaped| quote != Some(escaped.c)) {
                    word.push(c, line, column);
                }
                if let Some(escaped) = next {
                    word.push(escaped.c, escaped.line, escaped.column);
                }
                continue;
            }
            word.push(c, line, column);
        }
        if !closed {
            let complaint = Complaint::new("this quote is not closed");
            return Err(complaint.at(&line.place(first.offset)));
        }
        if let (Some(quote), Some(next)) = (quote, chars.peek())
            && !next.c.is_whitespace()
        {
            let complaint = Complaint::new(format!("{:?} follows a closing quote", next.c))
                .hint(format!("escape a quote inside the text as \\{quote}"));
            return Err(complaint.at(&line.place(next.offset)));
        }
        words.push(word);
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::lex;

    fn words(text: &str) -> Vec<Vec<String>> {
        let mut errors = Vec::new();
        let lines = lex("t", text, &mut errors);
        assert_eq!(errors, Vec::new());
        lines
            .into_iter()
            .map(|line| line.into_iter().map(|word| word.value).collect())
            .collect()
    }

    fn error(text: &str) -> String {
        let mut errors = Vec::new();
        lex("t", text, &mut errors);
        errors.first().map(ToString::to_string).unwrap_or_default()
    }

    #[test]
    fn lines_are_joined_and_comments_left_out() {
        let text = "\u{feff}# c\r\nA \\\r\n\tb \"c \\\r\n d\"\r\n  # e \\\n#f\n\nB";
        assert_eq!(words(text), [vec!["A", "b", "c  d"], vec!["B"]]);
    }

    #[test]
    fn only_the_escaped_quote_loses_its_backslash() {
        assert_eq!(
            words(r#"A "^\\d\"\s$" 'it\'s' \d"#),
            [vec!["A", r#"^\\d"\s$"#, "it's", r"\d"]]
        );
    }

    #[test]
    fn places_survive_joining_and_escapes() {
        let mut errors = Vec::new();
        let lines = lex("t", "A \\\n  \"x\\\"é,\\\n   y\"", &mut errors);
        let word = &lines[0][1];
        assert_eq!(word.value, "x\"é,   y");
        let place = |needle: char| word.place(word.value.find(needle).unwrap());
        assert_eq!((place('"').line, place('"').column), (2, 6));
        assert_eq!((place(',').line, place(',').column), (2, 8));
        assert_eq!((place('y').line, place('y').column), (3, 4));
    }

    #[test]
    fn broken_lines_are_named() {
        assert_eq!(error("A\nB \"x"), "t:2:3: this quote is not closed");
        assert!(error("A \"x\"y").starts_with("t:1:6: 'y' follows a closing quote"));
        assert!(error("A \\ \nB").starts_with("t:1:3: a backslash before blanks"));
        assert!(error("# a \\\nSecRule").starts_with("t:2:1: this line is part of the comment"));
    }
}
