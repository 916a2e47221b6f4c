//! The kernel's memory for connections: objects in use of the caches that sockets come from, and their buffers.

use std::fs::read_to_string;

/// What a TCP socket in an epoll set takes from the kernel. `dentry` and `filp` serve all files of the machine, so this
/// is right to the degree to which nothing else opens many at that time.
const CACHES: [&str; 6] = ["TCP", "sock_inode_cache", "eventpoll_epi", "filp", "dentry", "tcp_bind_bucket"];
const PAGE: u64 = 4_096;

/// Bytes in use now; `None` if the system does not tell (`/proc/slabinfo` is for root).
pub fn bytes() -> Option<u64> {
    let sockets = read_to_string("/proc/net/sockstat").ok()?;
    Some(objects(&read_to_string("/proc/slabinfo").ok()?) + buffers(&sockets)?)
}

fn objects(slabinfo: &str) -> u64 {
    let cache = |line: &str| {
        let mut fields = line.split_whitespace();
        let known = CACHES.contains(&fields.next()?);
        let (active, size) = (fields.next()?.parse::<u64>().ok()?, fields.nth(1)?.parse::<u64>().ok()?);
        known.then_some(active * size)
    };
    slabinfo.lines().filter_map(cache).sum()
}

fn buffers(sockstat: &str) -> Option<u64> {
    let tcp = sockstat.lines().find_map(|line| line.strip_prefix("TCP:"))?;
    let pages = tcp.split_whitespace().skip_while(|word| *word != "mem").nth(1)?;
    Some(pages.parse::<u64>().ok()? * PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_is_in_use_of_the_caches_that_matter() {
        let slabinfo = "slabinfo - version: 2.1\n# name <active_objs> <num_objs> <objsize>\n\
            TCP 10 104 2368 13 8 : tunables\nfilp 100 651 192 21 1 : tunables\next4_inode 9 9 1000 1 1 :\n";
        assert_eq!(objects(slabinfo), 10 * 2_368 + 100 * 192);
    }

    #[test]
    fn counts_buffers_by_the_page() {
        let sockstat = "sockets: used 12\nTCP: inuse 1 orphan 0 tw 0 alloc 1 mem 66\nUDP: inuse 0 mem 5\n";
        assert_eq!(buffers(sockstat), Some(66 * 4_096));
        assert_eq!(buffers("UDP: inuse 0 mem 5\n"), None);
    }
}
