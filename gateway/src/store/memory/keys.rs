//! The idempotency keys that the embedded store knows, for as long as they count.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tidings_publisher::Receipt;
use tidings_shared::limits;

/// The most bytes of keys and their receipts. Beyond this the oldest are forgotten before their time.
pub const BYTES: usize = 32 * 1024 * 1024;
/// What a key takes besides its scope and its receipt, in bytes.
const KEY: usize = 240;
/// What a receipt takes for each address besides the name.
const ID: usize = 72;

/// The receipts of events with a key, by the scopes of these.
#[derive(Debug, Default)]
pub struct KnownKeys {
    receipts: HashMap<Arc<str>, Receipt>,
    /// When each became known, oldest first.
    since: VecDeque<(u64, Arc<str>)>,
    bytes: usize,
}

impl KnownKeys {
    /// The receipt of an event that was published under this scope.
    pub fn get(&self, scope: &str) -> Option<&Receipt> {
        self.receipts.get(scope)
    }

    /// Notes that an event was published under this scope.
    pub fn note(&mut self, scope: String, now: u64, receipt: &Receipt) {
        let scope: Arc<str> = scope.into();
        self.bytes += size(&scope, receipt);
        self.since.push_back((now, Arc::clone(&scope)));
        self.receipts.insert(scope, receipt.clone());
        while self.bytes > BYTES {
            self.forget_oldest();
        }
    }

    /// Forgets what is known for too long.
    pub fn forget(&mut self, now: u64) {
        let is_old = |since: u64| since.saturating_add(limits::KEY_AGE_MS) <= now;
        while self.since.front().is_some_and(|(since, _)| is_old(*since)) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let oldest = self.since.pop_front();
        if let Some((scope, receipt)) = oldest.and_then(|(_, scope)| self.receipts.remove_entry(&scope)) {
            self.bytes -= size(&scope, &receipt);
        }
    }
}

#[cfg(test)]
impl KnownKeys {
    /// How many there are, in each of the two places.
    pub fn len(&self) -> (usize, usize) {
        (self.receipts.len(), self.since.len())
    }
}

fn size(scope: &str, receipt: &Receipt) -> usize {
    KEY + scope.len() + receipt.ids.keys().map(|address| address.len() + ID).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_shared::Id;

    #[test]
    fn the_oldest_keys_are_forgotten_beyond_the_bytes() {
        let mut keys = KnownKeys::default();
        let ids = (0..100).map(|n| (format!("orders/{n}"), Id::ZERO)).collect();
        let receipt = Receipt { ids, duplicate: false };
        let count = BYTES / size("00000", &receipt) + 10;
        (0..count).for_each(|n| keys.note(format!("{n:05}"), 0, &receipt));
        assert!(keys.bytes <= BYTES && keys.bytes > BYTES / 10 * 9);
        assert!(keys.get("00000").is_none() && keys.get("00009").is_none() && keys.get("00010").is_some());
        keys.forget(limits::KEY_AGE_MS);
        assert_eq!((keys.len(), keys.bytes), ((0, 0), 0));
    }
}
