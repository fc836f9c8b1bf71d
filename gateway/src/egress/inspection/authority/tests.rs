//! What is an authority, and what it signs.

use std::net::IpAddr;

use rcgen::{BasicConstraints, CertifiedIssuer, date_time_ymd};
use x509_parser::extensions::{GeneralName, ParsedExtension};

use super::*;

fn settings() -> EgressInspection {
    EgressInspection {
        certificate: "ca.crt".into(),
        key: "ca.key".into(),
        trust: None,
        max_certificates: 10,
        certificate_lifetime: Duration::from_secs(86_400),
        max_streams: 100,
    }
}

fn params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn made(params: CertificateParams) -> (String, String) {
    let key = KeyPair::generate().expect("a key");
    let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
    (issuer.pem(), issuer.key().serialize_pem())
}

fn load(certificate: &str, key: &str) -> Result<SigningAuthority, (&'static str, String)> {
    let files = (certificate.as_bytes(), key.as_bytes());
    SigningAuthority::new(&settings(), files, [0; 32])
}

/// An authority that may sign.
pub(in crate::egress::inspection) fn authority() -> SigningAuthority {
    let (certificate, key) = made(params());
    load(&certificate, &key).expect("an authority")
}

#[test]
fn what_is_no_authority_is_refused_with_its_field() {
    let (certificate, key) = made(params());
    let (_, other) = made(params());
    let with = |change: &dyn Fn(&mut CertificateParams)| {
        let mut params = params();
        change(&mut params);
        made(params)
    };
    let leaf = with(&|params| params.is_ca = IsCa::ExplicitNoCa);
    let no_right = with(&|params| params.key_usages = vec![KeyUsagePurpose::DigitalSignature]);
    let of_clients = with(&|params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    for ((certificate, key), field, says) in [
        (("", key.as_str()), "certificate", "ca.crt: holds no PEM"),
        (
            (&key, &key),
            "certificate",
            "ca.crt: holds no PEM certificate",
        ),
        ((&certificate, ""), "key", "ca.key: no private key in PEM"),
        (
            (&certificate, &certificate),
            "key",
            "ca.key: no private key in PEM",
        ),
        (
            (&certificate, &other),
            "key",
            "ca.key: not the key of ca.crt",
        ),
        (
            (&leaf.0, &leaf.1),
            "certificate",
            "not the certificate of an authority",
        ),
        (
            (&no_right.0, &no_right.1),
            "certificate",
            "no right to sign",
        ),
        (
            (&of_clients.0, &of_clients.1),
            "certificate",
            "may not sign certificates of servers",
        ),
    ] {
        let (told, reason) = load(certificate, key).expect_err(says);
        assert_eq!(told, field, "{reason}");
        assert!(reason.contains(says), "{reason}");
    }
}

#[test]
fn an_authority_out_of_its_time_is_one_that_signs_nothing() {
    let now = SystemTime::now();
    let host = Host::Name("api.example".into());
    for (from, until, says) in [
        (2019, 2020, Some("ca.crt: ended at")),
        (2998, 2999, Some("ca.crt: not valid before")),
        (2020, 2998, None),
    ] {
        let mut params = params();
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let (certificate, key) = made(params);
        let authority = load(&certificate, &key).expect("an authority");
        let told = authority.untimely(now);
        assert_eq!(told.is_some(), says.is_some(), "{told:?}");
        assert!(told.unwrap_or_default().contains(says.unwrap_or_default()));
        assert_eq!(authority.sign(&host, now).is_err(), says.is_some());
    }
}

#[test]
fn a_certificate_is_of_its_host_alone_and_ends_with_the_authority() {
    let mut ending = params();
    let now = SystemTime::now();
    ending.not_after = (now + Duration::from_secs(1000)).into();
    let (certificate, key) = made(ending);
    let authority = load(&certificate, &key).expect("an authority");
    let long = format!("{}.example", "a".repeat(63));
    let address: IpAddr = "2001:db8::1".parse().expect("an address");
    let hosts = [
        Host::Name("api.example".into()),
        Host::Name(long),
        Host::Address(address),
    ];
    let mut serials = Vec::new();
    for host in hosts {
        let leaf = authority.sign(&host, now).expect("a certificate");
        assert_eq!(leaf.pair.cert.len(), 2);
        assert!(leaf.renewed < now + Duration::from_secs(501));
        let (_, parsed) = X509Certificate::from_der(&leaf.pair.cert[0]).expect("DER");
        let (_, issuer) = X509Certificate::from_der(&leaf.pair.cert[1]).expect("DER");
        parsed
            .verify_signature(Some(issuer.public_key()))
            .expect("signed by the authority");
        assert_eq!(parsed.issuer(), issuer.subject());
        assert_eq!(
            parsed.validity().not_after,
            issuer.validity().not_after,
            "not after the authority"
        );
        let began = parsed.validity().not_before.timestamp();
        assert!(began <= seconds(now) - 3500, "backdated: {began}");
        assert!(!parsed.is_ca());
        let purposes = parsed.extended_key_usage().expect("one").expect("one");
        assert!(purposes.value.server_auth && !purposes.value.client_auth);
        let names = parsed.subject_alternative_name().expect("one");
        let names = &names.expect("names").value.general_names;
        match (&host, names.as_slice()) {
            (Host::Name(host), [GeneralName::DNSName(name)]) => assert_eq!(host, name),
            (Host::Address(IpAddr::V6(address)), [GeneralName::IPAddress(bytes)]) => {
                assert_eq!(*bytes, address.octets());
            }
            other => panic!("{other:?}"),
        }
        let named = |extension: &ParsedExtension<'_>| {
            matches!(extension, ParsedExtension::AuthorityKeyIdentifier(_))
        };
        assert!(
            parsed
                .extensions()
                .iter()
                .any(|extension| named(extension.parsed_extension()))
        );
        serials.push(parsed.raw_serial().to_vec());
    }
    serials.sort();
    serials.dedup();
    assert_eq!(serials.len(), 3);
    let later = now + Duration::from_secs(2000);
    let refused = authority.sign(&Host::Name("api.example".into()), later);
    let refused = refused.expect_err("the authority has ended").to_string();
    assert!(refused.contains("ended at"), "{refused}");
}
