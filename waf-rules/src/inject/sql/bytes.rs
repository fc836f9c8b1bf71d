//! Which bytes belong together in SQL.
//!
//! The C library finds them with `strchr`, which also finds the NUL at the end of its
//! list. So a NUL is a digit, a letter and white space, and ends words.

/// A set of bytes.
#[derive(Clone, Copy)]
pub(super) struct Set(u8);

/// Characters that separate; 0xA0 is a space in Latin-1.
pub(super) const WHITE: Set = Set(1);
/// What ends a bareword, or may be the end of a keyword in it: a dot, a tick.
pub(super) const WORD_STOP: Set = Set(1 << 1);
/// What ends the name of a variable.
pub(super) const VARIABLE_END: Set = Set(1 << 2);
/// Hexadecimal digits.
pub(super) const HEXADECIMAL: Set = Set(1 << 3);
/// Binary digits.
pub(super) const BINARY: Set = Set(1 << 4);
/// What an amount of money has after its sign.
pub(super) const AMOUNT: Set = Set(1 << 5);
/// Letters.
pub(super) const LETTER: Set = Set(1 << 6);
/// Decimal digits; a NUL is none.
pub(super) const DIGIT: Set = Set(1 << 7);

impl Set {
    pub(super) fn has(self, byte: u8) -> bool {
        SETS[usize::from(byte)] & self.0 != 0
    }

    /// Returns how many bytes at the start of a text are in the set.
    pub(super) fn span(self, text: &[u8]) -> usize {
        let other = |&byte: &u8| !self.has(byte);
        text.iter().position(other).unwrap_or(text.len())
    }

    /// Returns how many bytes at the start of a text are not in the set.
    pub(super) fn span_until(self, text: &[u8]) -> usize {
        let one = |&byte: &u8| self.has(byte);
        text.iter().position(one).unwrap_or(text.len())
    }
}

/// The sets of each byte.
static SETS: [u8; 256] = {
    let mut sets = [0; 256];
    sets = with(sets, WHITE, b" \t\n\x0b\x0c\r\xa0\0");
    sets = with(
        sets,
        WORD_STOP,
        b" []{}<>:\\?=@!#~+-*/&|^%(),';\t\n\x0b\x0c\r\"\xa0\0.`",
    );
    sets = with(
        sets,
        VARIABLE_END,
        b" <>:\\?=@!#~+-*/&|^%(),';\t\n\x0b\x0c\r'`\"\0",
    );
    sets = with(sets, HEXADECIMAL, b"0123456789ABCDEFabcdef\0");
    sets = with(sets, BINARY, b"01\0");
    sets = with(sets, AMOUNT, b"0123456789.,\0");
    sets = with(
        sets,
        LETTER,
        b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ\0",
    );
    with(sets, DIGIT, b"0123456789")
};

const fn with(mut sets: [u8; 256], set: Set, bytes: &[u8]) -> [u8; 256] {
    let mut at = 0;
    while at < bytes.len() {
        sets[bytes[at] as usize] |= set.0;
        at += 1;
    }
    sets
}
