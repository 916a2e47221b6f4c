//! A publisher that sends nothing: disabled, or recording what a test wants to see.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tidings_shared::event::Prepared;
use tidings_shared::keys::idempotency_scope;
use tidings_shared::{Event, Id};

use crate::complaint::Complaints;
use crate::{Error, Receipt, Stats};

/// Takes every valid event, and keeps it if it records. Needs no runtime.
pub(crate) struct LocalSink {
    records: bool,
    state: Mutex<LocalState>,
    complaints: Complaints,
}

#[derive(Default)]
struct LocalState {
    events: Vec<Event>,
    /// The receipts of events with a key, by the scopes of these.
    keys: HashMap<String, Receipt>,
    published: u64,
    failed: u64,
    dropped: u64,
    closed: bool,
}

impl LocalSink {
    /// Forgets every event.
    pub(crate) fn disabled() -> Self {
        Self { records: false, state: Mutex::default(), complaints: Complaints::default() }
    }

    /// Keeps every event.
    pub(crate) fn recording() -> Self {
        Self { records: true, ..Self::disabled() }
    }

    /// Takes an event, as a store would that is always there.
    pub(crate) fn publish(&self, event: Event) -> Result<Receipt, Error> {
        let mut state = self.lock();
        if state.closed {
            return Err(Error::closed());
        }
        let prepared = event.prepare("").inspect_err(|_| state.failed += 1)?;
        state.published += 1;
        Ok(if self.records { state.record(event, &prepared) } else { receipt(&prepared, Id::ZERO) })
    }

    /// Takes an event from a caller that waits for no answer.
    pub(crate) fn notify(&self, event: Event) {
        let Err(error) = self.publish(event) else { return };
        if error.kind() == crate::ErrorKind::Closed {
            self.lock().dropped += 1;
            self.complaints.dropped(1);
        } else {
            self.complaints.failed(&error, 1);
        }
    }

    /// The events that were taken, in order.
    pub(crate) fn recorded(&self) -> Vec<Event> {
        self.lock().events.clone()
    }

    /// Takes no more events.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
    }

    /// The counts so far.
    pub(crate) fn stats(&self) -> Stats {
        let state = self.lock();
        let LocalState { published, failed, dropped, .. } = *state;
        Stats { published, failed, dropped, ..Stats::default() }
    }

    fn lock(&self) -> MutexGuard<'_, LocalState> {
        // No code panics while it holds the lock; should some do, the state is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LocalState {
    fn record(&mut self, event: Event, prepared: &Prepared) -> Receipt {
        let scope = prepared.key.as_deref().map(|key| idempotency_scope(key, &prepared.addresses));
        if let Some(known) = scope.as_ref().and_then(|scope| self.keys.get(scope)) {
            return Receipt { duplicate: true, ..known.clone() };
        }
        let receipt = receipt(prepared, Id { ms: self.published, seq: 0 });
        self.keys.extend(scope.map(|scope| (scope, receipt.clone())));
        self.events.push(event);
        receipt
    }
}

fn receipt(prepared: &Prepared, id: Id) -> Receipt {
    let ids = prepared.addresses.iter().map(|address| (address.to_string(), id)).collect();
    Receipt { ids, duplicate: false }
}
