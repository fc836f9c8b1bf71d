//! CPU time of a process and its children, from `/proc/<pid>/stat`.
//!
//! In: a process id. Out: user and system time of the process, its threads and
//! every living descendant, plus the time of descendants it has waited for.
//! Other processes are only read, never touched.
//!
//! The fields are those of proc_pid_stat(5). The kernel counts in ticks of
//! 10 ms, so a round in which a peer spends three seconds of CPU is known to
//! about a third of a percent.

use std::{fs, io, time::Duration};

use anyhow::{Context, bail};
use nix::time::{ClockId, clock_gettime};

/// Length of a tick of `/proc/<pid>/stat`. `USER_HZ` is 100 on every
/// architecture that Portcullis is built for.
const TICK: Duration = Duration::from_millis(10);

/// What one line of `/proc/<pid>/stat` says about lineage and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessTimes {
    /// Process id.
    pub pid: u32,
    /// Process id of the parent.
    pub parent: u32,
    /// Ticks in user and kernel mode: own, all threads, and children waited for.
    pub ticks: u64,
}

/// Returns the CPU time of this process so far, to the nanosecond.
///
/// # Errors
///
/// When the system has no such clock.
pub fn own() -> anyhow::Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?.into())
}

/// Returns the CPU time of a process and all its descendants so far.
///
/// # Errors
///
/// When there is no such process, or `/proc` cannot be read.
pub fn of_tree(root: u32) -> anyhow::Result<Duration> {
    let ticks: u64 = tree(root)?.iter().map(|process| process.ticks).sum();
    Ok(ticks_to_duration(ticks))
}

/// Returns the ids of all living descendants of a process, without itself.
///
/// # Errors
///
/// When there is no such process, or `/proc` cannot be read.
pub fn descendants(root: u32) -> anyhow::Result<Vec<u32>> {
    let mut pids: Vec<u32> = tree(root)?.iter().map(|process| process.pid).collect();
    pids.retain(|pid| *pid != root);
    Ok(pids)
}

fn tree(root: u32) -> anyhow::Result<Vec<ProcessTimes>> {
    let all = all_processes().context("reading /proc")?;
    let tree = select_tree(&all, root);
    if tree.is_empty() {
        bail!("process {root} is gone");
    }
    Ok(tree)
}

fn all_processes() -> io::Result<Vec<ProcessTimes>> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // A process that ended since the folder was listed is nobody's.
        let Ok(line) = fs::read(format!("/proc/{pid}/stat")) else {
            continue;
        };
        all.extend(parse_stat(&String::from_utf8_lossy(&line)));
    }
    Ok(all)
}

/// Reads one line of `/proc/<pid>/stat`; `None` when it is not one.
///
/// The second field is the command in parentheses and may itself hold spaces
/// and parentheses, so the rest is counted from the last closing one.
pub fn parse_stat(line: &str) -> Option<ProcessTimes> {
    let (head, rest) = line.rsplit_once(')')?;
    let pid = head.split_once(" (")?.0.trim().parse().ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // `rest` starts with field 3, the state: field n stands at index n - 3.
    let number = |field: usize| fields.get(field - 3)?.parse::<i64>().ok();
    let parent = u32::try_from(number(4)?).ok()?;
    let mut ticks = 0;
    for field in 14..=17 {
        ticks += u64::try_from(number(field)?).ok()?;
    }
    Some(ProcessTimes { pid, parent, ticks })
}

fn select_tree(all: &[ProcessTimes], root: u32) -> Vec<ProcessTimes> {
    let mut tree: Vec<ProcessTimes> = all.iter().filter(|p| p.pid == root).copied().collect();
    let mut next = 0;
    while let Some(parent) = tree.get(next).map(|process| process.pid) {
        tree.extend(all.iter().filter(|p| p.parent == parent && p.pid != parent));
        next += 1;
    }
    tree
}

fn ticks_to_duration(ticks: u64) -> Duration {
    Duration::from_millis(ticks.saturating_mul(TICK.as_millis() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str =
        "4242 (ng) inx (x) S 41 4242 4242 0 -1 4194560 1 2 3 4 310 220 30 4 20 0 1 0 99 1 1";

    #[test]
    fn a_command_with_parentheses_does_not_shift_the_fields() {
        assert_eq!(
            parse_stat(LINE),
            Some(ProcessTimes {
                pid: 4242,
                parent: 41,
                ticks: 564
            })
        );
    }

    #[test]
    fn a_cut_or_foreign_line_is_refused() {
        for line in ["", "12", "12 (a", "12 (a) S", "12 (a) S 1 2 3", "x (a) S 1"] {
            assert_eq!(parse_stat(line), None, "{line:?}");
        }
    }

    #[test]
    fn a_tree_holds_children_of_children_and_nobody_else() {
        let process = |pid, parent, ticks| ProcessTimes { pid, parent, ticks };
        let all = [
            process(1, 0, 1000),
            process(12, 11, 4),
            process(10, 1, 1),
            process(11, 10, 2),
            process(20, 1, 500),
        ];
        let pids: Vec<u32> = select_tree(&all, 10).iter().map(|p| p.pid).collect();
        assert_eq!(pids, [10, 11, 12]);
        assert!(select_tree(&all, 99).is_empty());
    }

    #[test]
    fn this_process_has_a_cpu_time() {
        let pid = std::process::id();
        let before = of_tree(pid).unwrap();
        let mut sum = 0u64;
        while of_tree(pid).unwrap() < before + 3 * TICK {
            sum = sum.wrapping_add(std::hint::black_box(1));
        }
        assert!(sum > 0);
    }

    #[test]
    fn ticks_are_hundredths_of_a_second() {
        assert_eq!(ticks_to_duration(564), Duration::from_millis(5640));
    }
}
