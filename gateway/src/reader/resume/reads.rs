//! The reads of history that wait and those under way: joins that come together are one read.
//!
//! Clients that come back at once to a gateway that remembers nothing would each ask for what they follow. So few reads
//! are under way at a time, with pauses between them once there are many, and whatever is asked meanwhile is gathered: an
//! address that many follow is read once. And as those who come later may have been away for longer, a read for a cursor
//! goes back further than that.

mod gathered;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, Shared};
use tidings_shared::script::Span;
use tidings_shared::{Address, Id, Partition};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout_at};

use self::gathered::Gathered;
use super::past::Past;
use crate::metrics::{self, Metrics};
use crate::store::{Asked, Client};

/// Reads of a partition that are under way at a time, of each kind.
const AT_ONCE: usize = 2;
/// Reads that need no pause before them, after a time without reads: a few clients wait for nobody. Only a crowd is worth
/// gathering.
const AHEAD: u32 = 8;
/// How many times what one join may bring a read may bring that is for several.
const SHARES: u64 = 8;

/// What comes of a read; nothing if it failed.
pub type SharedRead = Shared<LocalBoxFuture<'static, Option<Rc<Past>>>>;

/// The place of one join in a read.
#[derive(Clone)]
pub struct ReadTicket {
    gathered: Rc<RefCell<Gathered>>,
    read: SharedRead,
}

impl ReadTicket {
    /// What comes of the read.
    pub fn read(&self) -> SharedRead {
        self.read.clone()
    }

    /// Whether the read has begun. It brings what the joins that asked for it have shares for.
    pub fn is_sent(&self) -> bool {
        self.gathered.borrow().is_sent()
    }
}

impl fmt::Debug for ReadTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadTicket").field("is_sent", &self.is_sent()).finish_non_exhaustive()
    }
}

/// How history is read.
#[derive(Debug, Clone, Copy)]
pub struct ReadOptions {
    /// Bytes of messages that each join may be brought.
    pub bytes: u64,
    /// How long the store keeps history for certain.
    pub age: Duration,
    /// The time between two reads of a partition of one kind once there are many, unless there is much to read.
    pub pause: Duration,
}

/// What a join has to have read of one partition.
pub struct Wish<'a> {
    /// The partition.
    pub partition: Partition,
    /// Its generation: an answer from before a gap or another history helps nobody after it.
    pub generation: u64,
    /// Its watermark.
    pub at: Id,
    /// What is read.
    pub addresses: &'a [Arc<Address>],
    /// After which id, or only the latest events.
    pub span: Span,
    /// What it is for.
    pub kind: metrics::Read,
    /// Whether to read for nobody else, and no more than that.
    pub alone: bool,
}

/// Wishes that can be one read.
type Key = (Partition, u64, bool, metrics::Read);

/// The reads that wait and those under way.
pub struct Reads {
    options: ReadOptions,
    metrics: Metrics,
    turns: HashMap<(Partition, metrics::Read), Turns>,
    gathering: HashMap<Key, ReadTicket>,
}

/// Whose turn it is to read a partition for one kind of join: a client that comes back does not wait until all are read
/// for that come anew, whatever these ask for.
#[derive(Clone)]
struct Turns {
    under_way: Rc<Semaphore>,
    /// When the reads so far would be over, had each been followed by a pause. No more than [`AHEAD`] pauses from now,
    /// as those that were large waited for none.
    paused: Rc<Cell<Option<Instant>>>,
}

impl Reads {
    /// None yet.
    pub fn new(options: ReadOptions, metrics: Metrics) -> Self {
        Self { options, metrics, turns: HashMap::new(), gathering: HashMap::new() }
    }

    /// The session of a partition is over: whoever waits for its reads gets nothing, or is turned away, and nobody
    /// waits behind them.
    pub fn detach(&mut self, partition: Partition) {
        self.turns.retain(|(of, _), _| *of != partition);
        self.gathering.retain(|(of, ..), _| *of != partition);
    }

    /// Reads what is wished for by `client`, in one go with what others wish for.
    pub fn read(
        &mut self,
        client: &Client,
        wish: &Wish<'_>,
        pending: impl Fn(&Arc<Address>) -> Option<watch::Receiver<bool>>,
    ) -> ReadTicket {
        let key = (wish.partition, wish.generation, wish.span == Span::Latest, wish.kind);
        let after = self.options.after(wish);
        if !wish.alone
            && let Entry::Occupied(entry) = self.gathering.entry(key)
            && entry.get().gathered.borrow_mut().add(wish.addresses, after, &pending)
        {
            return entry.get().clone();
        }
        let gathered = Rc::new(RefCell::new(Gathered::default()));
        gathered.borrow_mut().add(wish.addresses, after, &pending);
        let read = self.start(client.clone(), wish, Rc::clone(&gathered));
        let ticket = ReadTicket { gathered, read };
        if !wish.alone {
            self.gathering.insert(key, ticket.clone());
        }
        ticket
    }

    /// A join no longer waits for a read that is not sent. If nobody else does, it never is.
    pub fn withdraw(&mut self, ticket: &ReadTicket) {
        let mut gathered = ticket.gathered.borrow_mut();
        if gathered.withdraw() && gathered.wishes == 0 {
            // It may have its turn already, which others would wait for.
            self.gathering.retain(|_, other| !Rc::ptr_eq(&other.gathered, &ticket.gathered));
        }
    }

    /// How many wait to be sent.
    #[cfg(test)]
    pub fn waiting(&self) -> usize {
        self.gathering.values().filter(|ticket| !ticket.is_sent()).count()
    }

    /// Forgets what was gathered and has been sent.
    pub fn tidy(&mut self) {
        self.gathering.retain(|_, ticket| !ticket.is_sent());
    }

    fn start(&mut self, client: Client, wish: &Wish<'_>, gathered: Rc<RefCell<Gathered>>) -> SharedRead {
        let turns = self.turns.entry((wish.partition, wish.kind)).or_insert_with(Turns::new).clone();
        let (metrics, options) = (self.metrics.clone(), self.options);
        let (partition, span, kind) = (wish.partition, wish.span, wish.kind);
        let read = async move {
            let _turn = turns.under_way.acquire().await.ok()?;
            turns.pause(&gathered, options.pause).await;
            let Gathered { addresses, each, pending, wishes, asked, .. } = gathered.borrow_mut().send();
            for mut acknowledged in pending {
                acknowledged.wait_for(|done| *done).await.ok()?;
            }
            metrics.add_store_reads(kind, 1);
            // No more than the shares that its joins have of the allowance.
            let bytes = options.bytes.saturating_mul(SHARES.min(wishes));
            match client.history(Asked { partition, addresses: &addresses, span, each: &each, bytes }).await {
                Ok(history) => {
                    metrics.add_unreadable(metrics::Foreign::History, history.unreadable);
                    Some(Rc::new(Past::new(history, addresses, &each, asked > 1)))
                }
                Err(error) => {
                    tracing::warn!(%error, "history could not be read");
                    None
                }
            }
        };
        read.boxed_local().shared()
    }
}

impl Turns {
    fn new() -> Self {
        Self { under_way: Rc::new(Semaphore::new(AT_ONCE)), paused: Rc::default() }
    }

    /// Waits until it is time for another read, or there is much to read.
    async fn pause(&self, gathered: &RefCell<Gathered>, pause: Duration) {
        if pause.is_zero() {
            return;
        }
        if let Some(at) = self.paused.get().and_then(|paused| paused.checked_sub(pause * (AHEAD - 1)))
            && at > Instant::now()
        {
            let full = gathered.borrow().full();
            // It does not matter which of the two it was.
            let _ = timeout_at(at, full.notified()).await;
        }
        let now = Instant::now();
        let paused = self.paused.get().map_or(now, |paused| paused.max(now));
        self.paused.set(Some((paused + pause).min(now + pause * AHEAD)));
    }
}

/// How much further back than its cursor a resume reads at the least.
const FURTHER: Duration = Duration::from_secs(60);

impl ReadOptions {
    /// After which id a wish is read: of a cursor, twice as far back as that, so that an address is read again only for
    /// who was away for more than twice as long as all before. Not so far that the store might not be able to tell.
    fn after(&self, wish: &Wish<'_>) -> Id {
        let (Span::After(after) | Span::Between(after, _)) = wish.span else { return Id::ZERO };
        if wish.alone || wish.kind != metrics::Read::Resume {
            return after;
        }
        let away = wish.at.ms.saturating_sub(after.ms).max(FURTHER.as_millis() as u64);
        let oldest = wish.at.ms.saturating_sub(self.age.as_millis() as u64 / 4 * 3);
        after.min(Id { ms: after.ms.saturating_sub(away).max(oldest), seq: 0 })
    }
}

#[cfg(test)]
mod tests;
