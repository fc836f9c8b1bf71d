//! Memory of a process and its children, from `/proc/<pid>/smaps_rollup`.

use std::fs;

use anyhow::Context;

use crate::cpu;

/// Returns the bytes that a process and its descendants have for themselves: anonymous and shared
/// memory, each page divided among those that have it. Files, and what the kernel holds for sockets, are
/// not in it. A descendant that ends meanwhile has none.
///
/// # Errors
///
/// When there is no such process, or it is another user's.
pub(super) fn of_tree(root: u32) -> anyhow::Result<u64> {
    let descendants = cpu::descendants(root)?;
    let of_descendants = descendants.into_iter().filter_map(|pid| of_one(pid).ok());
    Ok(of_one(root)? + of_descendants.sum::<u64>())
}

fn of_one(pid: u32) -> anyhow::Result<u64> {
    let file = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&file).with_context(|| format!("reading {file}"))?;
    own(&text).with_context(|| format!("{file} does not tell Pss_Anon"))
}

/// Bytes of the lines of anonymous and of shared memory (proc_pid_smaps(5)).
fn own(text: &str) -> Option<u64> {
    let line = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let kib = line.trim().strip_suffix(" kB")?;
        kib.parse::<u64>().ok()
    };
    Some((line("Pss_Anon:")? + line("Pss_Shmem:")?) << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anonymous_and_shared_memory_count() {
        let text = "Rss:  900 kB\nPss:   800 kB\nPss_Anon:     100 kB\nPss_File:  690 kB\nPss_Shmem:  10 kB\n";
        assert_eq!(own(text), Some(110 << 10));
        assert_eq!(own("Rss:  900 kB\n"), None);
    }

    #[test]
    fn memory_that_is_written_counts() {
        let of_this = || of_tree(std::process::id()).unwrap();
        let before = of_this();
        let block = std::hint::black_box(vec![1u8; 64 << 20]);
        let after = of_this();
        assert!(after > before + (48 << 20), "{before} {after}");
        drop(block);
    }
}
