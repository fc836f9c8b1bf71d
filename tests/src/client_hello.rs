//! ClientHellos as no library here sends them.

/// Puts an extension for an encrypted name into a ClientHello of one record, as browsers
/// do that have none to encrypt (RFC 9849 section 6.2, GREASE): an outer one whose payload
/// nobody can read.
pub fn with_ech(mut hello: Vec<u8>) -> Vec<u8> {
    const HEAD: usize = 5 + 4;
    // Version and random, then session id, cipher suites, compression methods.
    let mut at = HEAD + 2 + 32;
    at += 1 + usize::from(hello[at]);
    at += 2 + usize::from(u16::from_be_bytes([hello[at], hello[at + 1]]));
    at += 1 + usize::from(hello[at]);
    let outer = [
        &[0, 0, 1, 0, 1, 7, 0, 32][..],
        &[9; 32],
        &[0, 144],
        &[7; 144],
    ]
    .concat();
    let length = u16::try_from(outer.len()).expect("short").to_be_bytes();
    let extension = [&[0xfe, 0x0d], &length[..], &outer].concat();
    let longer = |bytes: &mut [u8]| {
        let more = extension.len() + usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
        let more = u16::try_from(more).expect("short").to_be_bytes();
        bytes[..2].copy_from_slice(&more);
    };
    // The lengths of the record, the message and the extensions.
    longer(&mut hello[3..5]);
    longer(&mut hello[7..9]);
    longer(&mut hello[at..at + 2]);
    hello.splice(at + 2..at + 2, extension);
    hello
}
