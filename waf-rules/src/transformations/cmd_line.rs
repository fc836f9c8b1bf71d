//! `t:cmdLine`: undoes the ways to write a command line differently.

/// Deletes `\ " ' ^`, deletes blanks before `/` and `(`, turns `,` and `;` into
/// blanks, makes runs of blanks one, and lowercases.
pub(super) fn cmd_line(input: &[u8]) -> Option<Vec<u8>> {
    let mut output = Vec::with_capacity(input.len());
    for byte in input {
        match byte {
            b'\\' | b'"' | b'\'' | b'^' => {}
            b' ' | b',' | b';' | b'\t' | b'\r' | b'\n' => {
                if output.last() != Some(&b' ') {
                    output.push(b' ');
                }
            }
            b'/' | b'(' => {
                if output.last() == Some(&b' ') {
                    output.pop();
                }
                output.push(*byte);
            }
            _ => output.push(byte.to_ascii_lowercase()),
        }
    }
    (output != input).then_some(output)
}
