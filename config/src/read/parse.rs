//! YAML events to a tree, within bounds.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span};

use super::{
    SourceFile,
    node::{Key, Node, Value},
};
use crate::problem::{Origin, Problem, Severity};

/// Largest file that is read.
const MAX_BYTES: usize = 16 << 20;
/// Deepest nesting.
const MAX_DEPTH: usize = 64;
/// Nodes of one file, those that aliases repeat included: "billion laughs" ends here.
const MAX_NODES: usize = 2_000_000;

/// Parses one file; `None` is an empty one.
///
/// # Errors
/// A file that is not YAML, or beyond the bounds. Duplicate keys are noted in
/// `problems` and the first one counts.
pub(super) fn parse(
    file: &SourceFile,
    problems: &mut Vec<Problem>,
) -> Result<Option<Node>, Box<Problem>> {
    let text = file.text.strip_prefix('\u{feff}').unwrap_or(&file.text);
    let mut builder = Builder {
        file: &file.name,
        events: Parser::new_from_str(text),
        anchors: BTreeMap::new(),
        nodes: 0,
        problems,
    };
    if text.len() > MAX_BYTES {
        return Err(builder.problem(
            0,
            0,
            format!("the file is larger than {} MiB", MAX_BYTES >> 20),
            None,
        ));
    }
    builder.documents()
}

struct Builder<'a> {
    file: &'a str,
    events: Parser<'a, saphyr_parser::StrInput<'a>>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Builder<'a> {
    fn documents(&mut self) -> Result<Option<Node>, Box<Problem>> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(root),
                Event::StreamStart
                | Event::DocumentStart(_)
                | Event::DocumentEnd
                | Event::Nothing => {}
                event => {
                    let node = self.node(event, span, 0)?;
                    if node.is_null() {
                        continue;
                    }
                    if root.is_some() {
                        return Err(self.at(
                            span,
                            "a second YAML document in one file".into(),
                            Some("put it in a file of its own, or remove the `---`"),
                        ));
                    }
                    root = Some(node);
                }
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Box<Problem>> {
        match self.events.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(self.syntax(&error)),
            None => Err(self.problem(0, 0, "the file ends too early".into(), None)),
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Box<Problem>> {
        self.nodes += 1;
        if self.nodes > MAX_NODES || depth > MAX_DEPTH {
            return Err(self.at(
                span,
                "too large: more nodes or deeper nesting than a configuration needs".into(),
                None,
            ));
        }
        let origin = self.origin(span);
        let (value, anchor) = match event {
            Event::Alias(id) => {
                let Some(node) = self.anchors.get(&id).cloned() else {
                    return Err(self.at(
                        span,
                        "an alias to an anchor that is not there, or not yet complete".into(),
                        None,
                    ));
                };
                self.nodes += count(&node);
                if self.nodes > MAX_NODES {
                    return Err(self.at(
                        span,
                        "aliases repeat more than a configuration needs".into(),
                        None,
                    ));
                }
                return Ok(node);
            }
            Event::Scalar(text, style, anchor, tag) => {
                if let Some(tag) = tag {
                    let name = format!("{}{}", tag.handle, tag.suffix);
                    return Err(self.at(
                        span,
                        format!("the tag {name} is not supported"),
                        Some("write the value without a tag"),
                    ));
                }
                (
                    Value::Scalar {
                        text: text.into_owned(),
                        plain: style == ScalarStyle::Plain,
                    },
                    anchor,
                )
            }
            Event::SequenceStart(anchor, _) => (self.sequence(depth)?, anchor),
            Event::MappingStart(anchor, _) => (self.mapping(depth)?, anchor),
            _ => return Err(self.at(span, "a value is missing here".into(), None)),
        };
        let node = Node { value, origin };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn sequence(&mut self, depth: usize) -> Result<Value, Box<Problem>> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::Sequence(items)),
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Value, Box<Problem>> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                return Ok(Value::Mapping(entries));
            }
            let key = self.node(event, span, depth + 1)?;
            let (event, value_span) = self.next()?;
            let value = self.node(event, value_span, depth + 1)?;
            let Value::Scalar { text, .. } = key.value else {
                return Err(self.at(
                    span,
                    format!("a key must be text, not {}", key.kind()),
                    None,
                ));
            };
            if text == "<<" {
                return Err(self.at(
                    span,
                    "the merge key << is not supported".into(),
                    Some("repeat the keys, or use an alias for the whole value"),
                ));
            }
            if let Some((first, _)) = entries.iter().find(|(known, _)| known.text == text) {
                let reason = format!("the key {text:?} stands twice; first at {}", first.origin);
                self.problems.push(Problem {
                    origin: key.origin,
                    path: String::new(),
                    reason,
                    hint: None,
                    severity: Severity::Error,
                });
                continue;
            }
            entries.push((
                Key {
                    text,
                    origin: key.origin,
                },
                value,
            ));
        }
    }

    fn origin(&self, span: Span) -> Origin {
        Origin::File {
            file: self.file.to_owned(),
            line: span.start.line(),
            column: span.start.col() + 1,
        }
    }

    fn syntax(&self, error: &ScanError) -> Box<Problem> {
        let hint = error
            .info()
            .contains("tab")
            .then_some("indent with spaces; YAML takes no tabs");
        self.problem(
            error.marker().line(),
            error.marker().col() + 1,
            format!("not YAML: {}", error.info()),
            hint,
        )
    }

    fn at(&self, span: Span, reason: String, hint: Option<&str>) -> Box<Problem> {
        self.problem(span.start.line(), span.start.col() + 1, reason, hint)
    }

    fn problem(
        &self,
        line: usize,
        column: usize,
        reason: String,
        hint: Option<&str>,
    ) -> Box<Problem> {
        Box::new(Problem {
            origin: Origin::File {
                file: self.file.to_owned(),
                line,
                column,
            },
            path: String::new(),
            reason,
            hint: hint.map(str::to_owned),
            severity: Severity::Error,
        })
    }
}

fn count(node: &Node) -> usize {
    match &node.value {
        Value::Scalar { .. } => 1,
        Value::Sequence(items) => 1 + items.iter().map(count).sum::<usize>(),
        Value::Mapping(entries) => {
            1 + entries
                .iter()
                .map(|(_, node)| 1 + count(node))
                .sum::<usize>()
        }
    }
}
