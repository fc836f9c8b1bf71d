//! Authentications.

use super::{Known, external::external, report::Report, text};
use crate::{
    document,
    model::{Authentication, AuthenticationMethod, Backend, Basic},
};

const DEFAULT_REALM: &str = "Restricted";

pub(super) fn authentication(
    path: &str,
    wanted: &document::Authentication,
    backends: &Known<Backend>,
    report: &mut Report<'_>,
) -> Authentication {
    let method = match (&wanted.basic, &wanted.external) {
        (Some(settings), None) => {
            AuthenticationMethod::Basic(basic(&format!("{path}.basic"), settings, report))
        }
        (None, Some(settings)) => {
            let path = format!("{path}.external");
            AuthenticationMethod::External(Box::new(external(&path, settings, backends, report)))
        }
        (both, _) => {
            let reason = match both {
                Some(_) => "an authentication with two methods",
                None => "an authentication without a method",
            };
            let hint =
                "give it one of `basic` and `external`; `policies.authentication` may name several";
            report.error_hint(path, reason, hint);
            // An item with an error is left out.
            AuthenticationMethod::Basic(Basic::default())
        }
    };
    Authentication {
        name: wanted.name.clone(),
        method,
        preflight: wanted.preflight.unwrap_or_default(),
    }
}

fn basic(path: &str, wanted: &document::BasicAuthentication, report: &mut Report<'_>) -> Basic {
    let place = format!("{path}.users");
    if wanted.users.is_empty() {
        report.error_hint(
            &place,
            "a file is missing",
            "write one with `htpasswd -B -c users.htpasswd NAME`",
        );
    }
    let realm = wanted.realm.as_deref().unwrap_or(DEFAULT_REALM);
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~');
    if realm.is_empty() || !realm.bytes().all(is_plain) {
        report.error(
            format!("{path}.realm"),
            format!("{realm:?} is not a realm: visible ASCII and blanks"),
        );
    }
    let user_header = wanted.user_header.as_ref().and_then(|name| {
        let place = format!("{path}.userHeader");
        report.ok(&place, text::identity_header(name))
    });
    Basic {
        users: report.origins().resolve(&place, &wanted.users),
        realm: realm.to_owned(),
        user_header,
        forward_credentials: wanted.forward_credentials.unwrap_or(false),
    }
}
