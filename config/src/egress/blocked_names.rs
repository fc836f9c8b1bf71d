//! Names that no policy opens.

/// Names of metadata services and of the machine itself; no policy opens them.
const BLOCKED_NAMES: [&str; 6] = [
    "localhost",
    "metadata",
    "metadata.google.internal",
    "metadata.goog",
    "instance-data",
    "instance-data.ec2.internal",
];

/// Names that providers put in the clear part of a ClientHello whose true name is encrypted
/// (ECH, RFC 9849): who may reach one reaches any site of its provider, and nobody sees which.
const ECH_PUBLIC_NAMES: [&str; 3] = ["cloudflare-ech.com", "public.tls-ech.dev", "cover.defo.ie"];

/// Whether a name is one that stands for others whose names are encrypted.
pub fn is_ech_public_name(name: &str) -> bool {
    ECH_PUBLIC_NAMES.contains(&name)
}

/// Why a name is never reached, if it never is.
pub(super) fn why_blocked(name: &str) -> Option<&'static str> {
    if BLOCKED_NAMES.contains(&name) || name.ends_with(".localhost") {
        return Some("always_blocked");
    }
    is_ech_public_name(name).then_some("ech_public_name")
}
