//! Files that are mounts of their own, as `subPath` of a Kubernetes volume makes them.
//!
//! Such a mount stays with the file that was there when it was made: a new one that takes
//! its place, which is how volumes are updated, is never seen.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

/// Those of these files that are mounts of their own. None where the system does not
/// tell of mounts.
pub fn own_mounts<'a>(files: impl IntoIterator<Item = &'a PathBuf>) -> Vec<&'a Path> {
    let mounts = fs::read("/proc/self/mountinfo").unwrap_or_default();
    let mounts: BTreeSet<PathBuf> = mount_points(&mounts).collect();
    files
        .into_iter()
        .filter(|file| fs::canonicalize(file).is_ok_and(|real| mounts.contains(&real)))
        .map(PathBuf::as_path)
        .collect()
}

/// The fifth field of each line (proc_pid_mountinfo(5)), where blanks are octal escapes.
fn mount_points(mountinfo: &[u8]) -> impl Iterator<Item = PathBuf> {
    mountinfo
        .split(|&byte| byte == b'\n')
        .filter_map(|line| line.split(|&byte| byte == b' ').nth(4))
        .map(|field| OsString::from_vec(unescape(field)).into())
}

fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        match after {
            [
                a @ b'0'..=b'3',
                b @ b'0'..=b'7',
                c @ b'0'..=b'7',
                after @ ..,
            ] if byte == b'\\' => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            _ => {
                out.push(byte);
                rest = after;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_with_their_escapes() {
        let text = b"63 43 254:0 /a /cfg/x.yaml rw - ext4 /dev/vda rw\n64 43 0:5 / /with\\040blank\\134 rw - tmpfs tmpfs rw\nshort\n";
        let found: Vec<_> = mount_points(text).collect();
        assert_eq!(
            found,
            [Path::new("/cfg/x.yaml"), Path::new("/with blank\\")]
        );
    }
}
