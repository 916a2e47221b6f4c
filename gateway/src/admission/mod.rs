//! Who may come in: how many connections this replica holds, in all, of one user and from one origin.
//!
//! Asked when a connection comes and told when it leaves, never in between. One over a limit is turned away, and none is
//! ended to make room: it would come back at once and push out the next.

mod origin;
mod pace;
mod places;
mod sockets;
mod tally;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use smallvec::SmallVec;
use tidings_shared::Address;

pub use self::origin::{Origin, Proxies};
pub use self::pace::{Pace, Ticket, Turn};
pub use self::places::{Place, Places};
pub use self::sockets::{HeldSocket, OpenSocket, SocketLimit};
use self::tally::Tally;

/// The most connections of each kind. For users and origins 0 is no limit.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Of this replica.
    pub connections: usize,
    /// That follow one user.
    pub user: usize,
    /// From one origin.
    pub origin: usize,
}

/// What a connection that is turned away was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// The connections of this replica.
    Connections,
    /// Those of a user.
    User,
    /// Those from an origin.
    Origin,
    /// Those that a worker takes in a second.
    Rate,
    /// The streams of an HTTP/2 connection.
    Streams,
    /// The addresses of this replica.
    Addresses,
    /// The connections of this replica that wait to begin.
    Waiting,
}

impl Limit {
    /// Every limit there is.
    pub const ALL: [Limit; 7] =
        [Self::Connections, Self::User, Self::Origin, Self::Rate, Self::Streams, Self::Addresses, Self::Waiting];

    /// Its word, as in `limits.connections`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::User => "user",
            Self::Origin => "origin",
            Self::Rate => "rate",
            Self::Streams => "streams",
            Self::Addresses => "addresses",
            Self::Waiting => "waiting",
        }
    }

    /// What it means that it is reached.
    pub fn as_sentence(self) -> &'static str {
        match self {
            Self::Connections => "this gateway has as many connections as it may",
            Self::User => "a user that you follow has as many connections as it may",
            Self::Origin => "as many connections come from your network address as may",
            Self::Rate => "more connections come than this gateway takes up in a second",
            Self::Streams => "this HTTP/2 connection has as many streams as it may",
            Self::Addresses => "there is no room for more addresses, or new ones come too fast",
            Self::Waiting => "as many connections wait to begin as may",
        }
    }
}

/// The connections of a replica, counted over all workers. A clone is the same count.
#[derive(Debug, Clone)]
pub struct Admission(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limits: Limits,
    connections: AtomicUsize,
    users: Tally<Arc<Address>>,
    origins: Tally<Origin>,
    log: Mutex<Quiet>,
}

impl Admission {
    /// Nobody is in.
    pub fn new(limits: Limits) -> Self {
        Self(Arc::new(Inner {
            limits,
            connections: AtomicUsize::new(0),
            users: Tally::new(limits.user),
            origins: Tally::new(limits.origin),
            log: Mutex::default(),
        }))
    }

    /// Lets in a connection that comes from `origin`, if that is known, and follows `addresses`; or says over which limit
    /// it would be. It is in until the answer is dropped.
    pub fn admit(&self, origin: Option<Origin>, addresses: &[Arc<Address>]) -> Result<Admitted, Limit> {
        let Inner { limits, connections, users, origins, .. } = &*self.0;
        let more = |count| (count < limits.connections).then_some(count + 1);
        connections.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).map_err(|_| Limit::Connections)?;
        // From here on dropping it gives back whatever it has taken.
        let mut admitted = Admitted { admission: self.clone(), origin: None, users: SmallVec::new() };
        if let Some(origin) = origin.filter(|_| limits.origin > 0) {
            origins.enter(&origin).ok_or(Limit::Origin)?;
            admitted.origin = Some(origin);
        }
        for user in addresses.iter().filter(|address| limits.user > 0 && matches!(***address, Address::User(_))) {
            users.enter(user).ok_or(Limit::User)?;
            admitted.users.push(Arc::clone(user));
        }
        Ok(admitted)
    }

    /// How many are in.
    pub fn connections(&self) -> usize {
        self.0.connections.load(Ordering::Relaxed)
    }

    /// Logs that a connection was turned away, at most once a second.
    pub fn complain(&self, limit: Limit, now: Instant) {
        let mut log = self.0.log.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(refused) = log.count(now) {
            let connections = self.connections();
            tracing::warn!(
                limit = limit.as_str(),
                refused,
                connections,
                "over a limit; clients are told to come later"
            );
        }
    }
}

/// A connection that is in, until this is dropped.
#[derive(Debug)]
pub struct Admitted {
    admission: Admission,
    origin: Option<Origin>,
    users: SmallVec<[Arc<Address>; 1]>,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let Inner { connections, users, origins, .. } = &*self.admission.0;
        connections.fetch_sub(1, Ordering::Relaxed);
        self.origin.iter().for_each(|origin| origins.leave(origin));
        self.users.iter().for_each(|user| users.leave(user));
    }
}

/// Counts what happens, and says once a second how much it was.
#[derive(Debug, Default)]
struct Quiet {
    count: u64,
    told: Option<Instant>,
}

impl Quiet {
    /// One more; the count since it was last told, if it is time to tell.
    fn count(&mut self, now: Instant) -> Option<u64> {
        self.count += 1;
        if self.told.is_some_and(|told| now.saturating_duration_since(told) < Duration::from_secs(1)) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(connections: usize, user: usize, origin: usize) -> Admission {
        Admission::new(Limits { connections, user, origin })
    }

    fn addresses(names: &[&str]) -> Vec<Arc<Address>> {
        names.iter().map(|name| Arc::new(name.parse().unwrap())).collect()
    }

    fn origin(text: &str) -> Option<Origin> {
        Some(Origin::of(text.parse().unwrap()))
    }

    #[test]
    fn a_place_is_free_again_when_its_connection_has_left() {
        let admission = admission(2, 0, 0);
        let first = admission.admit(None, &[]).unwrap();
        let _second = admission.admit(None, &[]).unwrap();
        assert_eq!(admission.admit(None, &[]).unwrap_err(), Limit::Connections);
        assert_eq!(admission.connections(), 2);
        drop(first);
        assert!(admission.admit(None, &[]).is_ok());
    }

    #[test]
    fn users_count_by_name_and_not_by_their_topics() {
        let admission = admission(100, 1, 0);
        let _alice = admission.admit(None, &addresses(&["@alice", "orders/1"])).unwrap();
        assert_eq!(admission.admit(None, &addresses(&["@bob", "@alice"])).unwrap_err(), Limit::User);
        // What it had taken for @bob before it failed is given back.
        let _others = ["@bob", "@alice/inbox", "alice", "orders/1"]
            .map(|name| admission.admit(None, &addresses(&[name])).unwrap());
    }

    #[test]
    fn origins_count_whom_they_bring() {
        let admission = admission(100, 0, 2);
        let held = ["10.0.0.1", "10.0.0.1", "10.0.0.2"].map(|ip| admission.admit(origin(ip), &[]).unwrap());
        assert_eq!(admission.admit(origin("10.0.0.1"), &[]).unwrap_err(), Limit::Origin);
        assert!(admission.admit(None, &[]).is_ok(), "from nobody knows where");
        drop(held);
        assert!(admission.admit(origin("10.0.0.1"), &[]).is_ok());
    }

    #[test]
    fn nothing_is_left_of_who_left_and_who_was_turned_away() {
        let admission = admission(3, 1, 2);
        let held: Vec<_> = (0..5).map(|_| admission.admit(origin("::1"), &addresses(&["@a"]))).collect();
        assert_eq!(held.iter().filter(|admitted| admitted.is_ok()).count(), 1);
        drop(held);
        assert_eq!(admission.connections(), 0);
        assert!(admission.0.users.is_empty() && admission.0.origins.is_empty());
    }

    #[test]
    fn a_complaint_a_second_tells_of_all() {
        let (mut quiet, now) = (Quiet::default(), Instant::now());
        assert_eq!(quiet.count(now), Some(1));
        assert_eq!((quiet.count(now), quiet.count(now)), (None, None));
        assert_eq!(quiet.count(now + Duration::from_secs(1)), Some(3));
    }
}
