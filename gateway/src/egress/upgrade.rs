//! The field `Upgrade` of a request, which hyper is not to see.
//!
//! For hyper such a request may turn its connection into another protocol (RFC 9110 section 7.8), and it
//! gives the connection away behind it, with no word of what it has not written yet: the end of an
//! answer. Nothing here turns into anything, so its parser gets another name to read.

use http::{HeaderMap, HeaderName, header};

const UPGRADE: &[u8] = b"upgrade";
/// A name of the same length, that says nothing.
const HIDDEN: &str = "x-upgrd";

/// Renames the fields in the head that a buffer begins with; whether there were any.
pub(super) fn hide(buffer: &mut [u8]) -> bool {
    let mut found = false;
    for line in buffer.split_mut(|&byte| byte == b'\n') {
        if line.is_empty() || line == b"\r" {
            break;
        }
        let Some((name, rest)) = line.split_at_mut_checked(UPGRADE.len()) else {
            continue;
        };
        if name.eq_ignore_ascii_case(UPGRADE) && rest.starts_with(b":") {
            name.copy_from_slice(HIDDEN.as_bytes());
            found = true;
        }
    }
    found
}

/// Gives fields that were hidden their name back.
pub(super) fn show(headers: &mut HeaderMap) {
    let hidden = HeaderName::from_static(HIDDEN);
    let values: Vec<_> = headers.get_all(&hidden).iter().cloned().collect();
    headers.remove(hidden);
    for value in values {
        headers.append(header::UPGRADE, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_head_alone_are_hidden() {
        for (head, expected) in [
            (
                "GET / HTTP/1.1\r\nUpgrade: h2c\r\nuPGRADE:x\r\n\r\nupgrade: in the body",
                "GET / HTTP/1.1\r\nx-upgrd: h2c\r\nx-upgrd:x\r\n\r\nupgrade: in the body",
            ),
            (
                "GET / HTTP/1.1\r\nUpgrade-Insecure-Requests: 1\r\nx: upgrade:\r\n\r\n",
                "GET / HTTP/1.1\r\nUpgrade-Insecure-Requests: 1\r\nx: upgrade:\r\n\r\n",
            ),
            ("GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\n\r\n"),
        ] {
            let mut bytes = head.as_bytes().to_vec();
            assert_eq!(hide(&mut bytes), head != expected, "{head}");
            assert_eq!(bytes, expected.as_bytes());
        }
    }

    #[test]
    fn what_was_hidden_is_shown_as_it_was() {
        let mut headers = HeaderMap::new();
        for value in ["h2c", "websocket"] {
            headers.append(HIDDEN, value.parse().unwrap());
        }
        show(&mut headers);
        let shown: Vec<_> = headers.get_all(header::UPGRADE).iter().collect();
        assert_eq!(shown, ["h2c", "websocket"]);
        assert_eq!(headers.len(), 2);
    }
}
