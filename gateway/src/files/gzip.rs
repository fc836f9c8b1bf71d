//! Content that was packed with gzip, for places that take little.

use std::io::Read;

use flate2::read::MultiGzDecoder;

use super::contents::size;

/// Unpacks a content, to at most so many bytes: a small one may stand for gigabytes.
///
/// # Errors
/// What is no gzip, is cut off, or unpacks to more.
pub(crate) fn unpack(packed: &[u8], max: u64) -> Result<Vec<u8>, String> {
    let mut content = Vec::new();
    MultiGzDecoder::new(packed)
        .take(max + 1)
        .read_to_end(&mut content)
        .map_err(|error| format!("cannot be unpacked as gzip: {error}"))?;
    match content.len() as u64 > max {
        true => Err(format!("unpacks to more than {}", size(max))),
        false => Ok(content),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn packed(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(content).expect("memory");
        encoder.finish().expect("memory")
    }

    #[test]
    fn what_was_packed_comes_back() {
        assert_eq!(unpack(&packed(b"text"), 4).as_deref(), Ok(&b"text"[..]));
        // As `cat a.gz b.gz` makes it (RFC 1952 section 2.2).
        let two = [packed(b"one "), packed(b"two")].concat();
        assert_eq!(unpack(&two, 100).as_deref(), Ok(&b"one two"[..]));
    }

    #[test]
    fn what_is_no_gzip_or_too_much_is_refused() {
        let bomb = packed(&vec![b'a'; 8 << 20]);
        assert!(bomb.len() < 64 << 10);
        let refused = unpack(&bomb, 1 << 20);
        assert_eq!(refused, Err("unpacks to more than 1 MiB".to_owned()));
        let whole = packed(b"some text");
        for wrong in [&b""[..], b"listeners: []", &whole[..whole.len() - 3]] {
            let refused = unpack(wrong, 1 << 20).expect_err("no gzip");
            assert!(
                refused.starts_with("cannot be unpacked as gzip: "),
                "{refused}"
            );
        }
    }
}
