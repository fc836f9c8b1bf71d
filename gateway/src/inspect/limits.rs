//! The bounds of a profile, as the engine takes them.

use portcullis_config::model::{BodyOverLimit, UndecodableBody, WafProfile};
use portcullis_waf::{
    BodyOverLimit as EngineOverLimit, Limits, UndecodableBody as EngineUndecodable,
};

/// The bounds of a transaction under a profile. What the profile has no setting for is the
/// engine's own.
pub(super) fn limits(profile: &WafProfile) -> Limits {
    let body_limit = bytes(profile.body_limit);
    let limits = &profile.limits;
    Limits {
        max_request_body_bytes: body_limit,
        max_request_text_bytes: body_limit,
        request_over_limit: over_limit(profile.over_limit),
        max_response_body_bytes: bytes(profile.response_body_limit),
        response_over_limit: over_limit(profile.response_over_limit),
        max_decoding_ratio: profile.max_decoding_ratio as usize,
        request_undecodable: match profile.undecodable {
            UndecodableBody::Refuse => EngineUndecodable::Reject,
            UndecodableBody::InspectEncoded => EngineUndecodable::InspectEncoded,
        },
        max_arguments: limits.max_arguments as usize,
        max_headers: limits.max_headers as usize,
        max_cookies: limits.max_cookies as usize,
        max_json_depth: limits.max_json_depth as usize,
        max_json_name_bytes: bytes(limits.max_json_names),
        max_xml_depth: limits.max_xml_depth as usize,
        max_xml_attributes: limits.max_xml_attributes as usize,
        max_multipart_parts: limits.max_parts as usize,
        max_multipart_files: limits.max_files as usize,
        max_matches: limits.max_matches as usize,
        max_tx_variables: limits.max_tx_variables as usize,
        max_work: limits.max_work,
        max_audit_matches: limits.max_audit_matches as usize,
        max_audit_value_bytes: bytes(limits.max_audit_text),
        ..Limits::default()
    }
}

fn bytes(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}

fn over_limit(wanted: BodyOverLimit) -> EngineOverLimit {
    match wanted {
        BodyOverLimit::Refuse => EngineOverLimit::Reject,
        BodyOverLimit::InspectPrefix => EngineOverLimit::InspectPrefix,
        BodyOverLimit::Skip => EngineOverLimit::Skip,
    }
}

#[cfg(test)]
mod tests {
    use portcullis_config::{
        read::{SourceFile, read},
        validate::validate,
    };

    use super::*;

    #[test]
    fn defaults_of_a_profile_are_those_of_the_engine() {
        let read = read(&[SourceFile {
            name: "a.yaml".into(),
            text: "wafProfiles: [{name: a}]\n".into(),
        }]);
        let model = validate(&read.document, &read.origins).model;
        let found = limits(&model.waf_profiles[0]);
        let engine = Limits {
            // A profile has one bound for both, and documents it.
            max_request_body_bytes: found.max_request_body_bytes,
            ..Limits::default()
        };
        assert_eq!(found, engine);
    }
}
