//! Judging clients for whom events may be held back: those are overtaken by later ones of other addresses, and may come
//! again on the next connection. In return no cursor may run ahead of what its client is still owed.

use super::*;

impl Judge<'_> {
    /// Whether events may be held back for this client: it asked for few, or some were spread.
    pub(super) fn may_be_held(&self) -> bool {
        self.record.wants_few() || self.events.iter().any(|event| event.manner.spread)
    }

    /// Whether these deliveries of an event came on as many connections, as they may where something was owed in between:
    /// an event that is held back, or a resync, which is told then.
    ///
    /// Or they were told of two histories, with a resync in between: of two primaries both took it, one of which was gone
    /// before it could answer, and came back when another had taken its place.
    pub(super) fn may_be_several(&self, came: &[usize], address: &str) -> bool {
        let other_history = |pair: &[usize]| self.other_history(&self.entries[pair[0]..pair[1]], address);
        let rises = |pair: &[usize]| self.entries[pair[0]].connection < self.entries[pair[1]].connection;
        let resync = |entry: &Entry| matches!(&entry.what, What::Resync { address: of, .. } if of == address);
        let owed = |pair: &[usize]| self.may_be_held() || self.entries[pair[0]..pair[1]].iter().any(resync);
        came.windows(2).all(|pair| other_history(pair) || rises(pair) && owed(pair))
    }

    /// Whether an address was resynced among these as its history became another one.
    pub(super) fn other_history(&self, among: &[Entry], address: &str) -> bool {
        let begins = |what: &What| matches!(what, What::Resync { address: of, reason } if of == address && matches!(reason.as_str(), "epoch" | "failover"));
        among.iter().any(|entry| begins(&entry.what))
    }

    /// The serials of the events that cover this one at an address.
    pub(super) fn covered_by<'b>(&'b self, event: &'b Published, address: &'b str) -> impl Iterator<Item = u64> + 'b {
        let id = event.id(address).filter(|_| event.manner.coalesce);
        let later = move |other: &Published| id.is_some_and(|id| other.id(address).is_some_and(|other| other > id));
        let all = self.events.iter().enumerate();
        all.filter(move |(_, other)| later(other)).map(|(n, _)| n as u64)
    }

    /// Events of one address come in order, on each connection.
    pub(super) fn judge_order_of_addresses(&self, verdict: &mut Verdict) {
        let mut last: HashMap<(u32, &str), Id> = HashMap::new();
        for (at, entry) in self.entries.iter().enumerate() {
            let What::Message(message) = &entry.what else { continue };
            let Some(event) = message.n.and_then(|n| self.events.get(n as usize)) else { continue };
            for address in &message.addresses {
                let Some(id) = event.id(address) else { continue };
                if let Some(before) = last.insert((entry.connection, address), id)
                    && before >= id
                {
                    let what = || format!("{address} got the event with id {id} after that with {before}");
                    self.accuse(verdict, Violation::OutOfOrder, Some(at), what);
                }
            }
        }
    }

    /// Whatever lies up to a cursor was delivered or resynced by then, or something that covers it was, or lies behind.
    pub(super) fn judge_cursors(&self, deliveries: &Deliveries<'_>, verdict: &mut Verdict) {
        let Some(ready) = first_ready(self.entries) else { return };
        let mut resyncs: HashMap<&str, u64> = HashMap::new();
        for (at, entry) in self.entries.iter().enumerate() {
            let cursor = match &entry.what {
                What::Ready { cursor, .. } | What::Tick { cursor } => cursor,
                What::Message(message) => match &message.cursor {
                    Some(cursor) => cursor,
                    None => continue,
                },
                What::Resync { address, .. } => {
                    resyncs.insert(address, entry.at);
                    continue;
                }
                _ => continue,
            };
            for (n, event) in self.events.iter().enumerate().filter(|(_, event)| ready < event.started) {
                for address in event.to.iter().filter(|address| self.record.follows().contains(address)) {
                    let Some((passed, stored)) = self.passed(event, address, cursor).zip(event.stored(address)) else {
                        continue;
                    };
                    let came = |n: u64| deliveries.get(&(n, address.as_str())).is_some_and(|came| came[0] <= at);
                    let behind = |n: u64| !self.passed(&self.events[n as usize], address, cursor).unwrap_or(true);
                    let known = came(n as u64)
                        || resyncs.get(address.as_str()).is_some_and(|at| *at >= stored)
                        || self.covered_by(event, address).any(|later| came(later) || behind(later));
                    if passed && !known {
                        let what = || format!("the cursor {cursor} has passed event {n} for {address}, which is owed");
                        self.accuse(verdict, Violation::Ahead, Some(at), what);
                    }
                }
            }
        }
    }

    /// Whether an event lies at or before a cursor; `None` if that cannot be told.
    fn passed(&self, event: &Published, address: &str, cursor: &str) -> Option<bool> {
        let partition = self.partitions.of(&address.parse::<Address>().ok()?);
        Some(event.id(address)? <= place(cursor, self.partitions, partition)?)
    }
}
