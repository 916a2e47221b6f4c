//! The judge of promise 1: each event, for each client and address, was delivered once in order or resynced; or, if it was
//! published so, a later one that was delivered covers it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tidings_shared::{Address, Cursor, Id, Partition, Partitions};

use crate::record::{Entry, Record, What, first_ready};
use crate::wait::now_us;
pub use verdict::{Verdict, Violation};

mod convergence;
mod held;
mod verdict;

/// What may become of an event besides its delivery at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Manner {
    /// A later event of its address may take its place.
    pub coalesce: bool,
    /// It may come after later ones: it is spread.
    pub spread: bool,
}

/// One numbered event, as its publisher knows it.
#[derive(Debug, Clone)]
struct Published {
    to: Vec<String>,
    manner: Manner,
    started: u64,
    /// When its publisher knew that it is stored; 0 until then.
    acked: u64,
    /// `None` until it is known to be stored; for ever, if that could not be learnt.
    ids: Option<BTreeMap<String, Id>>,
}

/// The longest that an answer is under way, in microseconds, where a fault slows links down.
const ANSWER: u64 = 300_000;

impl Published {
    fn id(&self, address: &str) -> Option<Id> {
        self.ids.as_ref()?.get(address).copied()
    }

    /// From when on, in microseconds since 1970, a refetch of the address shows the change, and so a resync covers it: the
    /// clock of Redis when it was stored. Where ids run ahead of that, it was stored no longer before it was acknowledged
    /// than an answer may take. A resync that came while the publish was still being tried again covers nothing.
    fn stored(&self, address: &str) -> Option<u64> {
        let id = self.ids.as_ref()?.get(address)?;
        let told = id.ms.saturating_mul(1000);
        let stored = if told > self.acked { self.acked.saturating_sub(ANSWER) } else { told };
        Some(self.started.max(stored))
    }
}

/// What was published so far.
#[derive(Debug)]
pub struct Oracle {
    partitions: Partitions,
    events: Mutex<Vec<Published>>,
}

impl Oracle {
    /// For a namespace of one partition.
    pub fn new() -> Arc<Self> {
        Self::of(Partitions::ONE)
    }

    /// For several partitions.
    pub fn of(partitions: Partitions) -> Arc<Self> {
        Arc::new(Self { partitions, events: Mutex::default() })
    }

    /// A publish begins now, of an event that is owed as it is. Answers its serial.
    pub fn begin(&self, to: &[&str]) -> u64 {
        self.begin_as(to, Manner::default())
    }

    /// A publish begins now. Answers the event's serial.
    pub fn begin_as(&self, to: &[&str], manner: Manner) -> u64 {
        self.begin_at(now_us(), to, manner)
    }

    fn begin_at(&self, started: u64, to: &[&str], manner: Manner) -> u64 {
        let mut events = self.lock();
        let to = to.iter().map(|address| (*address).to_owned()).collect();
        events.push(Published { to, manner, started, acked: 0, ids: None });
        events.len() as u64 - 1
    }

    /// It was stored under these ids, as is known now.
    pub fn acked(&self, n: u64, ids: BTreeMap<String, Id>) {
        self.acked_at(now_us(), n, ids);
    }

    fn acked_at(&self, at: u64, n: u64, ids: BTreeMap<String, Id>) {
        let event = &mut self.lock()[n as usize];
        (event.acked, event.ids) = (at, Some(ids));
    }

    /// Nobody can say whether it was stored: it may be delivered, at most once.
    pub fn unknown(&self, n: u64) {
        self.lock()[n as usize].ids = None;
    }

    /// How many events are known to be stored.
    pub fn stored(&self) -> usize {
        self.lock().iter().filter(|event| event.ids.is_some()).count()
    }

    /// How many events their publishers gave up, or have not heard of yet.
    pub fn unacknowledged(&self) -> usize {
        self.lock().iter().filter(|event| event.ids.is_none()).count()
    }

    /// Judges again and again until nothing is owed any more or the time is over.
    pub async fn settle<'a>(
        &self,
        records: impl IntoIterator<Item = &'a Arc<Record>> + Clone,
        within: Duration,
    ) -> Verdict {
        let begun = Instant::now();
        loop {
            let verdict = self.judge(records.clone());
            if verdict.lost == 0 || begun.elapsed() > within {
                return verdict;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Judges what these clients saw so far.
    pub fn judge<'a>(&self, records: impl IntoIterator<Item = &'a Arc<Record>>) -> Verdict {
        let events = self.lock();
        let mut verdict = Verdict::default();
        verdict.events = events.iter().filter(|event| event.ids.is_some()).count();
        for record in records {
            verdict.clients += 1;
            record.look(|entries| {
                Judge { partitions: self.partitions, events: &events, record, entries }.judge(&mut verdict)
            });
        }
        verdict
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Published>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One client's case.
struct Judge<'a> {
    partitions: Partitions,
    events: &'a [Published],
    record: &'a Record,
    entries: &'a [Entry],
}

/// Where in the record an event came, for each address that it named.
type Deliveries<'a> = HashMap<(u64, &'a str), Vec<usize>>;

impl Judge<'_> {
    fn judge(&self, verdict: &mut Verdict) {
        let deliveries = self.deliveries(verdict);
        if self.may_be_held() {
            self.judge_order_of_addresses(verdict);
            self.judge_cursors(&deliveries, verdict);
        } else {
            self.judge_order(verdict);
        }
        self.judge_pairs(&deliveries, verdict);
    }

    fn accuse(&self, verdict: &mut Verdict, kind: Violation, at: Option<usize>, what: impl FnOnce() -> String) {
        verdict.add(kind, || {
            let from = at.map_or(self.entries.len().saturating_sub(8), |at| at.saturating_sub(4));
            let begin = self.entries.first().map_or(0, |entry| entry.at);
            let tell =
                |e: &Entry| format!("{:>7} ms #{} {:?}", e.at.saturating_sub(begin) / 1000, e.connection, e.what);
            let timeline = self.entries.iter().skip(from).take(8).map(tell).collect();
            (format!("{}: {}", self.record.name(), what()), timeline)
        });
    }

    /// Collects deliveries, and accuses of what was never to be sent to this client.
    fn deliveries(&self, verdict: &mut Verdict) -> Deliveries<'_> {
        let mut deliveries = Deliveries::new();
        for (at, entry) in self.entries.iter().enumerate() {
            match &entry.what {
                What::Message(message) => {
                    let Some(n) = message.n else { continue };
                    let known = self.events.get(n as usize);
                    for address in &message.addresses {
                        deliveries.entry((n, address.as_str())).or_default().push(at);
                        let meant = known.is_some_and(|event| event.to.contains(address));
                        if !meant || !self.record.follows().contains(address) {
                            let what =
                                || format!("event {n} came for {address}, which it was not sent to or is not followed");
                            self.accuse(verdict, Violation::Stray, Some(at), what);
                        }
                    }
                }
                What::Resync { address, .. } if !self.record.follows().contains(address) => {
                    self.accuse(verdict, Violation::Stray, Some(at), || format!("a resync of {address}, not followed"));
                }
                What::Fault { what } => self.accuse(verdict, Violation::Fault, Some(at), || what.clone()),
                What::Dead { why } => {
                    self.accuse(verdict, Violation::Fault, Some(at), || format!("dead for good: {why}"))
                }
                _ => {}
            }
        }
        deliveries
    }

    /// Ids rise strictly within each partition over the client's whole life; an event's second coming is judged as such.
    fn judge_order(&self, verdict: &mut Verdict) {
        let mut last: HashMap<Partition, Id> = HashMap::new();
        let mut seen: HashMap<(u64, Partition), usize> = HashMap::new();
        let mut cursor = None;
        for (at, entry) in self.entries.iter().enumerate() {
            let before = cursor;
            cursor = entry.what.cursor().or(before);
            let What::Message(message) = &entry.what else { continue };
            let (Some(n), Some(address)) = (message.n, message.addresses.first()) else { continue };
            let Ok(parsed) = address.parse::<Address>() else { continue };
            let partition = self.partitions.of(&parsed);
            let known = self.events.get(n as usize).and_then(|event| event.id(address));
            let told = message.cursor.as_deref().and_then(|text| place(text, self.partitions, partition));
            // While a resync is owed, events leave the cursor where it is.
            let unmoved = before.and_then(|text| place(text, self.partitions, partition)) == told;
            // It may be told of a history that is given up: acknowledged was what another one took.
            let started = self.events.get(n as usize).map_or(0, |event| event.started);
            let since = &self.entries[self.entries.partition_point(|entry| entry.at < started)..];
            let given_up = known != told && self.other_history(since, address);
            if let (Some(known), Some(told)) = (known, told)
                && known != told
                && !unmoved
                && !given_up
            {
                let what = || format!("event {n} has id {known}, but its cursor says {told}");
                self.accuse(verdict, Violation::OutOfOrder, Some(at), what);
            }
            if seen.insert((n, partition), at).is_some() {
                continue;
            }
            let Some(id) = (if given_up { told.filter(|_| !unmoved) } else { known.or(told) }) else { continue };
            if let Some(before) = last.insert(partition, id)
                && before >= id
            {
                self.accuse(verdict, Violation::OutOfOrder, Some(at), || {
                    format!("event {n} with id {id} came after {before}")
                });
            }
        }
    }

    fn judge_pairs(&self, deliveries: &Deliveries<'_>, verdict: &mut Verdict) {
        let resyncs = self.last_resyncs();
        let ready = first_ready(self.entries);
        for (n, event) in self.events.iter().enumerate() {
            for address in event.to.iter().filter(|address| self.record.follows().contains(address)) {
                let came = deliveries.get(&(n as u64, address.as_str())).map_or(&[][..], Vec::as_slice);
                if came.len() > 1 && !self.may_be_several(came, address) {
                    let what = || format!("event {n} for {address} came {} times", came.len());
                    self.accuse(verdict, Violation::Twice, came.get(1).copied(), what);
                }
                let owed = ready.is_some_and(|ready| ready < event.started);
                let Some(stored) = event.stored(address).filter(|_| owed) else { continue };
                verdict.pairs += 1;
                if !came.is_empty() {
                    verdict.delivered += 1;
                } else if resyncs.get(address.as_str()).is_some_and(|at| *at >= stored) {
                    verdict.resynced += 1;
                } else if self.covered_by(event, address).any(|later| deliveries.contains_key(&(later, address))) {
                    verdict.covered += 1;
                } else {
                    let after = Some(self.entries.partition_point(|entry| entry.at < stored));
                    let what =
                        || format!("event {n} for {address}, stored at {stored}, was neither delivered nor resynced");
                    self.accuse(verdict, Violation::Lost, after, what);
                }
            }
        }
    }

    /// The last resync of each address: it covers all that was stored before it.
    fn last_resyncs(&self) -> HashMap<&str, u64> {
        let mut last = HashMap::new();
        for entry in self.entries {
            if let What::Resync { address, .. } = &entry.what {
                last.insert(address.as_str(), entry.at);
            }
        }
        last
    }
}

/// The id that a cursor tells of a partition.
fn place(cursor: &str, partitions: Partitions, partition: Partition) -> Option<Id> {
    Cursor::decode(cursor, partitions).ok()?.place(partition).map(|place| place.id)
}

#[cfg(test)]
mod tests;
