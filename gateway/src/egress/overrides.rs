//! Fields by which a request asks to be taken for another.
//!
//! Many frameworks take the method that `X-HTTP-Method-Override` names for that of a `POST`, and
//! some servers the path of `X-Original-URL` for that of the request. What is decided on by method
//! and path must be decided on by these too, or they are a way round.

/// Fields with a method.
const METHODS: [&[u8]; 3] = [
    b"x-http-method-override",
    b"x-http-method",
    b"x-method-override",
];
/// Fields with a path: no client has a use for them, and they are refused.
const PATHS: [&[u8]; 2] = [b"x-original-url", b"x-rewrite-url"];

const REFUSED: &str = "override_refused";

/// The method that some field asks for, if one does.
///
/// # Errors
/// The reason code of fields that ask for a path, or for a method in a way that has two readings.
pub(super) fn overriding<'h>(
    fields: impl Iterator<Item = (&'h [u8], &'h [u8])>,
) -> Result<Option<String>, &'static str> {
    let mut found: Option<String> = None;
    for (name, value) in fields {
        if is_one_of(name, &PATHS) {
            return Err(REFUSED);
        }
        if !is_one_of(name, &METHODS) {
            continue;
        }
        let method = http::Method::from_bytes(value.trim_ascii()).map_err(|_| REFUSED)?;
        let method = method.as_str();
        if found
            .as_ref()
            .is_some_and(|found| !found.eq_ignore_ascii_case(method))
        {
            return Err(REFUSED);
        }
        found.get_or_insert_with(|| method.to_owned());
    }
    Ok(found)
}

/// Whether the answer is the request (RFC 9110 section 9.3.8), with the credential that it was
/// given and that the client is not to have. `TRACK` is the same to some servers, and some do not
/// look at the case.
pub(super) fn is_echo(method: &str) -> bool {
    ["TRACE", "TRACK"]
        .iter()
        .any(|echo| method.eq_ignore_ascii_case(echo))
}

/// Whether servers may take a name for one of these.
fn is_one_of(name: &[u8], names: &[&[u8]]) -> bool {
    names.iter().any(|other| is_same_field(name, other))
}

/// Whether servers may take one name of a field for the other: some read `_` for `-` (RFC 3875
/// section 4.1.18).
pub(super) fn is_same_field(name: &[u8], other: &[u8]) -> bool {
    let plain = |byte: &u8| match byte {
        b'_' => b'-',
        byte => byte.to_ascii_lowercase(),
    };
    name.len() == other.len() && name.iter().map(plain).eq(other.iter().map(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_answers_with_the_request_is_known() {
        for (method, expected) in [
            ("TRACE", true),
            ("trace", true),
            ("Track", true),
            ("GET", false),
            ("TRACES", false),
        ] {
            assert_eq!(is_echo(method), expected, "{method}");
        }
    }

    #[test]
    fn a_method_is_found_in_any_field_and_has_one_reading() {
        let found = |fields: &[(&str, &str)]| {
            let fields = fields.iter();
            overriding(fields.map(|(name, value)| (name.as_bytes(), value.as_bytes())))
        };
        let is = |method: &str| Ok(Some(method.to_owned()));
        for (fields, expected) in [
            (&[("accept", "DELETE")][..], Ok(None)),
            (&[("X-HTTP-Method-Override", " DELETE ")], is("DELETE")),
            (&[("x_http_method", "delete")], is("delete")),
            (
                &[("X-Method-Override", "PUT"), ("x-http-method", "put")],
                is("PUT"),
            ),
            (
                &[("X-Method-Override", "PUT"), ("x-http-method", "GET")],
                Err(REFUSED),
            ),
            (&[("X-HTTP-Method-Override", "GET, PUT")], Err(REFUSED)),
            (&[("X-HTTP-Method-Override", "")], Err(REFUSED)),
            (&[("X-Original-URL", "/")], Err(REFUSED)),
            (&[("x_rewrite_url", "/")], Err(REFUSED)),
        ] {
            assert_eq!(found(fields), expected, "{fields:?}");
        }
    }
}
