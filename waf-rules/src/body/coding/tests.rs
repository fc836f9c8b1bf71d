use std::io::Write;

use flate2::{
    Compression,
    write::{DeflateEncoder, GzEncoder, ZlibEncoder},
};
use proptest::prelude::*;

use super::{Decoded, FREE_BYTES, MAX_MEMBERS, Undecodable, codings, decode};
use crate::limits::Limits;

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zlib(text: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn raw(text: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn brotli(text: &[u8]) -> Vec<u8> {
    let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22);
    encoder.write_all(text).unwrap();
    encoder.into_inner()
}

fn decoded(body: &[u8], header: &str, is_cut: bool) -> Result<Decoded, Undecodable> {
    let codings = codings([header.as_bytes()].into_iter())?;
    decode(body, &codings, is_cut, &Limits::default())
}

#[test]
fn each_coding_is_undone() {
    let text = b"{\"a\":\"marker7\"}";
    for (header, body) in [
        ("gzip", gzip(text)),
        ("X-GZip", gzip(text)),
        ("deflate", zlib(text)),
        ("deflate", raw(text)),
        ("br", brotli(text)),
        ("gzip, gzip", gzip(&gzip(text))),
        ("br,identity, gzip,", gzip(&brotli(text))),
        ("identity", text.to_vec()),
        ("", text.to_vec()),
        ("gzip", [gzip(&text[..5]), gzip(&text[5..])].concat()),
    ] {
        let decoded = decoded(&body, header, false).unwrap();
        assert_eq!(decoded.bytes, text, "{header}");
        assert!(!decoded.is_cut, "{header}");
    }
}

#[test]
fn several_fields_are_one_list() {
    let headers: [&[u8]; 2] = [b"br", b"gzip"];
    let codings = codings(headers.into_iter()).unwrap();
    let decoded = decode(&gzip(&brotli(b"x")), &codings, false, &Limits::default());
    assert_eq!(decoded.unwrap().bytes, b"x");
}

#[test]
fn what_cannot_be_undone_is_told() {
    let text = b"a text that is not too short, a text that is not too short";
    for header in ["zstd", "compress", "gzip, x", "gzip;q=1", "br, br, br"] {
        let undecodable = decoded(&gzip(text), header, false).unwrap_err();
        assert_eq!(undecodable, Undecodable::Unknown, "{header}");
    }
    let cut = |body: Vec<u8>| body[..body.len() - 3].to_vec();
    let longer = |body: Vec<u8>| [body, b"xyz".to_vec()].concat();
    let mut flipped = gzip(text);
    flipped[15] ^= 0xff;
    for (header, body) in [
        ("gzip", text.to_vec()),
        ("deflate", text.to_vec()),
        ("br", text.to_vec()),
        ("gzip", flipped),
        ("gzip", cut(gzip(text))),
        ("deflate", cut(zlib(text))),
        ("deflate", cut(raw(text))),
        ("br", cut(brotli(text))),
        ("gzip", longer(gzip(text))),
        ("deflate", longer(zlib(text))),
        ("deflate", longer(raw(text))),
        ("br", longer(brotli(text))),
        ("gzip", zlib(text)),
        ("gzip", gzip(b"").repeat(MAX_MEMBERS + 1)),
        // The window of a gigabyte, which only an extension of brotli has.
        ("br", vec![0x11, 0x1e, 0xff, 0xff, 0xff, 0xff]),
    ] {
        let undecodable = decoded(&body, header, false).map(|decoded| decoded.bytes);
        assert_eq!(undecodable, Err(Undecodable::Broken), "{header} {body:?}");
    }
}

#[test]
fn a_body_that_is_cut_is_decoded_up_to_the_cut() {
    let text: Vec<u8> = (0..60_000_u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    for (header, body) in [
        ("gzip", gzip(&text)),
        ("deflate", zlib(&text)),
        ("deflate", raw(&text)),
        ("br", brotli(&text)),
    ] {
        let decoded = decoded(&body[..body.len() / 2], header, true).unwrap();
        assert!(decoded.is_cut, "{header}");
        assert!(
            decoded.bytes.len() > text.len() / 4,
            "{header} {}",
            decoded.bytes.len()
        );
        assert!(text.starts_with(&decoded.bytes), "{header}");
    }
}

#[test]
fn a_bomb_is_cut_at_its_ratio_and_at_the_limit() {
    let zeros = vec![0; 32 << 20];
    for (header, body) in [
        ("gzip", gzip(&zeros)),
        ("deflate", zlib(&zeros)),
        ("br", brotli(&zeros)),
        ("gzip, gzip", gzip(&gzip(&zeros))),
        ("gzip, br", brotli(&gzip(&zeros))),
    ] {
        let limits = Limits::default();
        let most = (body.len() * limits.max_decoding_ratio).max(FREE_BYTES);
        let decoded = decoded(&body, header, false).unwrap();
        assert!(decoded.is_cut, "{header}");
        assert!(
            decoded.bytes.len() <= most.min(limits.max_request_body_bytes),
            "{header}"
        );
    }
    // Below what is free no ratio counts.
    let decoded = decoded(&gzip(&zeros[..FREE_BYTES]), "gzip", false).unwrap();
    assert_eq!((decoded.bytes.len(), decoded.is_cut), (FREE_BYTES, false));
}

proptest! {
    #[test]
    fn no_body_panics_or_grows_beyond_its_bounds(body: Vec<u8>, kind in 0..5_usize, is_cut: bool, seed: u8) {
        let header = ["gzip", "deflate", "br", "br, gzip", "deflate, deflate"][kind];
        let valid = [gzip(&body), zlib(&body), brotli(&body), gzip(&brotli(&body)), raw(&zlib(&body))];
        let mut broken = valid[kind].clone();
        let at = usize::from(seed) % broken.len();
        broken[at] ^= 1 << (seed % 8);
        for body in [&body, &valid[kind], &broken] {
            if let Ok(decoded) = decoded(body, header, is_cut) {
                prop_assert!(decoded.bytes.len() <= FREE_BYTES.max(body.len() * 100));
            }
        }
        let decoded = decoded(&valid[kind], header, false).unwrap();
        prop_assert_eq!(decoded.bytes, body);
    }
}
