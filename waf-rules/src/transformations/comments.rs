//! `t:removeComments`, `t:removeCommentsChar` and `t:replaceComments`.

/// Replaces each `/* … */` with one space; an unclosed one reaches to the end.
pub(super) fn replace(input: &[u8]) -> Option<Vec<u8>> {
    find(input, b"/*")?;
    let mut output = Vec::with_capacity(input.len());
    let mut rest = input;
    while let Some(start) = find(rest, b"/*") {
        output.extend_from_slice(&rest[..start]);
        output.push(b' ');
        let inside = &rest[start + 2..];
        rest = find(inside, b"*/").map_or(&[], |end| &inside[end + 2..]);
    }
    output.extend_from_slice(rest);
    Some(output)
}

/// Removes `/* … */`, `<!-- … -->`, and what follows `--` or `#`.
pub(super) fn remove(input: &[u8]) -> Option<Vec<u8>> {
    let mut output = Vec::with_capacity(input.len());
    let mut at = 0;
    while at < input.len() {
        let rest = &input[at..];
        let closing: &[u8] = if rest.starts_with(b"/*") {
            b"*/"
        } else if rest.starts_with(b"<!--") {
            b"-->"
        } else if rest.starts_with(b"--") || rest[0] == b'#' {
            break;
        } else {
            output.push(rest[0]);
            at += 1;
            continue;
        };
        at += find(rest, closing).map_or(rest.len(), |end| end + closing.len());
    }
    (output.len() != input.len()).then_some(output)
}

/// Removes the marks of comments and keeps what is in them.
pub(super) fn remove_marks(input: &[u8]) -> Option<Vec<u8>> {
    const MARKS: &[&[u8]] = &[b"<!--", b"-->", b"/*", b"*/", b"--", b"#"];
    let mut output = Vec::with_capacity(input.len());
    let mut at = 0;
    while at < input.len() {
        match MARKS.iter().find(|mark| input[at..].starts_with(mark)) {
            Some(mark) => at += mark.len(),
            None => {
                output.push(input[at]);
                at += 1;
            }
        }
    }
    (output.len() != input.len()).then_some(output)
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}
