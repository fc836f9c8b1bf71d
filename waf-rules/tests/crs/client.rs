//! The bytes of a request, as go-ftw sends them.

use base64::Engine;

use super::suite::Input;

const FORM: &str = "application/x-www-form-urlencoded";

/// Writes a request.
pub(crate) fn request(input: &Input) -> Vec<u8> {
    if let Some(encoded) = &input.encoded_request {
        let text: String = encoded.split_whitespace().collect();
        let decoded = base64::engine::general_purpose::STANDARD.decode(text);
        return decoded.expect("a request is base64");
    }
    let mut headers: Vec<(String, String)> = input
        .headers
        .iter()
        .map(|(name, value)| (name.clone(), value.text()))
        .collect();
    let mut data = repeated(&input.data).into_bytes();
    let complete = input.autocomplete_headers;
    if complete && !data.is_empty() {
        add(&mut headers, "Content-Type", FORM.to_owned());
        if find(&headers, "Content-Type") == Some(FORM) {
            data = form(data);
        }
    }
    if find(&headers, "Content-Type").is_some_and(|value| value.contains("multipart/form-data;")) {
        data = lines_end_with_crlf(&data);
    }
    if complete {
        add(&mut headers, "Connection", "close".to_owned());
        let usual = ["POST", "PUT", "PATCH", "DELETE"].contains(&input.method.as_str());
        if usual || !data.is_empty() {
            add(&mut headers, "Content-Length", data.len().to_string());
        }
    }
    headers.sort();
    let mut bytes = format!("{} {} {}\r\n", input.method, input.uri, input.version).into_bytes();
    for (name, value) in headers {
        bytes.extend(format!("{name}: {value}\r\n").bytes());
    }
    bytes.extend(b"\r\n");
    bytes.extend(data);
    bytes
}

fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = headers
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.as_str())
}

/// Adds a header that is not there.
fn add(headers: &mut Vec<(String, String)>, name: &str, value: String) {
    if find(headers, name).is_none() {
        headers.push((name.to_owned(), value));
    }
}

/// Replaces `{{ "text" | repeat 3 }}`, the one template that tests use.
fn repeated(text: &str) -> String {
    let mut output = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{ \"") {
        let parts = after
            .split_once("\" | repeat ")
            .and_then(|(piece, after)| Some((piece, after.split_once(" }}")?)));
        let (piece, (count, after)) = parts.expect("a template repeats a text");
        output.push_str(before);
        output.push_str(&piece.repeat(count.parse().expect("a count")));
        rest = after;
    }
    output + rest
}

/// Encodes the fields of a form, unless they look encoded already.
fn form(data: Vec<u8>) -> Vec<u8> {
    let invalid = data.iter().enumerate().any(|(at, byte)| {
        let is_digit = |at: usize| data.get(at).is_some_and(u8::is_ascii_hexdigit);
        *byte == b'%' && !(is_digit(at + 1) && is_digit(at + 2))
    });
    if invalid || data.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return data;
    }
    let fields: Vec<Vec<u8>> = data
        .split(|byte| *byte == b'&')
        .map(|field| match field.iter().position(|byte| *byte == b'=') {
            Some(at) => [query(&field[..at]), b"=".to_vec(), query(&field[at + 1..])].concat(),
            None => query(field),
        })
        .collect();
    // Go's loop ends with the data: a last empty field leaves no separator.
    let end = fields.len() - usize::from(data.ends_with(b"&"));
    fields[..end].join(&b'&')
}

fn query(text: &[u8]) -> Vec<u8> {
    let mut output = Vec::new();
    for byte in text {
        match byte {
            b' ' => output.push(b'+'),
            b'-' | b'_' | b'.' | b'~' => output.push(*byte),
            byte if byte.is_ascii_alphanumeric() => output.push(*byte),
            byte => output.extend(format!("%{byte:02X}").bytes()),
        }
    }
    output
}

fn lines_end_with_crlf(data: &[u8]) -> Vec<u8> {
    let mut output = Vec::new();
    for byte in data {
        if *byte == b'\n' {
            output.push(b'\r');
        }
        output.push(*byte);
    }
    output
}
