//! The machine that figures are from.

use std::fs::read_to_string;

/// One line on the machine: processor, cores, memory, kernel, and how busy it is already.
pub fn describe() -> String {
    let field = |file: &str, name: &str| {
        let text = read_to_string(file).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_once(':')).map_or("?".to_owned(), |(_, value)| value.trim().to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory: u64 = field("/proc/meminfo", "MemTotal").trim_end_matches(" kB").parse().unwrap_or_default();
    let kernel = read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let busy = read_to_string("/proc/loadavg").unwrap_or_default();
    let busy = busy.split_whitespace().next().unwrap_or("?");
    let processor = field("/proc/cpuinfo", "model name");
    let memory = memory / 1024 / 1024;
    format!("{processor}, {cores} cores, {memory} GiB, Linux {}, load average {busy} before", kernel.trim())
}
