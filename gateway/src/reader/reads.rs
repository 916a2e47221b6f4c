//! The reads of history that wait and those under way: joins that come together are one read.
//!
//! Clients that come back at once to a gateway that remembers nothing would each ask for what they follow. So few reads
//! are under way at a time, and whatever is asked meanwhile is gathered: an address that many follow is read once.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::rc::Rc;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, Shared};
use tidings_shared::script::Span;
use tidings_shared::{Address, Id, Partition};
use tokio::sync::{Semaphore, watch};

use super::past::Past;
use crate::metrics::{self, Metrics};
use crate::store::{Asked, Client};

/// Reads of a partition that are under way at a time.
const AT_ONCE: usize = 2;
/// The most addresses of one read: Redis does nothing else meanwhile, for a millisecond or so. One join may have more.
const ADDRESSES: usize = 256;
/// How many times what one join may bring a read may bring that is for several.
const SHARES: u64 = 8;

/// What comes of a read; nothing if it failed.
pub type SharedRead = Shared<LocalBoxFuture<'static, Option<Rc<Past>>>>;

/// What a join has to have read of one partition.
pub struct Wish<'a> {
    /// The partition.
    pub partition: Partition,
    /// Its generation: an answer from before a gap or another history helps nobody after it.
    pub generation: u64,
    /// What is read.
    pub addresses: &'a [Arc<Address>],
    /// After which id, or only the latest events.
    pub span: Span,
    /// What it is for.
    pub kind: metrics::Read,
    /// Whether to read for nobody else.
    pub alone: bool,
}

/// Wishes that can be one read.
type Key = (Partition, u64, bool, metrics::Read);

/// The reads of a session.
pub struct Reads {
    client: Client,
    bytes: u64,
    metrics: Metrics,
    turns: HashMap<Partition, Rc<Semaphore>>,
    gathering: HashMap<Key, (Rc<RefCell<Gathered>>, SharedRead)>,
}

/// What one read is to bring.
#[derive(Default)]
struct Gathered {
    addresses: Vec<Arc<Address>>,
    /// After which id each is read.
    each: Vec<Id>,
    places: HashMap<Arc<Address>, usize>,
    /// Subscriptions that must be acknowledged first: what came before them never comes in live.
    pending: Vec<watch::Receiver<bool>>,
    wishes: usize,
    /// Nothing can be added any more.
    sent: bool,
}

impl Reads {
    /// Reads by `client`, of which each join may be brought `bytes` of messages.
    pub fn new(client: Client, bytes: u64, metrics: Metrics) -> Self {
        Self { client, bytes, metrics, turns: HashMap::new(), gathering: HashMap::new() }
    }

    /// Reads what is wished for, in one go with what others wish for.
    pub fn read(
        &mut self,
        wish: &Wish<'_>,
        pending: impl Fn(&Arc<Address>) -> Option<watch::Receiver<bool>>,
    ) -> SharedRead {
        let key = (wish.partition, wish.generation, wish.span == Span::Latest, wish.kind);
        if !wish.alone
            && let Entry::Occupied(entry) = self.gathering.entry(key)
            && entry.get().0.borrow_mut().add(wish, &pending)
        {
            return entry.get().1.clone();
        }
        let gathered = Rc::new(RefCell::new(Gathered::default()));
        gathered.borrow_mut().add(wish, &pending);
        let read = self.start(wish, Rc::clone(&gathered));
        if !wish.alone {
            self.gathering.insert(key, (gathered, read.clone()));
        }
        read
    }

    /// How many wait to be sent.
    #[cfg(test)]
    pub fn waiting(&self) -> usize {
        self.gathering.values().filter(|(gathered, _)| !gathered.borrow().sent).count()
    }

    /// Forgets what was gathered and has been sent.
    pub fn tidy(&mut self) {
        self.gathering.retain(|_, (gathered, _)| !gathered.borrow().sent);
    }

    fn start(&mut self, wish: &Wish<'_>, gathered: Rc<RefCell<Gathered>>) -> SharedRead {
        let turns = self.turns.entry(wish.partition).or_insert_with(|| Rc::new(Semaphore::new(AT_ONCE)));
        let (turns, client, metrics, bytes) = (Rc::clone(turns), self.client.clone(), self.metrics.clone(), self.bytes);
        let (partition, span, kind) = (wish.partition, wish.span, wish.kind);
        let read = async move {
            let _turn = turns.acquire().await.ok()?;
            let Gathered { addresses, each, pending, wishes, .. } = gathered.borrow_mut().send();
            for mut acknowledged in pending {
                acknowledged.wait_for(|done| *done).await.ok()?;
            }
            metrics.add_store_reads(kind, 1);
            let bytes = if wishes > 1 { bytes.saturating_mul(SHARES) } else { bytes };
            match client.history(Asked { partition, addresses: &addresses, span, each: &each, bytes }).await {
                Ok(history) => Some(Rc::new(Past::new(history, addresses, &each, wishes > 1))),
                Err(error) => {
                    tracing::warn!(%error, "history could not be read");
                    None
                }
            }
        };
        read.boxed_local().shared()
    }
}

impl Gathered {
    /// False if it is too late for that, or there is no room.
    fn add(&mut self, wish: &Wish<'_>, pending: impl Fn(&Arc<Address>) -> Option<watch::Receiver<bool>>) -> bool {
        if self.sent || (self.wishes > 0 && self.addresses.len() + wish.addresses.len() > ADDRESSES) {
            return false;
        }
        let after = match wish.span {
            Span::After(after) | Span::Between(after, _) => after,
            Span::Latest => Id::ZERO,
        };
        for address in wish.addresses {
            match self.places.get(address).and_then(|at| self.each.get_mut(*at)) {
                Some(oldest) => *oldest = after.min(*oldest),
                None => {
                    self.places.insert(Arc::clone(address), self.addresses.len());
                    self.addresses.push(Arc::clone(address));
                    self.each.push(after);
                    self.pending.extend(pending(address));
                }
            }
        }
        self.wishes += 1;
        true
    }

    fn send(&mut self) -> Self {
        std::mem::replace(self, Self { sent: true, ..Self::default() })
    }
}
