//! The question and the answer of `grpc.health.v1.Health/Check`.
//!
//! Two messages of one field each, so they are written and read here; the form is that
//! of gRPC over HTTP/2 and of Protocol Buffers.

use bytes::{BufMut, Bytes, BytesMut};

/// Path of the method.
pub(super) const PATH: &str = "/grpc.health.v1.Health/Check";

/// `SERVING` of `HealthCheckResponse.ServingStatus`.
const SERVING: u64 = 1;

/// Longest answer that is read.
pub(super) const MAX_ANSWER: usize = 1024;

/// `HealthCheckRequest { service }`, in its frame.
pub(super) fn question(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        // Field 1, length-delimited; configuration keeps names below two bytes of varint.
        message.put_u8(1 << 3 | 2);
        put_varint(&mut message, service.len() as u64);
        message.put_slice(service.as_bytes());
    }
    let mut frame = BytesMut::with_capacity(5 + message.len());
    // Not compressed.
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put_slice(&message);
    frame.freeze()
}

/// Judges a body: `HealthCheckResponse { status }`, in its frame.
pub(super) fn judge(body: &[u8]) -> Result<(), String> {
    let malformed = || "no answer of grpc.health.v1".to_owned();
    let (&compressed, rest) = body.split_first().ok_or_else(malformed)?;
    let (length, message) = rest.split_at_checked(4).ok_or_else(malformed)?;
    let length = length
        .iter()
        .fold(0, |length, &byte| length << 8 | usize::from(byte));
    if compressed != 0 || length != message.len() {
        return Err(malformed());
    }
    match status(message).ok_or_else(malformed)? {
        SERVING => Ok(()),
        0 => Err("it says UNKNOWN".into()),
        2 => Err("it says NOT_SERVING".into()),
        3 => Err("it says SERVICE_UNKNOWN".into()),
        other => Err(format!("it says {other}")),
    }
}

/// Field 1 of a message; 0 where it is not there, as Protocol Buffers have it.
fn status(mut message: &[u8]) -> Option<u64> {
    let mut status = 0;
    while !message.is_empty() {
        let key = take_varint(&mut message)?;
        match key & 7 {
            0 => {
                let value = take_varint(&mut message)?;
                if key >> 3 == 1 {
                    status = value;
                }
            }
            1 => message = message.get(8..)?,
            2 => {
                let length = usize::try_from(take_varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            5 => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn put_varint(out: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_has_the_form_of_grpc() {
        assert_eq!(&question("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&question("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        let long = "s".repeat(200);
        assert_eq!(question(&long)[..8], [0, 0, 0, 0, 203, 0x0a, 0xc8, 1]);
    }

    #[test]
    fn only_serving_is_well() {
        assert_eq!(judge(&[0, 0, 0, 0, 2, 8, 1]), Ok(()));
        // A field that a later version may have.
        assert_eq!(judge(&[0, 0, 0, 0, 6, 0x12, 2, 9, 9, 8, 1]), Ok(()));
        for (body, said) in [
            (&[0, 0, 0, 0, 0][..], "UNKNOWN"),
            (&[0, 0, 0, 0, 2, 8, 2], "NOT_SERVING"),
            (&[0, 0, 0, 0, 2, 8, 3], "SERVICE_UNKNOWN"),
            (&[0, 0, 0, 0, 2, 8, 9], "9"),
            (&[], "no answer"),
            (&[0, 0, 0, 0], "no answer"),
            (&[1, 0, 0, 0, 2, 8, 1], "no answer"),
            (&[0, 0, 0, 0, 3, 8, 1], "no answer"),
            (&[0, 0, 0, 0, 2, 8, 0x81], "no answer"),
            (&[0, 0, 0, 0, 2, 0x0a, 200], "no answer"),
            (&[0, 255, 255, 255, 255, 8, 1], "no answer"),
        ] {
            let refused = judge(body).expect_err("not well");
            assert!(refused.contains(said), "{body:?}: {refused}");
        }
    }
}
