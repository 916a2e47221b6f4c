//! Sockets of a listener, counted from when they are accepted: one that says nothing holds a descriptor and no place.
//!
//! Only silent sockets are closed to make room, the oldest first. A client that waits in silence loses nothing: it has
//! asked for nothing yet.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::{Origin, Proxies};
use crate::metrics::Metrics;

/// The sockets of a listener, over all its workers. A clone is the same.
#[derive(Debug, Clone)]
pub struct SocketLimit(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    max: usize,
    /// The number from which each origin is held to its share.
    crowded: usize,
    /// The most silent ones of one origin, so that one client pushes out its own before those of others.
    max_silent: usize,
    proxies: Arc<Proxies>,
    metrics: Metrics,
    /// The sockets of all listeners, and how many there may be before this one is held to `max`, not to `most`.
    all: Arc<AtomicUsize>,
    spare: usize,
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    open: usize,
    serial: u64,
    /// By serial, and so by age.
    silent: BTreeMap<u64, Silent>,
    origins: HashMap<Origin, BTreeSet<u64>>,
}

#[derive(Debug)]
struct Silent {
    origin: Option<Origin>,
    told: Arc<Notify>,
}

/// A socket that is open, for as long as this lives, and may be silent.
#[derive(Debug)]
pub struct OpenSocket {
    // First, so that it is not among the silent ones when it is not counted any more.
    silent: Option<Silence>,
    held: HeldSocket,
    origin: Option<Origin>,
}

/// A socket that is open, for as long as this lives, and counted. It is small, as there is one for each stream.
#[derive(Debug)]
pub struct HeldSocket(SocketLimit);

/// The time for which a socket is silent.
#[derive(Debug)]
struct Silence {
    limit: SocketLimit,
    serial: u64,
    told: Arc<Notify>,
}

/// The least number of silent sockets that an origin may have: browsers open some in advance.
const LEAST: usize = 16;

impl SocketLimit {
    /// At most `max` sockets. Each of the `proxies` brings many clients, and so may have any number of silent ones.
    pub fn new(max: usize, proxies: Arc<Proxies>, metrics: Metrics) -> Self {
        Self::build(max..=max, 0, Arc::default(), proxies, metrics)
    }

    /// Those of another listener beside it, which has as many sockets as `bounds` begin with for sure, and as many as they
    /// end with while all together are no more than `spare`.
    pub fn beside(&self, bounds: RangeInclusive<usize>, spare: usize) -> Self {
        Self::build(bounds, spare, Arc::clone(&self.0.all), Arc::default(), self.0.metrics.clone())
    }

    fn build(
        bounds: RangeInclusive<usize>,
        spare: usize,
        all: Arc<AtomicUsize>,
        proxies: Arc<Proxies>,
        metrics: Metrics,
    ) -> Self {
        let (max, most) = bounds.into_inner();
        let max_silent = (max / 4).max(LEAST);
        let crowded = max - max / 8;
        Self(Arc::new(Shared { max, crowded, max_silent, proxies, metrics, all, spare, most, state: Mutex::default() }))
    }

    /// Counts a socket that was accepted and has said nothing yet. If there is no room for it, the oldest silent one is
    /// told to leave, perhaps this very one.
    pub fn open(&self, peer: Option<IpAddr>) -> OpenSocket {
        let origin = peer.filter(|peer| !self.0.proxies.trusts(*peer)).map(Origin::of);
        let mut socket = OpenSocket { silent: None, held: HeldSocket::new(self.clone()), origin };
        socket.fall_silent();
        socket
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn remove(&mut self, serial: u64) -> Option<Silent> {
        let silent = self.silent.remove(&serial)?;
        if let Some(origin) = silent.origin
            && let Some(all) = self.origins.get_mut(&origin)
        {
            all.remove(&serial);
            if all.is_empty() {
                self.origins.remove(&origin);
            }
        }
        Some(silent)
    }

    /// The silent socket that has to leave, if one has.
    fn surplus(&self, origin: Option<Origin>, shared: &Shared) -> Option<u64> {
        let is_spare = shared.all.load(Ordering::Relaxed) <= shared.spare;
        if is_spare && self.open <= shared.most {
            return None;
        }
        let own = origin.and_then(|origin| self.origins.get(&origin));
        match own {
            // Below that a crowd behind one address, which connects before it speaks, is no harm.
            Some(own) if self.open > shared.crowded && own.len() > shared.max_silent => own.first().copied(),
            _ if self.open > shared.max => self.silent.keys().next().copied(),
            _ => None,
        }
    }
}

impl OpenSocket {
    /// It has said something: it is not closed to make room.
    pub fn speak(&mut self) {
        self.silent = None;
    }

    /// The same socket, which has said all that it will: it never waits for its client again.
    pub fn into_held(self) -> HeldSocket {
        self.held
    }

    /// It waits for its client again, which has asked for nothing.
    pub fn fall_silent(&mut self) {
        if self.silent.is_some() {
            return;
        }
        let told = Arc::new(Notify::new());
        let limit = &self.held.0;
        let shared = &limit.0;
        let mut state = limit.lock();
        state.serial += 1;
        let serial = state.serial;
        state.silent.insert(serial, Silent { origin: self.origin, told: Arc::clone(&told) });
        if let Some(origin) = self.origin {
            state.origins.entry(origin).or_default().insert(serial);
        }
        let surplus = state.surplus(self.origin, shared);
        if let Some(silent) = surplus.and_then(|serial| state.remove(serial)) {
            silent.told.notify_one();
            shared.metrics.add_silent_closed();
        }
        drop(state);
        self.silent = Some(Silence { limit: limit.clone(), serial, told });
    }

    /// Waits until it has to leave. Never, unless it is silent.
    pub async fn surplus(&self) {
        match &self.silent {
            Some(silence) => silence.told.notified().await,
            None => std::future::pending().await,
        }
    }
}

impl HeldSocket {
    fn new(limit: SocketLimit) -> Self {
        limit.0.metrics.add_sockets(1);
        limit.lock().open += 1;
        limit.0.all.fetch_add(1, Ordering::Relaxed);
        Self(limit)
    }
}

impl Drop for HeldSocket {
    fn drop(&mut self) {
        self.0.lock().open -= 1;
        self.0.0.all.fetch_sub(1, Ordering::Relaxed);
        self.0.0.metrics.add_sockets(-1);
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        self.limit.lock().remove(self.serial);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn limit(max: usize) -> SocketLimit {
        let proxies = Proxies::new(vec!["10.0.0.0/8".parse().unwrap()]);
        SocketLimit::new(max, Arc::new(proxies), Metrics::new())
    }

    fn is_surplus(socket: &OpenSocket) -> bool {
        socket.surplus().now_or_never().is_some()
    }

    fn open(limit: &SocketLimit, ip: &str) -> OpenSocket {
        limit.open(Some(ip.parse().unwrap()))
    }

    #[test]
    fn the_oldest_silent_one_leaves_when_there_is_no_room() {
        let limit = limit(3);
        let mut sockets: Vec<OpenSocket> = (1..4).map(|n| open(&limit, &format!("192.0.2.{n}"))).collect();
        sockets[0].speak();
        let fourth = open(&limit, "192.0.2.9");
        assert_eq!(sockets.iter().map(is_surplus).collect::<Vec<_>>(), [false, true, false]);
        assert!(!is_surplus(&fourth));
        drop(sockets.remove(1));
        let fifth = open(&limit, "192.0.2.9");
        assert_eq!([&sockets[0], &sockets[1], &fourth, &fifth].map(is_surplus), [false, true, false, false]);
    }

    #[test]
    fn one_that_falls_silent_again_is_the_youngest() {
        let limit = limit(2);
        let (mut first, second) = (open(&limit, "192.0.2.1"), open(&limit, "192.0.2.2"));
        first.speak();
        first.fall_silent();
        let _third = open(&limit, "192.0.2.3");
        assert_eq!([&first, &second].map(is_surplus), [false, true]);
    }

    #[test]
    fn an_origin_pushes_out_its_own() {
        let limit = limit(1_000);
        let honest = open(&limit, "192.0.2.1");
        let surplus = |sockets: &[OpenSocket]| sockets.iter().filter(|socket| is_surplus(socket)).count();
        let flood: Vec<OpenSocket> = (0..874).map(|_| open(&limit, "192.0.2.2")).collect();
        assert_eq!(surplus(&flood), 0, "there is room");
        let more: Vec<OpenSocket> = (0..50).map(|_| open(&limit, "192.0.2.2")).collect();
        assert_eq!((surplus(&flood), surplus(&more)), (50, 0));
        assert!(!is_surplus(&honest));
        let proxied: Vec<OpenSocket> = (0..75).map(|_| open(&limit, "10.1.2.3")).collect();
        assert_eq!((surplus(&flood), surplus(&proxied)), (0, 0), "told once each, and a proxy is held to no share");
    }

    #[test]
    fn a_listener_beside_has_its_own_and_what_is_spare() {
        let public = limit(10);
        let admin = public.beside(2..=50, 6);
        let services: Vec<OpenSocket> = (0..6).map(|n| open(&admin, &format!("192.0.2.{n}"))).collect();
        assert!(!services.iter().any(is_surplus), "there is room");
        let _page = open(&public, "192.0.2.9");
        let _seventh = open(&admin, "192.0.2.9");
        assert_eq!(services.iter().filter(|socket| is_surplus(socket)).count(), 1);
        drop(services);
        let _pages: Vec<OpenSocket> = (0..9).map(|_| open(&public, "192.0.2.9")).collect();
        assert!(!is_surplus(&open(&admin, "192.0.2.9")), "two are its own");
    }

    #[test]
    fn nothing_is_left_of_sockets_that_closed() {
        let limit = limit(10);
        let sockets: Vec<OpenSocket> = (0..50).map(|_| open(&limit, "192.0.2.1")).collect();
        drop(sockets);
        let state = limit.lock();
        assert_eq!((state.open, state.silent.len(), state.origins.len()), (0, 0, 0));
    }
}
