//! URLs that run what they hold.

/// Starts of them, in capitals. `JAVA` is `javascript:` too.
const BANNED: [&[u8]; 4] = [b"DATA", b"VIEW-SOURCE", b"JAVA", b"VBSCRIPT"];

/// The longest of them.
const LONGEST: usize = 11;

/// No character has a higher number.
const LAST_CHARACTER: u32 = 0x0010_00ff;

/// Tells whether an attribute's value is such a URL. Numeric references count as their
/// characters.
pub(super) fn is_banned(value: &[u8]) -> bool {
    // Bytes beyond ASCII are white space to some browsers.
    let start = value.iter().position(|byte| matches!(byte, 33..=126));
    let mut rest = value
        .get(start.unwrap_or(value.len())..)
        .unwrap_or_default();
    let (mut text, mut length) = ([0; LONGEST], 0);
    while length < LONGEST && !rest.is_empty() {
        let (character, consumed) = character(rest);
        rest = rest.get(consumed..).unwrap_or_default();
        let ignored = match length {
            0 => character <= 32,
            _ => character == 0 || character == 10,
        };
        if !ignored {
            let upper = match character {
                // Only letters of ASCII lose their case, but the low byte is compared.
                0x61..=0x7a => character - 0x20,
                _ => character,
            };
            text[length] = upper as u8;
            length += 1;
        }
    }
    BANNED.iter().any(|start| text[..length].starts_with(start))
}

/// Returns the first character and how many bytes it takes.
fn character(text: &[u8]) -> (u32, usize) {
    match text {
        [b'&', b'#', b'x' | b'X', digits @ ..] => reference(digits, 16, 3),
        [b'&', b'#', digits @ ..] => reference(digits, 10, 2),
        [byte, ..] => Some((u32::from(*byte), 1)),
        [] => None,
    }
    .unwrap_or((u32::from(b'&'), 1))
}

/// Reads the digits of a reference that has `before` bytes before them. A reference
/// without digits or with too many is none.
fn reference(digits: &[u8], radix: u32, before: usize) -> Option<(u32, usize)> {
    let mut value = 0;
    let mut count = 0;
    for &byte in digits {
        let Some(digit) = char::from(byte).to_digit(radix) else {
            break;
        };
        value = value * radix + digit;
        count += 1;
        if value > LAST_CHARACTER {
            return None;
        }
    }
    let semicolon = usize::from(digits.get(count) == Some(&b';'));
    (count > 0).then_some((value, before + count + semicolon))
}
