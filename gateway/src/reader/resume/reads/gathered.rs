//! What one read is to bring: the wishes of several joins.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use tidings_shared::{Address, Id};
use tokio::sync::{Notify, watch};

/// The most addresses of one read: Redis does nothing else meanwhile, for a millisecond or so. One join may have more.
const ADDRESSES: usize = 256;
/// So many wishes are worth a read at once.
const MANY: u64 = 32;

/// What one read is to bring.
#[derive(Default)]
pub struct Gathered {
    /// What is read.
    pub addresses: Vec<Arc<Address>>,
    /// After which id each is read: the oldest that any join asked for.
    pub each: Vec<Id>,
    /// Subscriptions that must be acknowledged first: what came before them never comes in live.
    pub pending: Vec<watch::Receiver<bool>>,
    /// For how many joins that still wait.
    pub wishes: u64,
    /// How many joins have asked.
    pub asked: u64,
    places: HashMap<Arc<Address>, usize>,
    full: Rc<Notify>,
    sent: bool,
}

impl Gathered {
    /// Adds what a join asks for. False if it is too late for that, or there is no room.
    pub fn add(
        &mut self,
        addresses: &[Arc<Address>],
        after: Id,
        pending: impl Fn(&Arc<Address>) -> Option<watch::Receiver<bool>>,
    ) -> bool {
        if self.sent {
            return false;
        }
        if self.wishes > 0 && self.addresses.len() + addresses.len() > ADDRESSES {
            self.full.notify_one();
            return false;
        }
        for address in addresses {
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
        self.asked += 1;
        self.wishes += 1;
        if self.wishes == MANY {
            self.full.notify_one();
        }
        true
    }

    /// A join no longer waits. What it asked for is read all the same, if others wait. False if it is
    /// too late: the read has its share.
    pub fn withdraw(&mut self) -> bool {
        if self.sent {
            return false;
        }
        self.wishes = self.wishes.saturating_sub(1);
        true
    }

    /// Whether nothing can be added any more.
    pub fn is_sent(&self) -> bool {
        self.sent
    }

    /// Told when there is much to read.
    pub fn full(&self) -> Rc<Notify> {
        Rc::clone(&self.full)
    }

    /// Takes what was gathered, to be read.
    pub fn send(&mut self) -> Self {
        std::mem::replace(self, Self { sent: true, ..Self::default() })
    }
}
