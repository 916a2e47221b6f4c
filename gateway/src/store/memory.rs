//! The embedded store: what Redis does for a gateway, within its process, with the same promises on one node.

mod kept;
mod keys;
mod log;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use smallvec::SmallVec;
use tidings_publisher::Receipt;
use tidings_shared::cursor::Place;
use tidings_shared::event::Prepared;
use tidings_shared::keys::Namespace;
use tidings_shared::script::Span;
use tidings_shared::{Address, Epoch, Event, Id, Invalid, Partition, Partitions, Retention};

use self::kept::{Home, KeptEvents};
use self::keys::KnownKeys;
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

/// The most bytes of history. Beyond this the oldest events leave, and who asks for them is resynced.
pub const BYTES: u64 = 256 * 1024 * 1024;

#[derive(Debug)]
struct State {
    logs: Vec<Log>,
    events: KeptEvents,
    keys: KnownKeys,
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
        let state = Mutex::new(State {
            logs,
            events: KeptEvents::new(BYTES),
            keys: KnownKeys::default(),
            channels: HashSet::new(),
            sinks: HashMap::new(),
        });
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
        let key = prepared.key.as_deref();
        let scope = key.map(|key| tidings_shared::keys::idempotency_scope(key, &prepared.addresses));
        let mut state = self.shared.lock();
        let now = self.shared.now();
        state.keys.forget(now);
        if let Some(known) = scope.as_ref().and_then(|scope| state.keys.get(scope)) {
            return Ok(Receipt { duplicate: true, ..known.clone() });
        }
        let receipt = self.shared.append(&mut state, &prepared);
        if let Some(scope) = scope {
            state.keys.note(scope, now, &receipt);
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
        let is_here =
            |channel: &str| partitions.iter().any(|p| tidings_shared::keys::partition_of(channel) == Some(p.number()));
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
        let mut homes: BTreeMap<Partition, Vec<Arc<Address>>> = BTreeMap::new();
        for address in &prepared.addresses {
            let partition = self.partitions.of(address);
            let Some(log) = state.logs.get(partition.index()) else { continue };
            homes.entry(partition).or_default().push(log.shared(address));
        }
        let now = self.now();
        let home = |(partition, addresses): (Partition, Vec<Arc<Address>>)| {
            let id = state.logs.get_mut(partition.index())?.advance(now);
            Some(Home { partition, id, addresses: addresses.into() })
        };
        let homes: SmallVec<[Home; 1]> = homes.into_iter().filter_map(home).collect();
        let event = state.events.keep(&prepared.message, homes);
        let mut receipt = Receipt::default();
        for Home { partition, id, addresses } in &event.homes {
            let Some(log) = state.logs.get_mut(partition.index()) else { continue };
            let epoch = log.epoch;
            for address in addresses {
                log.append(address, *id, &event, &self.retention, state.events.held());
                receipt.ids.insert(address.to_string(), *id);
            }
            let keys = self.namespace.keys(*partition);
            for address in addresses {
                state.push(*partition, keys.stream(address), || format!("1 {id} {epoch} {}", event.message));
            }
            if prepared.addresses.len() > 1 {
                state.push(*partition, keys.journal(), || format!("1 {id} {epoch}"));
            }
        }
        drop(event);
        state.make_room();
        receipt
    }
}

impl State {
    fn make_room(&mut self) {
        while let Some(event) = self.events.next_to_drop() {
            for home in &event.homes {
                if let Some(log) = self.logs.get_mut(home.partition.index()) {
                    log.drop_event(home);
                }
            }
        }
    }

    fn push(&self, partition: Partition, channel: String, text: impl FnOnce() -> String) {
        if let Some(sink) = self.sinks.get(&partition).filter(|_| self.channels.contains(&channel)) {
            sink.push(channel.into(), text().into());
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
        state.push(partition, channel, || format!("1 {} {}", place.id, place.epoch));
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
