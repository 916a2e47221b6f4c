//! How many files, and so connections, the process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// More connections than anybody means, where the system sets no limit.
const MOST: u64 = 1_000_000;
/// Files that are not connections of the hub, at the most: the way to the store, listeners, requests that are answered
/// at once, among them those that are turned away.
const OTHERS: u64 = 512;

/// Lets the process open as many files as it may at the most. A limit below that is there for programs that use
/// `select`, which this one does not.
pub fn raise() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Where it may not, the limit stays as it is.
    let _as_it_is = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// How many connections the process can hold, after [`raise`].
pub fn connections() -> usize {
    room(getrlimit(Resource::Nofile).maximum)
}

fn room(files: Option<u64>) -> usize {
    let files = files.unwrap_or(MOST);
    (files - OTHERS.min(files / 4)).clamp(1, MOST) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_left_for_other_files() {
        assert_eq!(room(Some(20_000)), 19_488);
        assert_eq!(room(Some(1_024)), 768);
        assert_eq!(room(Some(0)), 1);
        assert_eq!(room(None), 999_488);
        assert_eq!(room(Some(u64::MAX)), 1_000_000);
    }
}
