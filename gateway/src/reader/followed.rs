//! The addresses that this gateway follows: who wants each, and a bound over what all of them got lately.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indexmap::IndexMap;
use smallvec::SmallVec;
use tidings_shared::{Address, Id, Partition};
use tokio::sync::watch;

use super::delivery::AddressNames;
use super::outbox::WorkerId;
use super::recent::{Reach, Recent};
use crate::frame::Frame;

/// An address that this gateway follows.
#[derive(Debug)]
pub struct Followed {
    /// Where it lives.
    pub partition: Partition,
    /// Its channel.
    pub channel: Box<str>,
    /// The workers that have connections which follow it.
    pub workers: SmallVec<[WorkerId; 8]>,
    /// While the subscription is not acknowledged: becomes true when it is.
    pub pending: Option<watch::Receiver<bool>>,
    /// What it got lately.
    recent: Recent,
    /// The SSE event names of what it got, the one that came last at the end.
    names: Vec<Arc<str>>,
    /// When the last worker left, while none is here.
    left: Option<Instant>,
}

impl Followed {
    /// What it got lately, once its subscription is acknowledged: before that something may come in to nobody.
    pub fn recent(&self) -> Option<&Recent> {
        self.pending.is_none().then_some(&self.recent)
    }

    /// Notes that an event of this name came. True if the name is new.
    fn note_name(&mut self, name: &Arc<str>) -> bool {
        let Some(at) = self.names.iter().position(|known| known == name) else {
            if self.names.len() == MAX_NAMES {
                self.names.remove(0);
            }
            self.names.push(Arc::clone(name));
            return true;
        };
        self.names[at..].rotate_left(1);
        false
    }
}

/// All addresses that this gateway follows. Their recent frames share one bound in bytes; the oldest go first.
#[derive(Debug)]
pub struct FollowTable {
    /// Grows without a look at what is in it: with 100,000 addresses the reader would stand still for that. So the map
    /// keeps the hashes, and the values are elsewhere.
    addresses: IndexMap<Arc<Address>, Box<Followed>>,
    /// The address of each recent frame, oldest first. May name frames that are gone already.
    order: VecDeque<Arc<Address>>,
    frames: usize,
    bytes: usize,
    limit: usize,
    /// How long an address stays after the last connection left, so that a page change or a broken connection costs no
    /// subscription, and its recent frames are still here.
    linger: Duration,
    left: VecDeque<(Instant, Arc<Address>)>,
    /// How many linger: nobody follows them.
    lingering: usize,
    /// Addresses of which workers have yet to hear the names.
    renamed: Vec<Arc<Address>>,
}

/// The most SSE event names that are kept of an address. A resync is said under each.
const MAX_NAMES: usize = 16;

impl FollowTable {
    /// An empty table whose recent frames may take `limit` bytes.
    pub fn new(limit: usize, linger: Duration) -> Self {
        Self {
            addresses: IndexMap::new(),
            order: VecDeque::new(),
            frames: 0,
            bytes: 0,
            limit,
            linger,
            left: VecDeque::new(),
            lingering: 0,
            renamed: Vec::new(),
        }
    }

    /// What is known of `address`.
    pub fn get(&self, address: &Address) -> Option<&Followed> {
        self.addresses.get(address).map(Box::as_ref)
    }

    /// The same, to change.
    pub fn get_mut(&mut self, address: &Address) -> Option<&mut Followed> {
        self.addresses.get_mut(address).map(Box::as_mut)
    }

    /// All of them.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut Followed> {
        self.addresses.values_mut().map(Box::as_mut)
    }

    /// How many linger, as nobody follows them any more.
    pub fn lingering(&self) -> usize {
        self.lingering
    }

    /// How many there are, with those that linger.
    pub fn len(&self) -> usize {
        self.addresses.len()
    }

    /// Notes that `worker` follows `address`. True if the address is new, and must be subscribed.
    pub fn follow(
        &mut self,
        worker: WorkerId,
        address: &Arc<Address>,
        home: impl FnOnce() -> (Partition, Box<str>),
    ) -> bool {
        let mut new = false;
        self.addresses.entry(Arc::clone(address)).or_insert_with(|| {
            new = true;
            let (partition, channel) = home();
            let workers = SmallVec::new();
            let (recent, names) = (Recent::default(), Vec::new());
            Box::new(Followed { partition, channel, workers, pending: None, recent, names, left: None })
        });
        self.follow_known(worker, address);
        new
    }

    /// Notes that `worker` follows `address`, if that is in the table.
    pub fn follow_known(&mut self, worker: WorkerId, address: &Arc<Address>) {
        let Some(followed) = self.addresses.get_mut(address) else { return };
        self.lingering -= usize::from(followed.left.take().is_some());
        if !followed.workers.contains(&worker) {
            followed.workers.push(worker);
            if !followed.names.is_empty() {
                self.renamed.push(Arc::clone(address));
            }
        }
    }

    /// Notes that `worker` no longer follows `address`.
    pub fn leave(&mut self, worker: WorkerId, address: &Arc<Address>, now: Instant) {
        let Some(followed) = self.addresses.get_mut(address) else { return };
        let before = followed.workers.len();
        followed.workers.retain(|other| *other != worker);
        // Not if it had left before: connections that come and go while the store is away leave without having followed.
        if followed.workers.is_empty() && before > 0 {
            followed.left = Some(now);
            self.lingering += 1;
            self.left.push_back((now, Arc::clone(address)));
        }
    }

    /// Notes that `worker` follows nothing any more.
    pub fn leave_all(&mut self, worker: WorkerId, now: Instant) {
        let left: Vec<Arc<Address>> =
            self.addresses.iter().filter(|(_, f)| f.workers.contains(&worker)).map(|(a, _)| Arc::clone(a)).collect();
        left.iter().for_each(|address| self.leave(worker, address, now));
    }

    /// Forgets the addresses that nobody has followed for as long as they linger; tells their channels.
    pub fn expire(&mut self, now: Instant) -> Vec<String> {
        let linger = self.linger;
        self.forget_while(|_, left| now.duration_since(left) >= linger)
    }

    /// Forgets up to `count` addresses that linger, those first that were left first; tells their channels.
    pub fn forget_lingering(&mut self, count: usize) -> Vec<String> {
        self.forget_while(|forgotten, _| forgotten < count)
    }

    /// Forgets addresses that linger, those first that were left first, while `more` wants it: it gets the count of
    /// those that are forgotten, and when the next was left. Tells their channels.
    fn forget_while(&mut self, more: impl Fn(usize, Instant) -> bool) -> Vec<String> {
        let (mut channels, mut pending) = (Vec::new(), Vec::new());
        while self.left.front().is_some_and(|(at, _)| more(channels.len(), *at)) {
            let Some((at, address)) = self.left.pop_front() else { break };
            match self.addresses.get(&address).filter(|followed| followed.left == Some(at)) {
                // An UNSUBSCRIBE must not overtake the SUBSCRIBE. It is looked at again next time.
                Some(followed) if followed.pending.is_some() => pending.push((at, address)),
                Some(_) => channels.extend(self.remove(&address)),
                None => {}
            }
        }
        pending.into_iter().rev().for_each(|entry| self.left.push_front(entry));
        channels
    }

    fn remove(&mut self, address: &Arc<Address>) -> Option<String> {
        let followed = self.addresses.swap_remove(address)?;
        self.lingering -= usize::from(followed.left.is_some());
        let (frames, bytes) = followed.recent.size();
        self.frames -= frames;
        self.bytes -= bytes;
        Some(followed.channel.into())
    }

    /// Keeps a frame of an address for connections that come back.
    pub fn remember(&mut self, address: &Arc<Address>, id: Id, frame: &Frame) {
        self.note_names(address, [frame]);
        self.change(address, |recent| recent.push(id, frame));
        self.make_room();
    }

    /// Notes the SSE event names of frames of an address, however old they are. They outlive the frames: who listens to
    /// them goes on doing so.
    pub fn note_names<'a>(&mut self, address: &Arc<Address>, frames: impl IntoIterator<Item = &'a Frame>) {
        let mut named = frames.into_iter().filter_map(Frame::name).peekable();
        if named.peek().is_none() {
            return;
        }
        let Some(followed) = self.addresses.get_mut(address) else { return };
        let mut is_new = false;
        for name in named {
            is_new |= followed.note_name(name);
        }
        if is_new {
            self.renamed.push(Arc::clone(address));
        }
    }

    /// The workers that have yet to hear the names of an address, and those names.
    pub fn take_renamed(&mut self) -> Vec<(SmallVec<[WorkerId; 8]>, AddressNames)> {
        let renamed = std::mem::take(&mut self.renamed);
        let names = |address: Arc<Address>| {
            let followed = self.addresses.get(&address)?;
            let names = followed.names.as_slice().into();
            Some((followed.workers.clone(), AddressNames { address, names }))
        };
        renamed.into_iter().filter_map(names).collect()
    }

    /// Keeps what was read of an address: `read` is all that came in `reach`.
    pub fn learn(&mut self, address: &Arc<Address>, reach: Reach, read: &[(Id, Frame)]) {
        self.change(address, |recent| recent.learn(reach, read));
        self.make_room();
    }

    /// What `addresses` got up to `from` is lost; what comes after it will be remembered.
    pub fn forget_addresses(&mut self, addresses: &[Arc<Address>], from: Id) {
        addresses.iter().for_each(|address| self.change(address, |recent| recent.forget(from)));
    }

    /// Something that `address` got could not be read: what is remembered of it is not all.
    pub fn doubt(&mut self, address: &Arc<Address>) {
        self.change(address, Recent::doubt);
    }

    /// The history of a partition is another one: nothing of it is remembered, and what comes after `from` will be.
    pub fn forget_partition(&mut self, partition: Partition, from: Id) {
        let here = self.addresses.iter().filter(|(_, followed)| followed.partition == partition);
        let here: Vec<Arc<Address>> = here.map(|(address, _)| Arc::clone(address)).collect();
        self.forget_addresses(&here, from);
    }

    /// Changes what is remembered of an address, and keeps count.
    fn change(&mut self, address: &Arc<Address>, change: impl FnOnce(&mut Recent)) {
        let Some(followed) = self.addresses.get_mut(address) else { return };
        let before = followed.recent.size();
        change(&mut followed.recent);
        let after = followed.recent.size();
        self.frames = self.frames - before.0 + after.0;
        self.bytes = self.bytes - before.1 + after.1;
        (before.0..after.0).for_each(|_| self.order.push_back(Arc::clone(address)));
    }

    fn make_room(&mut self) {
        while self.bytes > self.limit
            && let Some(address) = self.order.pop_front()
        {
            self.change(&address, Recent::drop_oldest);
        }
        if self.order.len() > 2 * self.frames + 1_024 {
            self.tidy_order();
        }
    }

    /// Drops the names of frames that are gone.
    fn tidy_order(&mut self) {
        let frames = self.addresses.iter().flat_map(|(address, f)| f.recent.ids().map(move |id| (id, address)));
        let mut frames: Vec<(Id, &Arc<Address>)> = frames.collect();
        frames.sort_by_key(|(id, _)| *id);
        self.order = frames.into_iter().map(|(_, address)| Arc::clone(address)).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINGER: Duration = Duration::from_secs(30);

    use tidings_shared::cursor::Place;
    use tidings_shared::{Epoch, Message, Partitions};

    use crate::frame::Encoder;

    fn frame(id: Id) -> Frame {
        let place = Place { epoch: Epoch::from_random(1), id };
        let message = Message::decode(r#"c - - - - {"time":"t"}"#).unwrap();
        Encoder::of(Partitions::ONE).encode(place, &message, &Arc::new("a".parse().unwrap())).unwrap()
    }

    fn id(ms: u64) -> Id {
        Id { ms, seq: 0 }
    }

    fn reach(since: u64, up_to: u64) -> Reach {
        Reach { since: id(since), up_to: id(up_to), lost_before: Id::ZERO }
    }

    fn follow(table: &mut FollowTable, worker: WorkerId, name: &str) -> (Arc<Address>, bool) {
        let address: Arc<Address> = Arc::new(name.parse().unwrap());
        let home = || (Partitions::ONE.of(&address), name.into());
        let new = table.follow(worker, &address, home);
        (address, new)
    }

    #[test]
    fn an_address_lingers_and_goes_only_if_nobody_came_back() {
        let mut table = FollowTable::new(1_000, LINGER);
        let now = Instant::now();
        let (a, new) = follow(&mut table, 0, "a");
        assert!(new);
        table.leave(0, &a, now);
        assert!(!follow(&mut table, 1, "a").1);
        assert!(table.expire(now + LINGER).is_empty());
        table.leave(1, &a, now + LINGER);
        assert!(table.expire(now + LINGER).is_empty());
        assert_eq!(table.expire(now + 2 * LINGER), ["a"]);
        assert_eq!(table.len(), 0);
    }

    #[test]
    fn an_address_that_is_left_before_it_is_subscribed_goes_once_it_is() {
        let mut table = FollowTable::new(1_000, Duration::ZERO);
        let now = Instant::now();
        let (_acknowledge, acknowledged) = watch::channel(false);
        for name in ["a", "b"] {
            let (address, _) = follow(&mut table, 0, name);
            table.leave(0, &address, now);
        }
        let a: Address = "a".parse().unwrap();
        table.get_mut(&a).unwrap().pending = Some(acknowledged);
        assert_eq!(table.expire(now), ["b"], "an address that waits holds up no other");
        assert!(table.expire(now + LINGER).is_empty());
        table.get_mut(&a).unwrap().pending = None;
        assert_eq!(table.expire(now + LINGER), ["a"]);
        assert_eq!((table.len(), table.left.len()), (0, 0));
    }

    #[test]
    fn those_that_were_left_first_make_room() {
        let mut table = FollowTable::new(1_000, LINGER);
        let now = Instant::now();
        let (_acknowledge, acknowledged) = watch::channel(false);
        for (seconds, name) in [(0, "a"), (1, "b"), (2, "c"), (3, "d")] {
            let (address, _) = follow(&mut table, 0, name);
            table.leave(0, &address, now + Duration::from_secs(seconds));
        }
        follow(&mut table, 1, "a");
        table.get_mut(&"b".parse().unwrap()).unwrap().pending = Some(acknowledged);
        assert_eq!((table.len(), table.lingering()), (4, 3));
        assert_eq!(table.forget_lingering(1), ["c"], "neither one that came back nor one that is yet to be subscribed");
        assert_eq!((table.len(), table.lingering()), (3, 2));
        assert_eq!(table.forget_lingering(5), ["d"]);
        table.get_mut(&"b".parse().unwrap()).unwrap().pending = None;
        assert_eq!(table.expire(now + 2 * LINGER), ["b"]);
        assert_eq!((table.len(), table.lingering()), (1, 0));
    }

    #[test]
    fn recent_frames_are_bounded_and_say_how_far_they_reach_back() {
        // So much that four are too many, with the places of four.
        let mut four = Recent::default();
        (10..14).for_each(|ms| four.push(id(ms), &frame(id(ms))));
        let mut table = FollowTable::new(four.size().1 - 1, LINGER);
        let (a, _) = follow(&mut table, 0, "a");
        table.learn(&a, reach(9, 9), &[]);
        for ms in 10..20 {
            table.remember(&a, id(ms), &frame(id(ms)));
        }
        let recent = table.get(&a).unwrap().recent().unwrap();
        assert!(!recent.reaches_back_to(id(15)));
        assert!(recent.reaches_back_to(id(16)));
        assert_eq!(recent.after(id(17)).map(|(id, _)| id.ms).collect::<Vec<_>>(), [18, 19]);
    }

    #[test]
    fn the_bound_counts_what_is_really_held() {
        const LIMIT: usize = 4 << 20;
        // Small and large ones, of one address and of many, and of addresses that were busy once.
        let mut ratios = Vec::new();
        for (bytes, addresses) in [(0, 1), (0, 100), (0, 2_000), (2_000, 20), (200, 500)] {
            let mut table = FollowTable::new(LIMIT, LINGER);
            let follow = |n| follow(&mut table, 0, &format!("some/address/{n}")).0;
            let all: Vec<Arc<Address>> = (0..addresses).map(follow).collect();
            let text = format!(r#"c type-of-event - - - {{"time":"t","data":"{}"}}"#, "x".repeat(bytes));
            let mut write = |ms: u64, address: &Arc<Address>| {
                let place = Place { epoch: Epoch::from_random(1), id: id(ms) };
                let frame = Encoder::of(Partitions::ONE).encode(place, &Message::decode(&text).unwrap(), address);
                table.remember(address, id(ms), &frame.unwrap());
            };
            let held = allocation_counter::measure(|| {
                (0..10_000).for_each(|ms| write(ms, &all[0]));
                (10_000..60_000).for_each(|ms| write(ms, &all[ms as usize % addresses]));
            });
            let ratio = held.bytes_current as f64 / LIMIT as f64;
            ratios.push(ratio);
        }
        assert!(ratios.iter().all(|ratio| (0.7..1.25).contains(ratio)), "{ratios:?}");
    }

    #[test]
    fn who_leaves_without_having_followed_leaves_no_trace() {
        let mut table = FollowTable::new(1_000, LINGER);
        let now = Instant::now();
        let (a, _) = follow(&mut table, 0, "a");
        table.leave(0, &a, now);
        for _ in 0..1_000 {
            table.leave(0, &a, now + LINGER);
        }
        assert_eq!(table.left.len(), 1);
        assert_eq!(table.expire(now + LINGER), ["a"]);
    }

    #[test]
    fn names_of_frames_that_are_gone_do_not_pile_up() {
        let mut table = FollowTable::new(1_000_000, LINGER);
        let now = Instant::now();
        for round in 0..10_000_u64 {
            let (a, _) = follow(&mut table, 0, "a");
            table.remember(&a, id(round), &frame(id(round)));
            table.leave(0, &a, now);
            table.expire(now + LINGER);
        }
        assert!(table.order.len() <= 1_026, "{}", table.order.len());
        assert_eq!((table.bytes, table.frames), (0, 0));
    }
}
