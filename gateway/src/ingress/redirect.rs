//! The location of a redirect.

use portcullis_config::model::Redirect;

/// Parts of the request that a redirect may keep.
#[derive(Clone, Copy, Debug)]
pub(super) struct RedirectFrom<'a> {
    /// Whether the client came over TLS.
    pub secure: bool,
    /// Canonical host.
    pub host: &'a str,
    /// Port of the Host header, where it names one.
    pub port: Option<u16>,
    /// Path, rewritten where the redirect says so, with its query.
    pub target: &'a str,
}

/// Builds the value of `Location`.
///
/// The location is absolute, so that nothing in the path can be read as another
/// host. Gateway API HTTPRequestRedirectFilter: with a scheme and no port the
/// scheme's own port is meant, and a well-known port is left out.
pub(super) fn location(redirect: &Redirect, from: RedirectFrom<'_>) -> String {
    let scheme = redirect
        .scheme
        .unwrap_or(if from.secure { "https" } else { "http" });
    let host = redirect.host.as_deref().unwrap_or(from.host);
    let well_known = if scheme == "https" { 443 } else { 80 };
    let port = match (redirect.port, redirect.scheme, &redirect.host) {
        (Some(port), ..) => Some(port),
        (None, None, None) => from.port,
        _ => None,
    };
    let port = port
        .filter(|&port| port != well_known)
        .map(|port| format!(":{port}"))
        .unwrap_or_default();
    format!("{scheme}://{host}{port}{}", from.target)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: Redirect = Redirect {
        scheme: None,
        host: None,
        port: None,
        path: None,
        status: 302,
    };
    const FROM: RedirectFrom<'_> = RedirectFrom {
        secure: false,
        host: "a.test",
        port: Some(8080),
        target: "/x?y=1",
    };

    #[test]
    fn parts_are_kept_or_replaced() {
        let cases = [
            (KEEP, "http://a.test:8080/x?y=1"),
            (
                Redirect {
                    scheme: Some("https"),
                    ..KEEP
                },
                "https://a.test/x?y=1",
            ),
            (
                Redirect {
                    scheme: Some("https"),
                    port: Some(8443),
                    ..KEEP
                },
                "https://a.test:8443/x?y=1",
            ),
            (
                Redirect {
                    host: Some("b.test".into()),
                    ..KEEP
                },
                "http://b.test/x?y=1",
            ),
            (
                Redirect {
                    port: Some(80),
                    ..KEEP
                },
                "http://a.test/x?y=1",
            ),
        ];
        for (redirect, expected) in cases {
            assert_eq!(location(&redirect, FROM), expected);
        }
    }

    #[test]
    fn a_path_that_looks_like_a_host_stays_a_path() {
        let from = RedirectFrom {
            target: "//evil.test/",
            ..FROM
        };
        assert_eq!(location(&KEEP, from), "http://a.test:8080//evil.test/");
    }
}
