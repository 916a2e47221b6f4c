//! Processor affinity: the gateway on one core, and all else on the others.

use std::fs::read_dir;

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The cores of a run, split in two. Dropping it lets this process use all of them again.
#[derive(Debug)]
pub struct CoreSplit {
    all: CpuSet,
    first: CpuSet,
}

impl CoreSplit {
    /// Moves this process, and what it starts from now on, off the first core. `None` on a machine
    /// with one core.
    pub fn begin() -> Option<Self> {
        let all = sched_getaffinity(None).ok()?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| all.is_set(*core));
        let mut first = CpuSet::new();
        first.set(cores.next()?);
        let mut others = CpuSet::new();
        cores.for_each(|core| others.set(core));
        if others.count() == 0 {
            return None;
        }
        pin(std::process::id(), &others);
        Some(Self { all, first })
    }

    /// Gives the first core to a process that runs already, with all its threads.
    pub fn give_first(&self, pid: u32) {
        pin(pid, &self.first);
    }
}

impl Drop for CoreSplit {
    fn drop(&mut self) {
        pin(std::process::id(), &self.all);
    }
}

/// Affinity is a thread's own, and a new thread has that of the thread that starts it.
fn pin(pid: u32, cores: &CpuSet) {
    let threads = read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let ids = threads.filter_map(|thread| thread.file_name().to_str()?.parse().ok());
    for thread in ids.filter_map(Pid::from_raw) {
        // A thread that has just ended has no affinity to set.
        let _ended = sched_setaffinity(Some(thread), cores);
    }
}
