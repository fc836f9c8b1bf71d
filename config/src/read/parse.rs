//! YAML events to a tree, within bounds.

use std::{collections::BTreeMap, sync::Arc};

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};

use super::{
    SourceFile,
    merge::all_differ,
    node::{Key, Node, Place, Value},
};
use crate::problem::Problem;

/// Largest file that is read.
const MAX_BYTES: usize = 16 << 20;
/// Deepest nesting, what aliases bring included.
const MAX_DEPTH: usize = 64;
/// Scalars, lists and maps of one file.
const MAX_NODES: usize = 1_000_000;
/// Nodes that anchors keep and aliases repeat: "billion laughs" ends here.
const MAX_REPEATED: usize = 100_000;

/// One file.
pub(super) struct Tree {
    pub(super) root: Node,
    /// Whether a key stands twice in some map of it.
    pub(super) has_duplicates: bool,
}

/// Parses one file; `None` is an empty one.
///
/// # Errors
/// A file that is not YAML, or beyond the bounds. Duplicate keys stay in the tree.
pub(super) fn parse(file: &SourceFile) -> Result<Option<Tree>, Box<Problem>> {
    let text = file.text.strip_prefix('\u{feff}').unwrap_or(&file.text);
    let mut builder = Builder {
        file: file.name.as_str().into(),
        events: Parser::new_from_str(text),
        anchors: BTreeMap::new(),
        nodes: 0,
        repeated: 0,
        has_duplicates: false,
    };
    if text.len() > MAX_BYTES {
        return Err(builder.problem(
            0,
            0,
            format!("the file is larger than {} MiB", MAX_BYTES >> 20),
            None,
        ));
    }
    let root = builder.documents()?;
    let has_duplicates = builder.has_duplicates;
    Ok(root.map(|root| Tree {
        root,
        has_duplicates,
    }))
}

struct Builder<'a> {
    file: Arc<str>,
    events: Parser<'a, saphyr_parser::StrInput<'a>>,
    anchors: BTreeMap<usize, Anchor>,
    nodes: usize,
    repeated: usize,
    /// Whether a key stands twice in some map.
    has_duplicates: bool,
}

/// A value that aliases may repeat.
struct Anchor {
    node: Node,
    nodes: usize,
    levels: usize,
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
        let (value, anchor) = match event {
            Event::Alias(id) => return self.alias(id, span, depth),
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), span)?;
                let value = Value::Scalar {
                    text: text.into_owned(),
                    plain: style == ScalarStyle::Plain,
                };
                (value, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_tag(tag.as_deref(), span)?;
                (self.sequence(depth)?, anchor)
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_tag(tag.as_deref(), span)?;
                (self.mapping(depth)?, anchor)
            }
            _ => return Err(self.at(span, "a value is missing here".into(), None)),
        };
        let node = Node {
            value,
            place: self.place(span),
        };
        if anchor != 0 {
            let (nodes, levels) = node.size();
            self.repeat(nodes, span)?;
            let node = node.clone();
            self.anchors.insert(
                anchor,
                Anchor {
                    node,
                    nodes,
                    levels,
                },
            );
        }
        Ok(node)
    }

    fn alias(&mut self, id: usize, span: Span, depth: usize) -> Result<Node, Box<Problem>> {
        let Some(anchor) = self.anchors.get(&id) else {
            return Err(self.at(
                span,
                "an alias to an anchor that is not there, or not yet complete".into(),
                None,
            ));
        };
        let (nodes, levels) = (anchor.nodes, anchor.levels);
        self.repeat(nodes, span)?;
        if depth + levels > MAX_DEPTH + 1 {
            return Err(self.at(
                span,
                "aliases nest deeper than a configuration needs".into(),
                None,
            ));
        }
        match self.anchors.get(&id) {
            Some(anchor) => Ok(anchor.node.clone()),
            None => Err(self.at(span, "an alias to an anchor that is not there".into(), None)),
        }
    }

    fn repeat(&mut self, nodes: usize, span: Span) -> Result<(), Box<Problem>> {
        self.repeated += nodes;
        if self.repeated > MAX_REPEATED {
            return Err(self.at(
                span,
                "aliases repeat more than a configuration needs".into(),
                None,
            ));
        }
        Ok(())
    }

    fn refuse_tag(&self, tag: Option<&Tag>, span: Span) -> Result<(), Box<Problem>> {
        let Some(tag) = tag else { return Ok(()) };
        Err(self.at(
            span,
            format!("the tag {}{} is not supported", tag.handle, tag.suffix),
            Some("write the value without a tag"),
        ))
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
                // While they are at hand: few files have any, and only those are walked.
                self.has_duplicates |= !all_differ(&entries);
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
            entries.push((
                Key {
                    text,
                    place: key.place,
                },
                value,
            ));
        }
    }

    fn place(&self, span: Span) -> Place {
        Place::new(&self.file, span.start.line(), span.start.col() + 1)
    }

    fn syntax(&self, error: &ScanError) -> Box<Problem> {
        let hint = match error.info() {
            info if info.contains("printable") => None,
            info if info.contains("tab") => Some("indent with spaces; YAML takes no tabs"),
            info if info.contains("anchor") => {
                Some("a value that begins with `*` or `&` needs quotes, as \"*.example.com\"")
            }
            _ => None,
        };
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
        Box::new(Place::new(&self.file, line, column).error("", reason, hint))
    }
}
