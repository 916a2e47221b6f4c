//! What a server has used: all of its processes, with their children.

use std::fs::{read_dir, read_to_string};
use std::time::Duration;

use tokio::time::sleep;

/// What processes have used until now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time in user and kernel mode, in nanoseconds.
    pub cpu: u64,
    /// Resident memory in bytes.
    pub rss: u64,
}

impl Usage {
    /// Of these processes and all that they started.
    pub fn of(pids: &[u32]) -> Self {
        let family = family(pids, &parents());
        let cpu = family.iter().map(|pid| cpu(*pid)).sum();
        Self { cpu, rss: family.iter().map(|pid| rss(*pid)).sum() }
    }

    /// Processor seconds since an earlier time.
    pub fn seconds_since(self, before: Self) -> f64 {
        self.cpu.saturating_sub(before.cpu) as f64 / 1e9
    }

    /// The same, once memory has not moved for a second: allocators give back late.
    pub async fn settled(pids: &[u32]) -> Self {
        let mut last = [0; 6];
        for _ in 0..100 {
            last.rotate_left(1);
            last[5] = Self::of(pids).rss;
            if last.iter().all(|rss| rss.abs_diff(last[5]) * 1_000 <= last[5]) {
                break;
            }
            sleep(Duration::from_millis(200)).await;
        }
        Self::of(pids)
    }
}

/// All processes of the machine with their parents.
fn parents() -> Vec<(u32, u32)> {
    let entries = read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| Some((pid, parent(&read_to_string(format!("/proc/{pid}/stat")).ok()?)?))).collect()
}

/// The parent in a `stat` line, whose second field may hold spaces and parentheses.
fn parent(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn family(pids: &[u32], parents: &[(u32, u32)]) -> Vec<u32> {
    let mut family = pids.to_vec();
    let mut at = 0;
    while let Some(pid) = family.get(at).copied() {
        let children = parents.iter().filter(|(child, parent)| *parent == pid && !family.contains(child));
        family.extend(children.map(|(child, _)| *child).collect::<Vec<_>>());
        at += 1;
    }
    family
}

/// The sum over its threads: to the nanosecond, while that of the process itself comes in hundredths of a second. What
/// threads used that have ended is not in it; servers keep theirs.
fn cpu(pid: u32) -> u64 {
    let threads = read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let used = threads.filter_map(|thread| read_to_string(thread.path().join("schedstat")).ok());
    used.filter_map(|text| text.split_whitespace().next()?.parse::<u64>().ok()).sum()
}

fn rss(pid: u32) -> u64 {
    let status = read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|text| text.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or_default() * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_all_that_descend() {
        let parents = [(2, 1), (3, 2), (4, 3), (5, 1), (6, 9)];
        assert_eq!(family(&[2], &parents), [2, 3, 4]);
        assert_eq!(family(&[2, 4, 6], &parents), [2, 4, 6, 3]);
    }

    #[test]
    fn a_parent_is_found_behind_any_name() {
        assert_eq!(parent("12 (a) b) S 7 12 12 0"), Some(7));
        assert_eq!(parent("12 (a"), None);
    }

    #[test]
    fn this_process_uses_something() {
        let before = Usage::of(&[std::process::id()]);
        let sum: u64 = (0..20_000_000u64).map(std::hint::black_box).sum();
        assert!(sum > 0 && before.rss > 100 * 1024);
        assert!(Usage::of(&[std::process::id()]).seconds_since(before) > 0.0);
    }
}
