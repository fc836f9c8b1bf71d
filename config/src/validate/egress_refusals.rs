//! What clients of the egress proxy are told that are refused.

use std::sync::Arc;

use super::{report::Report, text};
use crate::document::EgressRefusals;

/// Characters of `contact`: it stands in every answer, and in error messages of programs.
const MAX_CONTACT: usize = 200;

/// How people ask for access.
pub(super) fn contact(
    refusals: Option<&EgressRefusals>,
    report: &mut Report<'_>,
) -> Option<Arc<str>> {
    let contact = refusals?.contact.as_deref()?;
    let fault = text::one_line(contact).err().or_else(|| {
        let length = contact.chars().count();
        (length > MAX_CONTACT)
            .then(|| format!("{length} characters, and at most {MAX_CONTACT} are shown"))
    });
    if let Some(fault) = fault {
        report.error_hint(
            "egress.refusals.contact",
            fault,
            "a text or a URL that tells people how to ask for access",
        );
        return None;
    }
    Some(contact.into())
}

#[cfg(test)]
mod tests {
    use crate::{
        document::{Document, Egress, EgressRefusals},
        read::Origins,
        validate::validate,
    };

    #[test]
    fn a_contact_is_one_line_that_is_seen_as_it_is() {
        let long = "a".repeat(201);
        for (contact, told) in [
            ("https://wiki.example.com/egress", None),
            ("#egress in the chat, or Zo\u{eb}", None),
            (&long[..200], None),
            (&long, Some("201 characters, and at most 200")),
            ("", Some("is empty")),
            (" ", Some("begins or ends with a blank")),
            ("a\r\nx-header: b", Some("U+000D")),
            ("a\u{1b}[2J", Some("U+001B")),
            ("a\u{85}b", Some("U+0085")),
            ("a\u{2028}b", Some("U+2028")),
            ("a\u{202e}b", Some("U+202E")),
        ] {
            let refusals = EgressRefusals {
                contact: Some(contact.to_owned()),
            };
            let document = Document {
                egress: Some(Egress {
                    refusals: Some(refusals),
                    ..Egress::default()
                }),
                ..Document::default()
            };
            let validated = validate(&document, &Origins::default());
            let problems = validated.problems.iter();
            let mut of_contact = problems.filter(|one| one.path == "egress.refusals.contact");
            let reason = of_contact.next().map(|problem| problem.reason.clone());
            let kept = validated.model.egress.and_then(|egress| egress.contact);
            match told {
                None => assert_eq!((kept.as_deref(), reason), (Some(contact), None)),
                Some(told) => {
                    let reason = reason.unwrap_or_default();
                    assert!(reason.contains(told), "{contact:?}: {reason}");
                    assert_eq!(kept, None, "{contact:?}");
                }
            }
        }
    }
}
