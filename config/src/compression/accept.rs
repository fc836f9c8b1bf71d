//! Which coding a client takes (RFC 9110 section 12.5.3).

use http::HeaderValue;

use crate::document::CompressionAlgorithm;

/// A weight in thousandths.
type Weight = u16;

/// The coding that a client likes best; of equals the first of `offered`. `None`
/// where it takes none of them, or likes the plain form better.
pub(super) fn negotiate<'v>(
    lines: impl IntoIterator<Item = &'v HeaderValue>,
    offered: &[CompressionAlgorithm],
) -> Option<CompressionAlgorithm> {
    let mut weights: Vec<(CompressionAlgorithm, Option<Weight>)> =
        offered.iter().map(|&offered| (offered, None)).collect();
    let (mut any, mut identity) = (None, None);
    for line in lines {
        for member in line.as_bytes().split(|&byte| byte == b',') {
            let Some((coding, weight)) = member_of(member) else {
                continue;
            };
            match coding {
                b"*" => any = Some(weight),
                coding if coding.eq_ignore_ascii_case(b"identity") => identity = Some(weight),
                coding => {
                    for (algorithm, wanted) in &mut weights {
                        if names(*algorithm, coding) {
                            *wanted = Some(weight);
                        }
                    }
                }
            }
        }
    }
    let mut best: Option<(CompressionAlgorithm, Weight)> = None;
    for (algorithm, weight) in weights {
        let weight = weight.or(any).unwrap_or(0);
        if weight > best.map_or(0, |(_, best)| best) {
            best = Some((algorithm, weight));
        }
    }
    best.filter(|(_, weight)| identity.is_none_or(|identity| *weight >= identity))
        .map(|(algorithm, _)| algorithm)
}

fn names(algorithm: CompressionAlgorithm, coding: &[u8]) -> bool {
    let is = |name: &str| coding.eq_ignore_ascii_case(name.as_bytes());
    match algorithm {
        CompressionAlgorithm::Zstd => is("zstd"),
        CompressionAlgorithm::Br => is("br"),
        CompressionAlgorithm::Gzip => is("gzip") || is("x-gzip"),
    }
}

/// A coding and its weight; `None` where the weight cannot be read, and so for
/// the coding itself: what a client did not say clearly is not done to it.
fn member_of(member: &[u8]) -> Option<(&[u8], Weight)> {
    let mut parts = member.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    let coding = parts.next().filter(|coding| !coding.is_empty())?;
    let mut weight = 1000;
    for parameter in parts {
        let (name, value) = parameter.split_at_checked(2)?;
        if !name.eq_ignore_ascii_case(b"q=") {
            return None;
        }
        weight = weight_of(value)?;
    }
    Some((coding, weight))
}

/// `0`, `0.5`, `1.000` (RFC 9110 section 12.4.2).
fn weight_of(text: &[u8]) -> Option<Weight> {
    let (whole, rest) = text.split_first()?;
    let fraction = match rest {
        [] => rest,
        [b'.', fraction @ ..] if fraction.len() <= 3 => fraction,
        _ => return None,
    };
    if !matches!(whole, b'0' | b'1') || !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let thousandths = [100, 10, 1]
        .iter()
        .zip(fraction)
        .map(|(unit, digit)| unit * Weight::from(digit - b'0'))
        .sum::<Weight>();
    let weight = Weight::from(whole - b'0') * 1000 + thousandths;
    (weight <= 1000).then_some(weight)
}

#[cfg(test)]
mod tests {
    use super::*;
    use CompressionAlgorithm::{Br, Gzip, Zstd};

    #[test]
    fn the_client_chooses_by_weight_and_the_policy_among_equals() {
        let cases: [(&[&str], Option<CompressionAlgorithm>); 26] = [
            (&[], None),
            (&[""], None),
            (&["gzip"], Some(Gzip)),
            (&["x-gzip"], Some(Gzip)),
            (&["GZip"], Some(Gzip)),
            (&["gzip, deflate, br, zstd"], Some(Zstd)),
            (&["gzip", "br"], Some(Br)),
            (&["gzip;q=1.0, br;q=0.5"], Some(Gzip)),
            (&["gzip ; q=0.4 ,br; q=0.5"], Some(Br)),
            (&["gzip;Q=1, zstd;q=0"], Some(Gzip)),
            (&["zstd;q=0, *"], Some(Br)),
            (&["*"], Some(Zstd)),
            (&["*;q=0"], None),
            (&["*;q=0, gzip"], Some(Gzip)),
            (&["gzip;q=0"], None),
            (&["gzip;q=0.000"], None),
            (&["identity"], None),
            (&["identity;q=0"], None),
            (&["identity;q=0, gzip;q=0.001"], Some(Gzip)),
            (&["identity;q=0.5, gzip;q=0.4"], None),
            (&["identity;q=0.5, gzip;q=0.5"], Some(Gzip)),
            (&["gzip;q=2"], None),
            (&["gzip;q=0.0001"], None),
            (&["gzip;q="], None),
            (&["gzip;x=1, br;q=0.1"], Some(Br)),
            (&["deflate, compress"], None),
        ];
        for (lines, expected) in cases {
            let lines: Vec<HeaderValue> = lines.iter().map(|line| line.parse().unwrap()).collect();
            let chosen = negotiate(&lines, &[Zstd, Br, Gzip]);
            assert_eq!(chosen, expected, "{lines:?}");
        }
        let all = HeaderValue::from_static("gzip, br, zstd");
        assert_eq!(negotiate([&all], &[Gzip, Zstd]), Some(Gzip));
        assert_eq!(negotiate([&all], &[]), None);
    }
}
