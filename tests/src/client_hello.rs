//! ClientHellos as no library here sends them.

/// Bytes before the message in a record, and before its body in a message.
const RECORD_HEAD: usize = 5;
const MESSAGE_HEAD: usize = 4;
/// Most bytes of a record (RFC 8446 section 5.1).
const MAX_RECORD: usize = 1 << 14;

/// Puts an extension for an encrypted name into a ClientHello of one record, as browsers
/// do that have none to encrypt (RFC 9849 section 6.2, GREASE): an outer one whose payload
/// nobody can read.
pub fn with_ech(hello: Vec<u8>) -> Vec<u8> {
    let outer = [
        &[0, 0, 1, 0, 1, 7, 0, 32][..],
        &[9; 32],
        &[0, 144],
        &[7; 144],
    ]
    .concat();
    with_extension(hello, 0xfe0d, &outer)
}

/// Puts so many bytes of padding (RFC 7685) into a ClientHello of one record, which may need
/// several then.
pub fn with_padding(hello: Vec<u8>, length: usize) -> Vec<u8> {
    with_extension(hello, 21, &vec![0; length])
}

fn with_extension(hello: Vec<u8>, kind: u16, body: &[u8]) -> Vec<u8> {
    let version = [hello[1], hello[2]];
    let mut message = hello[RECORD_HEAD..].to_vec();
    // Version and random, then session id, cipher suites, compression methods.
    let mut at = MESSAGE_HEAD + 2 + 32;
    at += 1 + usize::from(message[at]);
    at += 2 + usize::from(u16::from_be_bytes([message[at], message[at + 1]]));
    at += 1 + usize::from(message[at]);
    let short = |length: usize| u16::try_from(length).expect("short").to_be_bytes();
    let extension = [&kind.to_be_bytes()[..], &short(body.len()), body].concat();
    let all = usize::from(u16::from_be_bytes([message[at], message[at + 1]]));
    message[at..at + 2].copy_from_slice(&short(all + extension.len()));
    message.splice(at + 2..at + 2, extension);
    let length = u32::try_from(message.len() - MESSAGE_HEAD).expect("short");
    message[1..MESSAGE_HEAD].copy_from_slice(&length.to_be_bytes()[1..]);
    let record =
        |part: &[u8]| [&[22, version[0], version[1]], &short(part.len())[..], part].concat();
    message.chunks(MAX_RECORD).flat_map(record).collect()
}
