//! The embedded store: what Redis does for a gateway, within its process, with the same promises on one node.

mod log;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use tidings_publisher::Receipt;
use tidings_shared::cursor::Place;
use tidings_shared::event::Prepared;
use tidings_shared::keys::{self, Namespace};
use tidings_shared::script::Span;
use tidings_shared::{Address, Epoch, Event, Id, Invalid, Partition, Partitions, Retention, limits};

use self::log::Log;
use super::session::{self, Asked, Client, History, Missed, PushSink, Session};

/// History in memory. Cheap to clone; all clones are one store.
#[derive(Debug, Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    namespace: Namespace,
    partitions: Partitions,
    retention: Retention,
    gateway: String,
    clock: Clock,
    state: Mutex<State>,
}

/// Milliseconds since 1970; may step, as the clocks of servers do.
struct Clock(Box<dyn Fn() -> u64 + Send + Sync>);

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

#[derive(Debug, Default)]
struct State {
    logs: Vec<Log>,
    /// The receipts of events with a key, by the scopes of these.
    keys: HashMap<String, Receipt>,
    /// When each key became known, oldest first.
    known_since: VecDeque<(u64, String)>,
    channels: HashSet<String>,
    /// Of each partition, that of the session over it.
    sinks: HashMap<Partition, PushSink>,
}

impl MemoryStore {
    /// An empty store with epochs of its own.
    pub fn new(namespace: Namespace, partitions: Partitions, retention: Retention, gateway: String) -> Self {
        Self::with_clock(namespace, partitions, retention, gateway, system_ms)
    }

    /// The same by a clock of the caller's, in milliseconds since 1970.
    pub(crate) fn with_clock(
        namespace: Namespace,
        partitions: Partitions,
        retention: Retention,
        gateway: String,
        clock: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Self {
        let logs = partitions
            .all()
            .map(|_| Log::new(Epoch::from_random(fastrand::u32(..)), Id { ms: clock(), seq: 0 }))
            .collect();
        let state = Mutex::new(State { logs, ..State::default() });
        Self {
            shared: Arc::new(Shared {
                namespace,
                partitions,
                retention,
                gateway,
                clock: Clock(Box::new(clock)),
                state,
            }),
        }
    }

    /// How many partitions there are.
    pub fn partitions(&self) -> Partitions {
        self.shared.partitions
    }

    /// Publishes one event.
    pub fn publish(&self, event: &Event) -> Result<Receipt, Invalid> {
        let time = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        let prepared = event.prepare(&time)?;
        let scope = prepared.key.as_deref().map(|key| keys::idempotency_scope(key, &prepared.addresses));
        let mut state = self.shared.lock();
        let now = self.shared.now();
        state.forget_keys(now);
        if let Some(known) = scope.as_ref().and_then(|scope| state.keys.get(scope)) {
            return Ok(Receipt { duplicate: true, ..known.clone() });
        }
        let receipt = self.shared.append(&mut state, &prepared);
        if let Some(scope) = scope {
            state.known_since.push_back((now, scope.clone()));
            state.keys.insert(scope, receipt.clone());
        }
        Ok(receipt)
    }

    /// Everything is lost, as with a Redis that comes up empty; ids begin anew, below those before.
    #[cfg(test)]
    pub fn lose_everything(&self) {
        for log in &mut self.shared.lock().logs {
            let epoch = Epoch::from_random(log.epoch.bits().wrapping_add(1));
            *log = Log::new(epoch, Id { ms: log.last.ms - 1, seq: 0 });
        }
    }

    /// The present history of a partition.
    #[cfg(test)]
    pub fn epoch(&self, partition: Partition) -> Epoch {
        self.shared.lock().logs[partition.index()].epoch
    }

    /// Opens a session over these partitions; the one before gets nothing of them any more.
    pub fn connect(&self, partitions: Vec<Partition>) -> Session {
        let (sink, pushes) = session::pushes();
        let mut state = self.shared.lock();
        let is_here = |channel: &str| partitions.iter().any(|p| keys::partition_of(channel) == Some(p.number()));
        state.channels.retain(|channel| !is_here(channel));
        state.sinks.extend(partitions.iter().map(|partition| (*partition, sink.clone())));
        drop(state);
        let client = Client::Memory(MemoryClient { shared: Arc::clone(&self.shared) });
        Session::new(client, partitions, ("memory".into(), "noeviction".to_owned()), &sink, pushes)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves the state whole: every change below is complete before anything can fail.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        (self.clock.0)()
    }

    fn append(&self, state: &mut State, prepared: &Prepared) -> Receipt {
        let mut ids: HashMap<Partition, Id> = HashMap::new();
        let mut receipt = Receipt::default();
        for address in &prepared.addresses {
            let partition = self.partitions.of(address);
            let Some(log) = state.logs.get_mut(partition.index()) else { continue };
            let id = *ids.entry(partition).or_insert_with(|| log.advance(self.now()));
            log.append(address, id, &prepared.message, &self.retention);
            let text = format!("1 {id} {} {}", log.epoch, prepared.message);
            state.push(partition, self.namespace.keys(partition).stream(address), text);
            receipt.ids.insert(address.to_string(), id);
        }
        if prepared.addresses.len() > 1 {
            for (partition, id) in ids {
                let Some(epoch) = state.logs.get(partition.index()).map(|log| log.epoch) else { continue };
                state.push(partition, self.namespace.keys(partition).journal(), format!("1 {id} {epoch}"));
            }
        }
        receipt
    }
}

impl State {
    fn forget_keys(&mut self, now: u64) {
        let old = |since: u64| since.saturating_add(limits::KEY_AGE_MS) <= now;
        while self.known_since.front().is_some_and(|(since, _)| old(*since)) {
            let forgotten = self.known_since.pop_front();
            forgotten.and_then(|(_, key)| self.keys.remove(&key));
        }
    }

    fn push(&self, partition: Partition, channel: String, text: String) {
        if let Some(sink) = self.sinks.get(&partition).filter(|_| self.channels.contains(&channel)) {
            sink.push(channel.into(), text.into());
        }
    }
}

/// Makes a session's requests to the store in this process.
#[derive(Debug, Clone)]
pub struct MemoryClient {
    shared: Arc<Shared>,
}

impl MemoryClient {
    pub(super) fn subscribe(&self, channels: Vec<String>) {
        self.shared.lock().channels.extend(channels);
    }

    pub(super) fn unsubscribe(&self, channels: &[String]) {
        let mut state = self.shared.lock();
        for channel in channels {
            state.channels.remove(channel);
        }
    }

    pub(super) fn beacon(&self, partition: Partition, seen: Id) -> Place {
        let mut state = self.shared.lock();
        let now = self.shared.now();
        let Some(log) = state.logs.get_mut(partition.index()) else {
            return Place { epoch: Epoch::from_random(0), id: Id::ZERO };
        };
        log.lift(seen, now, &self.shared.retention);
        let place = Place { epoch: log.epoch, id: log.last };
        let channel = self.shared.namespace.keys(partition).beacon(&self.shared.gateway);
        state.push(partition, channel, format!("1 {} {}", place.id, place.epoch));
        place
    }

    pub(super) fn history(&self, asked: Asked<'_>) -> History {
        let Asked { partition, addresses, span, each, mut bytes } = asked;
        let (state, now) = (self.shared.lock(), self.shared.now());
        let Some(log) = state.logs.get(partition.index()) else {
            return History { epoch: None, last: Id::ZERO, entries: Vec::new(), unreadable: 0 };
        };
        let span = |at: usize| match (span, each.get(at)) {
            (Span::After(_), Some(after)) => Span::After(*after),
            _ => span,
        };
        let read = |(at, address): (usize, &Arc<Address>)| {
            log.read(address, span(at), &self.shared.retention, now, &mut bytes)
        };
        let entries = addresses.iter().enumerate().map(read).collect();
        History { epoch: Some(log.epoch), last: log.last, entries, unreadable: 0 }
    }

    pub(super) fn missed(&self, partition: Partition, after: Id) -> Missed {
        let (state, now) = (self.shared.lock(), self.shared.now());
        match state.logs.get(partition.index()) {
            Some(log) => log.missed(after, &self.shared.retention, now),
            None => Missed {
                epoch: None,
                last: Id::ZERO,
                complete: false,
                next: None,
                addresses: Vec::new(),
                unreadable: 0,
            },
        }
    }
}

fn system_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests;
