//! How many files, and so connections, the process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// More connections than anybody means, where the system sets no limit.
const MOST: u64 = 1_000_000;
/// Files that are not connections of the hub, at the most: the way to the store, listeners, the admin listener's sockets,
/// requests that are answered at once, among them those that are turned away.
const OTHERS: u64 = 512;
/// The same at the least, where there are few files in all: 33 are open before the first connection comes.
const FEW: u64 = 96;

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

/// How many sockets the public listener may have: those connections, and a third of the rest.
pub fn sockets() -> usize {
    let files = getrlimit(Resource::Nofile).maximum;
    room(files) + others(files) / 3
}

/// How many sockets the admin listener has for sure; the public one does not get their descriptors.
pub fn admin_sockets() -> usize {
    others(getrlimit(Resource::Nofile).maximum) / 6
}

/// How many sockets all listeners may have together, before the admin listener is held to its own.
pub fn all_sockets() -> usize {
    let files = getrlimit(Resource::Nofile).maximum.unwrap_or(MOST);
    files.saturating_sub(FEW).clamp(1, MOST) as usize
}

fn room(files: Option<u64>) -> usize {
    let files = files.unwrap_or(MOST);
    (files - others(Some(files)) as u64).clamp(1, MOST) as usize
}

fn others(files: Option<u64>) -> usize {
    let files = files.unwrap_or(MOST);
    (files / 4).clamp(FEW, OTHERS).min(files / 2) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_left_for_other_files() {
        assert_eq!(room(Some(20_000)), 19_488);
        assert_eq!(room(Some(1_024)), 768);
        assert_eq!(room(Some(200)), 104);
        assert_eq!(room(Some(0)), 1);
        assert_eq!(room(None), 999_488);
        assert_eq!(room(Some(u64::MAX)), 1_000_000);
    }
}
