//! `t:normalizePath` and `t:normalizePathWin`.

/// Removes doubled slashes, `.` segments and `..` segments that have a parent.
pub(super) fn normalize_path(input: &[u8]) -> Option<Vec<u8>> {
    if !input.contains(&b'/') && !matches!(input, b"." | b"..") {
        return None;
    }
    let output = normalized(input);
    (output != input).then_some(output)
}

/// Turns backslashes into slashes first.
pub(super) fn normalize_path_win(input: &[u8]) -> Option<Vec<u8>> {
    if !input.contains(&b'\\') {
        return normalize_path(input);
    }
    let slashed: Vec<u8> = input
        .iter()
        .map(|byte| if *byte == b'\\' { b'/' } else { *byte })
        .collect();
    Some(normalized(&slashed))
}

fn normalized(input: &[u8]) -> Vec<u8> {
    let absolute = input.first() == Some(&b'/');
    let mut segments: Vec<&[u8]> = Vec::new();
    let mut directory = false;
    for segment in input.split(|byte| *byte == b'/') {
        directory = matches!(segment, b"" | b"." | b"..");
        match segment {
            b"" | b"." => {}
            b".." => match segments.last() {
                Some(last) if *last != b".." => drop(segments.pop()),
                _ if absolute => {}
                // Leading ".." of a relative path has no parent to take away.
                _ => segments.push(segment),
            },
            name => segments.push(name),
        }
    }
    let mut output = Vec::with_capacity(input.len());
    if absolute {
        output.push(b'/');
    }
    output.extend(segments.join(&b'/'));
    if directory && !segments.is_empty() && segments.last() != Some(&&b".."[..]) {
        output.push(b'/');
    }
    output
}
