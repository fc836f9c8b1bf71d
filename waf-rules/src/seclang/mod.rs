//! The text of SecLang: what is written, not what it means.
//!
//! ```text
//! RuleText --lexer--> words with places --parser--> Ast
//! ```
//!
//! Every problem of a text is reported, each with file, line and column. A
//! directive with a problem is left out of the Ast, which is then never compiled.
//! Names of variables, operators, transformations and actions are not looked at
//! here; the parts of the engine that implement them resolve them.

mod ast;
mod lexer;
mod parser;
mod targets;

pub(crate) use ast::{
    ActionText, Directive, DirectiveKind, IdRange, OperatorText, SelectorText, Setting, TargetText,
};
pub(crate) use lexer::{Place, Text};
pub(crate) use parser::{id_range, parse};
pub(crate) use targets::targets;
