//! What a backend is told of a client's certificate.

use std::fmt::Write;

use base64::{Engine, prelude::BASE64_STANDARD};
use http::HeaderName;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use portcullis_config::model::ClientCertificateHeader;

use super::ClientCertificate;

/// The headers that are asked for, made once for a connection. Without a
/// certificate only that there is none is told.
pub fn client_headers(
    wanted: &[ClientCertificateHeader],
    certificate: Option<&ClientCertificate>,
) -> Vec<(HeaderName, Vec<u8>)> {
    use ClientCertificateHeader as Header;
    let told = wanted.iter().filter_map(|header| {
        let name = match header {
            Header::SslClientVerify => "ssl-client-verify",
            Header::SslClientSubjectDn => "ssl-client-subject-dn",
            Header::SslClientIssuerDn => "ssl-client-issuer-dn",
            Header::SslClientSerial => "ssl-client-serial",
            Header::SslClientFingerprint => "ssl-client-fingerprint",
            Header::SslClientCert => "ssl-client-cert",
            Header::XForwardedClientCert => "x-forwarded-client-cert",
        };
        let value = match (header, certificate) {
            (Header::SslClientVerify, Some(shown)) => match shown.verified {
                true => "SUCCESS".to_owned(),
                false => "FAILED:unverified".to_owned(),
            },
            (Header::SslClientVerify, None) => "NONE".to_owned(),
            (_, None) => return None,
            (Header::SslClientSubjectDn, Some(shown)) => shown.subject.clone(),
            (Header::SslClientIssuerDn, Some(shown)) => shown.issuer.clone(),
            (Header::SslClientSerial, Some(shown)) => shown.serial.clone(),
            (Header::SslClientFingerprint, Some(shown)) => shown.fingerprint.clone(),
            (Header::SslClientCert, Some(shown)) => {
                utf8_percent_encode(&pem(shown), ESCAPED).to_string()
            }
            (Header::XForwardedClientCert, Some(shown)) => forwarded(shown),
        };
        Some((HeaderName::from_static(name), value.into_bytes()))
    });
    told.collect()
}

fn pem(certificate: &ClientCertificate) -> String {
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    let der = certificate.chain.first().map_or(&[][..], |der| der);
    let encoded = BASE64_STANDARD.encode(der);
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

/// What is escaped: all but the unreserved characters of RFC 3986.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// `Hash=...;Subject="...";URI=...;DNS=...`, as Envoy documents it.
fn forwarded(certificate: &ClientCertificate) -> String {
    let subject = certificate
        .subject
        .replace('\\', "\\\\")
        .replace('"', "\\\"");
    let mut value = format!("Hash={};Subject=\"{subject}\"", certificate.fingerprint);
    for (kind, prefix) in [("URI", "URI:"), ("DNS", "DNS:")] {
        for name in certificate
            .names
            .iter()
            .filter_map(|n| n.strip_prefix(prefix))
        {
            let plain = !name.contains(['"', '\\', ',', ';', '=']);
            let name = name.replace('\\', "\\\\").replace('"', "\\\"");
            let quote = if plain { "" } else { "\"" };
            // Writing into a String does not fail.
            let _ = write!(value, ";{kind}={quote}{name}{quote}");
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate() -> ClientCertificate {
        ClientCertificate {
            verified: true,
            chain: vec![vec![0xff; 60].into()],
            subject: "CN=a\\,b".into(),
            issuer: "CN=ca".into(),
            serial: "01".into(),
            fingerprint: "ab".into(),
            names: vec![
                "URI:spiffe://a/b".into(),
                "DNS:a.test".into(),
                "DNS:a;By=evil".into(),
                "IP:10.0.0.1".into(),
            ],
        }
    }

    #[test]
    fn without_a_certificate_only_that_is_told() {
        use ClientCertificateHeader::{SslClientCert, SslClientSubjectDn, SslClientVerify};
        let told = client_headers(&[SslClientVerify, SslClientSubjectDn, SslClientCert], None);
        assert_eq!(
            told,
            [(
                HeaderName::from_static("ssl-client-verify"),
                b"NONE".to_vec()
            )]
        );
    }

    #[test]
    fn values_are_quoted_where_they_could_be_read_as_more() {
        assert_eq!(
            forwarded(&certificate()),
            "Hash=ab;Subject=\"CN=a\\\\,b\";URI=spiffe://a/b;DNS=a.test;DNS=\"a;By=evil\""
        );
    }

    #[test]
    fn a_certificate_is_one_word() {
        let told = utf8_percent_encode(&pem(&certificate()), ESCAPED).to_string();
        assert!(
            told.starts_with("-----BEGIN%20CERTIFICATE-----%0A"),
            "{told}"
        );
        assert!(
            told.ends_with("%0A-----END%20CERTIFICATE-----%0A"),
            "{told}"
        );
        assert!(
            told.contains("%2F%2F%2F"),
            "base64 of 0xff is escaped: {told}"
        );
    }
}
