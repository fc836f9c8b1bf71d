//! Injections of SQL.
//!
//! A value is read as it stands, and as if it began inside of a string. Each reading
//! gives a fingerprint of at most five tokens; one that attacks are known by, and
//! that nothing speaks against, is the verdict.

mod barewords;
mod bytes;
mod doubt;
mod fingerprints;
mod fold;
mod kind;
mod numbers;
mod strings;
mod token;
mod tokens;
mod words;

use memchr::memchr;

pub(crate) use self::fingerprints::Fingerprint;
use self::{
    fold::{Folded, fold},
    kind::Kind,
    token::Token,
    tokens::{Context, Dialect, Tokens},
};

/// Returns the fingerprint of an injection, if a value is one.
pub(crate) fn sql_fingerprint(value: &[u8]) -> Option<Fingerprint> {
    if is_one_word(value) {
        return None;
    }
    if let Some(found) = in_both_dialects(value, None) {
        return Some(found);
    }
    if memchr(b'\'', value).is_some()
        && let Some(found) = in_both_dialects(value, Some(b'\''))
    {
        return Some(found);
    }
    memchr(b'"', value)?;
    // Only MySQL has strings in double quotes.
    let context = Context {
        quote: Some(b'"'),
        dialect: Dialect::MySql,
    };
    Reading::new(value, context).verdict(value)
}

/// Whether a value is one word, or one number: most values are, and a single token is no
/// injection, whatever it says.
fn is_one_word(value: &[u8]) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    match value.first() {
        None => true,
        Some(b'0'..=b'9') => value.iter().all(u8::is_ascii_digit),
        Some(_) => value.iter().all(is_word),
    }
}

/// Returns the fingerprint in each context, and whether it is that of an injection.
/// A comparison that sees only verdicts would miss most differences.
#[allow(dead_code, reason = "for the comparison in fuzz/")]
pub(crate) fn sql_readings(value: &[u8]) -> [(Fingerprint, bool); 6] {
    let context = |(quote, dialect)| {
        let reading = Reading::new(value, Context { quote, dialect });
        (reading.fingerprint, reading.verdict(value).is_some())
    };
    [
        (None, Dialect::Ansi),
        (None, Dialect::MySql),
        (Some(b'\''), Dialect::Ansi),
        (Some(b'\''), Dialect::MySql),
        (Some(b'"'), Dialect::Ansi),
        (Some(b'"'), Dialect::MySql),
    ]
    .map(context)
}

fn in_both_dialects(value: &[u8], quote: Option<u8>) -> Option<Fingerprint> {
    let dialect = |dialect| Reading::new(value, Context { quote, dialect });
    let ansi = dialect(Dialect::Ansi);
    match ansi.verdict(value) {
        None if ansi.ambiguous => dialect(Dialect::MySql).verdict(value),
        verdict => verdict,
    }
}

/// What a value is in one context.
struct Reading {
    tokens: Folded,
    fingerprint: Fingerprint,
    /// How many tokens there were before they were folded.
    count: usize,
    /// Another dialect reads it otherwise.
    ambiguous: bool,
}

impl Reading {
    fn new(value: &[u8], context: Context) -> Self {
        let mut tokens = Tokens::new(value, context);
        let mut folded = [Token::NONE; _];
        let left = fold(&mut tokens, &mut folded);
        let folded_tokens = &mut folded[..left];
        // A tick that ends the value and has nothing behind it is a comment to PHP.
        if let [_, _, .., last] = folded_tokens
            && last.kind == Kind::Bareword
            && last.open == b'`'
            && last.close == 0
            && last.text(value).is_empty()
        {
            last.kind = Kind::Comment;
        }
        let evil = folded_tokens.iter().any(|token| token.kind == Kind::Evil);
        let fingerprint = match evil {
            true => Fingerprint::EVIL,
            false => Fingerprint::new(folded_tokens.iter().map(|token| token.kind as u8)),
        };
        Self {
            tokens: folded,
            fingerprint,
            count: tokens.count,
            ambiguous: tokens.ambiguous,
        }
    }

    fn verdict(&self, value: &[u8]) -> Option<Fingerprint> {
        let injection = self.fingerprint.is_known() && !self.is_doubtful(value);
        injection.then_some(self.fingerprint)
    }
}
