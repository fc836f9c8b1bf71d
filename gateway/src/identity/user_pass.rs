//! The credentials of Basic: a name and a password in one (RFC 7617 section 2).

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

/// Some clients leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Takes the credentials of Basic apart, which are at most so many bytes.
pub(crate) fn name_and_password(encoded: &[u8], max: usize) -> Option<(Vec<u8>, Vec<u8>)> {
    let encoded = encoded.trim_ascii();
    if encoded.len() > max * 2 {
        return None;
    }
    let mut name = BASE64.decode(encoded).ok()?;
    if name.len() > max {
        return None;
    }
    let at = name.iter().position(|&byte| byte == b':')?;
    let password = name.split_off(at + 1);
    name.truncate(at);
    Some((name, password))
}
