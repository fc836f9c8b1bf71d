//! The cookies of a request (RFC 6265 section 4.2).

use http::{HeaderMap, header};

/// Every cookie, by name and value, in the order in which they stand. A value
/// keeps its quotes; a part without `=` is none.
pub fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    headers
        .get_all(header::COOKIE)
        .into_iter()
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b';'))
        .filter_map(|pair| {
            let at = pair.iter().position(|&byte| byte == b'=')?;
            Some((pair[..at].trim_ascii(), pair[at + 1..].trim_ascii()))
        })
}

/// The value of a cookie, of several with the name the first: browsers send that
/// with the longest path there (RFC 6265 section 5.4).
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    cookies(headers)
        .find(|(known, _)| *known == name.as_bytes())
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn cookies_are_found_by_their_name_in_every_line() {
        let mut headers = HeaderMap::new();
        for line in ["a=1; b=\"x=y\" ;c; =d;a=2", "e=; f=6"] {
            headers.append(header::COOKIE, HeaderValue::from_static(line));
        }
        let cases = [
            ("a", Some("1")),
            ("b", Some("\"x=y\"")),
            ("c", None),
            ("e", Some("")),
            ("f", Some("6")),
            ("A", None),
            ("", Some("d")),
        ];
        for (name, expected) in cases {
            assert_eq!(
                cookie(&headers, name),
                expected.map(str::as_bytes),
                "{name}"
            );
        }
        assert_eq!(cookies(&HeaderMap::new()).count(), 0);
    }
}
