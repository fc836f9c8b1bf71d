//! Injections of HTML that run a script.
//!
//! A value is read as text, and as the value of an attribute without quotes and in each
//! kind of them. What is looked for are tags and attributes that run scripts, style,
//! comments that old browsers run, and document types.

mod comments;
mod names;
mod tokens;
mod urls;

use memchr::{memchr, memchr2};

use self::{
    names::Attribute,
    tokens::{Context, Token, Tokens},
};

/// Tells whether a value is an injection of HTML.
pub(crate) fn is_html_injection(value: &[u8]) -> bool {
    // Without a tag or the value of an attribute there is nothing to find.
    if memchr2(b'<', b'=', value).is_none() {
        return false;
    }
    let quoted = |quote| {
        // Up to the quote it is a value of no attribute.
        memchr(quote, value).is_some() && injects(value, Context::Quoted(quote))
    };
    injects(value, Context::Text)
        || injects(value, Context::Unquoted)
        || quoted(b'\'')
        || quoted(b'"')
        || quoted(b'`')
}

/// Tells the same for each context.
#[allow(dead_code, reason = "for the comparison in fuzz/")]
pub(crate) fn html_readings(value: &[u8]) -> [bool; 5] {
    [
        Context::Text,
        Context::Unquoted,
        Context::Quoted(b'\''),
        Context::Quoted(b'"'),
        Context::Quoted(b'`'),
    ]
    .map(|context| injects(value, context))
}

fn injects(value: &[u8], context: Context) -> bool {
    let mut attribute = None;
    let mut tokens = Tokens::new(value, context);
    while let Some(token) = tokens.next() {
        let banned = match token {
            Token::Doctype => true,
            Token::Tag(name) => names::is_banned_tag(name),
            Token::Comment(text) => comments::is_banned(text),
            Token::Attribute(name) => {
                attribute = names::attribute(name);
                continue;
            }
            Token::Value(text) => match attribute {
                None => false,
                Some(Attribute::Banned | Attribute::Style) => true,
                Some(Attribute::Url) => urls::is_banned(text),
                Some(Attribute::Indirect) => names::attribute(text).is_some(),
            },
        };
        if banned {
            return true;
        }
        attribute = None;
    }
    false
}
