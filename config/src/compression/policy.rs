//! The decision.

use http::{HeaderMap, HeaderName, Method, StatusCode, header};

use super::{
    accept::negotiate,
    media::{MediaRange, essence, is_static},
};
use crate::document::{CompressionAlgorithm, CompressionCredentials, CompressionLevel};

/// Fields that are about the bytes of a body as they are sent (RFC 9530, RFC 1864).
const DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-md5"),
];

/// The compression policy of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compression {
    /// What may be used; of those a client likes as much, the first.
    pub algorithms: Vec<CompressionAlgorithm>,
    /// What is compressed.
    pub types: Vec<MediaRange>,
    /// A known length below this many bytes is not.
    pub min_size: u64,
    /// How much CPU time is spent.
    pub level: CompressionLevel,
    /// What is done where there are credentials.
    pub credentials: CompressionCredentials,
}

/// What becomes of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompressionDecision {
    /// It stays as it is, whoever asks.
    Leave,
    /// It stays as it is, and another client may get it compressed.
    LeaveButVary,
    /// It has no body, and its head is that of one that is compressed.
    Describe(CompressionAlgorithm),
    /// It says that what the client has is good still, which may be compressed: its
    /// entity tag is weak (RFC 9110 section 15.4.5).
    NotModified,
    /// It is compressed.
    Compress(CompressionAlgorithm),
}

impl Compression {
    /// Decides on a response to a client that is `known` by something other than the
    /// fields of its request, or is not.
    pub fn decide(
        &self,
        (method, asked): (&Method, &HeaderMap),
        (status, head): (StatusCode, &HeaderMap),
        known: bool,
    ) -> CompressionDecision {
        if status == StatusCode::NOT_MODIFIED && !says(head, "no-transform") {
            return CompressionDecision::NotModified;
        }
        let Some(essence) = essence(head).filter(|_| self.may(status, head)) else {
            return CompressionDecision::Leave;
        };
        if !self.types.iter().any(|range| range.contains(essence)) || is_grpc(essence) {
            return CompressionDecision::Leave;
        }
        let left = asked.contains_key(header::RANGE)
            || says(asked, "no-transform")
            || self.credentials == CompressionCredentials::Skip
                && (known || is_private(asked, head))
                && !is_static(essence)
                && !says(head, "public");
        let lines = asked.get_all(header::ACCEPT_ENCODING);
        match negotiate(lines, &self.algorithms) {
            Some(algorithm) if !left && *method == Method::HEAD => {
                CompressionDecision::Describe(algorithm)
            }
            Some(algorithm) if !left => CompressionDecision::Compress(algorithm),
            _ => CompressionDecision::LeaveButVary,
        }
    }

    /// Whether a response may be changed at all, whoever asks.
    fn may(&self, status: StatusCode, head: &HeaderMap) -> bool {
        let length = head
            .get(header::CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        // An answer to a range is a part of something else.
        !status.is_informational()
            && !matches!(status.as_u16(), 204 | 206 | 304)
            && length.is_none_or(|length| length >= self.min_size)
            && !head.contains_key(header::CONTENT_ENCODING)
            && !head.contains_key(header::CONTENT_RANGE)
            && !says(head, "no-transform")
            && !DIGESTS.iter().any(|digest| head.contains_key(digest))
    }
}

/// Whether an answer may hold a secret of the one who asked.
fn is_private(asked: &HeaderMap, head: &HeaderMap) -> bool {
    asked.contains_key(header::COOKIE)
        || asked.contains_key(header::AUTHORIZATION)
        || head.contains_key(header::SET_COOKIE)
}

fn is_grpc(essence: &str) -> bool {
    essence
        .get(..16)
        .is_some_and(|start| start.eq_ignore_ascii_case("application/grpc"))
}

/// Whether `Cache-Control` has a directive.
fn says(headers: &HeaderMap, directive: &str) -> bool {
    headers.get_all(header::CACHE_CONTROL).iter().any(|line| {
        line.as_bytes()
            .split(|&byte| byte == b',')
            .any(|part| part.trim_ascii().eq_ignore_ascii_case(directive.as_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use CompressionAlgorithm::{Br, Gzip};
    use CompressionDecision::{Compress, Describe, Leave, LeaveButVary, NotModified};

    fn headers(text: &str) -> HeaderMap {
        text.split('\n')
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| {
                (
                    HeaderName::try_from(name).unwrap(),
                    HeaderValue::try_from(value).unwrap(),
                )
            })
            .collect()
    }

    fn decide(
        credentials: CompressionCredentials,
        method: &Method,
        asked: &str,
        status: u16,
        head: &str,
    ) -> CompressionDecision {
        let policy = Compression {
            algorithms: vec![Br, Gzip],
            types: ["text/*", "application/json", "application/*"]
                .map(|range| MediaRange::parse(range).unwrap())
                .to_vec(),
            min_size: 100,
            level: CompressionLevel::default(),
            credentials,
        };
        policy.decide(
            (method, &headers(asked)),
            (StatusCode::from_u16(status).unwrap(), &headers(head)),
            false,
        )
    }

    #[test]
    fn what_can_be_smaller_and_may_be_changed_is_compressed() {
        const GZIP: &str = "accept-encoding: gzip";
        const JSON: &str = "content-type: application/json";
        let cases = [
            (GZIP, 200, JSON, Compress(Gzip)),
            (GZIP, 404, JSON, Compress(Gzip)),
            (
                GZIP,
                200,
                "content-type: Text/HTML; charset=utf-8",
                Compress(Gzip),
            ),
            (GZIP, 200, "content-type: image/png", Leave),
            (GZIP, 200, "content-type: application/grpc+proto", Leave),
            (GZIP, 200, "x: y", Leave),
            (
                GZIP,
                200,
                "content-type: application/json\ncontent-length: 100",
                Compress(Gzip),
            ),
            (
                GZIP,
                200,
                "content-type: application/json\ncontent-length: 99",
                Leave,
            ),
            (
                GZIP,
                200,
                "content-type: application/json\ncontent-encoding: br",
                Leave,
            ),
            (
                GZIP,
                200,
                "content-type: application/json\ncontent-encoding: identity",
                Leave,
            ),
            (
                GZIP,
                200,
                "content-type: application/json\ncache-control: max-age=1, No-Transform",
                Leave,
            ),
            (
                GZIP,
                200,
                "content-type: application/json\ncontent-digest: sha-256=:x:",
                Leave,
            ),
            (GZIP, 206, JSON, Leave),
            (
                GZIP,
                200,
                "content-type: application/json\ncontent-range: bytes 0-1/2",
                Leave,
            ),
            (GZIP, 204, JSON, Leave),
            (GZIP, 304, JSON, NotModified),
            (GZIP, 304, "etag: x", NotModified),
            (GZIP, 304, "cache-control: no-transform", Leave),
            (GZIP, 101, JSON, Leave),
            ("x: y", 200, JSON, LeaveButVary),
            (
                "accept-encoding: zstd, identity;q=0",
                200,
                JSON,
                LeaveButVary,
            ),
            (
                "accept-encoding: gzip\nrange: bytes=0-1",
                200,
                JSON,
                LeaveButVary,
            ),
            (
                "accept-encoding: gzip\ncache-control: no-transform",
                200,
                JSON,
                LeaveButVary,
            ),
        ];
        for (asked, status, head, expected) in cases {
            let found = decide(
                CompressionCredentials::Skip,
                &Method::GET,
                asked,
                status,
                head,
            );
            assert_eq!(found, expected, "{asked} {status} {head}");
        }
        for (asked, head, expected) in [
            (GZIP, JSON, Describe(Gzip)),
            ("x: y", JSON, LeaveButVary),
            (GZIP, "content-type: image/png", Leave),
        ] {
            let found = decide(
                CompressionCredentials::Skip,
                &Method::HEAD,
                asked,
                200,
                head,
            );
            assert_eq!(found, expected, "{asked} {head}");
        }
    }

    #[test]
    fn secrets_are_compressed_only_where_that_was_asked_for() {
        const PLAIN: &str = "accept-encoding: gzip";
        const COOKIE: &str = "accept-encoding: gzip\ncookie: id=1";
        const BEARER: &str = "accept-encoding: gzip\nauthorization: Bearer x";
        const HTML: &str = "content-type: text/html";
        let cases = [
            (PLAIN, HTML, Compress(Gzip)),
            (COOKIE, HTML, LeaveButVary),
            (BEARER, HTML, LeaveButVary),
            (
                PLAIN,
                "content-type: text/html\nset-cookie: id=1",
                LeaveButVary,
            ),
            (COOKIE, "content-type: text/css", Compress(Gzip)),
            (
                BEARER,
                "content-type: application/javascript; charset=utf-8",
                Compress(Gzip),
            ),
            (
                COOKIE,
                "content-type: application/wasm\nset-cookie: id=1",
                Compress(Gzip),
            ),
            (
                COOKIE,
                "content-type: text/html\ncache-control: public, max-age=60",
                Compress(Gzip),
            ),
            (
                COOKIE,
                "content-type: text/html\ncache-control: max-age=60",
                LeaveButVary,
            ),
        ];
        for (asked, head, expected) in cases {
            let found = decide(CompressionCredentials::Skip, &Method::GET, asked, 200, head);
            assert_eq!(found, expected, "{asked} {head}");
            let found = decide(
                CompressionCredentials::Compress,
                &Method::GET,
                asked,
                200,
                head,
            );
            assert_eq!(found, Compress(Gzip), "{asked} {head}");
        }
    }

    #[test]
    fn media_ranges_read_and_print() {
        for text in [
            "text/html",
            "text/*",
            "application/ld+json",
            "image/svg+xml",
        ] {
            assert_eq!(MediaRange::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "text",
            "*/*",
            "*",
            "text/",
            "/html",
            "text/html; q=1",
            "text/html,text/css",
            "te*t/html",
            "",
        ] {
            assert!(MediaRange::parse(text).is_err(), "{text}");
        }
        for text in super::super::DEFAULT_TYPES {
            assert!(MediaRange::parse(text).is_ok(), "{text}");
        }
    }
}
