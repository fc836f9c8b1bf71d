//! The corpus of benign traffic, `data/benign`: requests as people and programs send them.

use std::{collections::BTreeMap, fs, path::Path};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::{Request, encoded};

/// One request, as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Written {
    #[serde(default)]
    name: String,
    /// Whose headers it has, of `clients.yaml`.
    client: Option<String>,
    get: Option<String>,
    post: Option<String>,
    put: Option<String>,
    method: Option<String>,
    uri: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    form: Option<BTreeMap<String, String>>,
    json: Option<Map<String, Value>>,
    multipart: Option<Vec<Part>>,
    /// Content type of `body`.
    r#type: Option<String>,
    #[serde(default)]
    body: String,
}

/// One part of a form with files.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    name: String,
    filename: Option<String>,
    r#type: Option<String>,
    content: String,
}

/// Reads the corpus: each request with its name.
#[allow(dead_code, reason = "not every test that shares this module needs it")]
pub(crate) fn requests() -> Vec<(String, Request)> {
    let clients: BTreeMap<String, BTreeMap<String, String>> = read("clients");
    let mut requests = Vec::new();
    for file in ["web", "api"] {
        let written: Vec<Written> = read(file);
        requests.extend(written.into_iter().map(|one| {
            let name = one.name.clone();
            (name, one.request(&clients))
        }));
    }
    let texts: Vec<String> = read("texts");
    for text in &texts {
        for (place, request) in places(text) {
            let request = with(request, clients.get("script").expect("a client"));
            requests.push((format!("{text:?} in {place}"), request));
        }
    }
    requests
}

fn read<T: DeserializeOwned>(name: &str) -> T {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/benign");
    let path = folder.join(name).with_extension("yaml");
    let text = fs::read_to_string(&path).expect("the corpus can be read");
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The places where a person's text arrives.
fn places(text: &str) -> [(&'static str, Request); 4] {
    let json = serde_json::json!({"id": 1, "items": [{"text": text}]});
    [
        (
            "a query",
            Request::get(&format!("/search?page=1&q={}", encoded(text))),
        ),
        (
            "a form",
            Request::post(
                "application/x-www-form-urlencoded",
                &format!("id=1&text={}", encoded(text)),
            ),
        ),
        ("JSON", Request::post("application/json", &json.to_string())),
        (
            "multipart",
            multipart(&[Part {
                name: "text".into(),
                filename: None,
                r#type: None,
                content: text.into(),
            }]),
        ),
    ]
}

impl Written {
    /// Makes the request, with the headers of its client.
    pub(crate) fn request(self, clients: &BTreeMap<String, BTreeMap<String, String>>) -> Request {
        let mut request = if let Some(form) = &self.form {
            let fields: Vec<String> = form
                .iter()
                .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)))
                .collect();
            Request::post("application/x-www-form-urlencoded", &fields.join("&"))
        } else if let Some(json) = &self.json {
            let body = serde_json::to_string(json).expect("a value is JSON");
            Request::post("application/json", &body)
        } else if let Some(parts) = &self.multipart {
            multipart(parts)
        } else if let Some(content_type) = &self.r#type {
            Request::post(content_type, &self.body)
        } else {
            let mut request = Request::get("/");
            request.body.clone_from(&self.body);
            request
        };
        let verbs = [("GET", self.get), ("POST", self.post), ("PUT", self.put)];
        for (method, uri) in verbs {
            if let Some(uri) = uri {
                (request.method, request.uri) = (method.into(), uri);
            }
        }
        if let Some(method) = self.method {
            request.method = method;
            request.uri = self.uri.unwrap_or_else(|| "/".into());
        }
        if let Some(client) = &self.client {
            let headers = clients.get(client);
            request = with(request, headers.unwrap_or_else(|| panic!("no {client}")));
        }
        with(request, &self.headers)
    }
}

/// Adds headers; those of the same name go.
fn with(mut request: Request, headers: &BTreeMap<String, String>) -> Request {
    for (name, value) in headers {
        let same = |known: &str| known.eq_ignore_ascii_case(name);
        request.headers.retain(|(known, _)| !same(known));
        request = request.header(name, value);
    }
    request
}

fn multipart(parts: &[Part]) -> Request {
    let boundary = "----WebKitFormBoundary7MA4YWxkTrZu0gW";
    let mut body = String::new();
    for part in parts {
        let file = part.filename.as_ref();
        let file = file.map_or(String::new(), |name| format!("; filename=\"{name}\""));
        let kind = part.r#type.as_ref();
        let kind = kind.map_or(String::new(), |kind| format!("Content-Type: {kind}\r\n"));
        body.push_str(&format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{}\"{file}\r\n{kind}\r\n{}\r\n",
            part.name, part.content
        ));
    }
    body.push_str(&format!("--{boundary}--\r\n"));
    Request::post(&format!("multipart/form-data; boundary={boundary}"), &body)
}
