//! The backend: 200 and nothing to read for every request, but `/reflect`
//! answers as its JSON body asks.

use base64::Engine;
use serde::Deserialize;

/// An answer.
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wanted {
    #[serde(default)]
    status: u16,
    #[serde(default)]
    headers: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    body: String,
    #[serde(default)]
    encoded_body: String,
}

/// Answers a request.
pub(crate) fn answer(method: &[u8], target: &[u8], body: &[u8]) -> Response {
    let reflects = method == b"POST" && target == b"/reflect";
    if !reflects {
        return response(200, Vec::new(), Vec::new());
    }
    let Ok(wanted) = serde_json::from_slice::<Wanted>(body) else {
        return response(400, Vec::new(), b"Invalid JSON in request body".to_vec());
    };
    let body = match wanted.body.is_empty() {
        true => base64::engine::general_purpose::STANDARD
            .decode(wanted.encoded_body)
            .unwrap_or_default(),
        false => wanted.body.into_bytes(),
    };
    let status = if wanted.status == 0 {
        200
    } else {
        wanted.status
    };
    response(status, wanted.headers.into_iter().collect(), body)
}

fn response(status: u16, mut headers: Vec<(String, String)>, body: Vec<u8>) -> Response {
    let typed = headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    if !typed && !body.is_empty() {
        headers.push(("Content-Type".into(), sniffed(&body).into()));
    }
    headers.push(("Content-Length".into(), body.len().to_string()));
    Response {
        status,
        headers,
        body,
    }
}

/// What a server in Go calls a body whose type nobody named.
fn sniffed(body: &[u8]) -> &'static str {
    let start = body.trim_ascii_start().to_ascii_lowercase();
    let binary = |byte: &u8| matches!(byte, 0..=0x08 | 0x0b | 0x0e..=0x1a | 0x1c..=0x1f);
    if start.starts_with(b"<?xml") {
        "text/xml; charset=utf-8"
    } else if [
        &b"<!doctype html"[..],
        b"<html",
        b"<script",
        b"<body",
        b"<!--",
    ]
    .iter()
    .any(|mark| start.starts_with(mark))
    {
        "text/html; charset=utf-8"
    } else if body.starts_with(b"\x1f\x8b\x08") {
        "application/x-gzip"
    } else if body.iter().any(binary) {
        "application/octet-stream"
    } else {
        "text/plain; charset=utf-8"
    }
}
