//! The reader: follows the store on a thread of its own, encodes each event once, and hands it to the workers.
//!
//! It is one task that owns all it knows, so its order of things is the order of the program: what a worker is handed
//! before an answer to a join happened before that join. It waits for nothing but its own inputs; requests to the store
//! run beside it and come back as answers.

mod address_limit;
mod answers;
mod attach;
mod commands;
pub mod delivery;
mod followed;
mod handle;
mod link_activity;
mod options;
mod outbox;
mod partition;
mod pulse;
mod pushes;
mod recent;
mod recovery;
mod requests;
mod resume;
mod sessions;
mod status;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use indexmap::IndexMap;
use tidings_shared::{Address, Partition, Partitions};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

pub use self::handle::{Command, ReaderHandle};
pub use self::link_activity::LinkActivity;
pub use self::options::ReaderOptions;
pub use self::outbox::{Parcel, WorkerId};
pub use self::pulse::{Pulse, max_silence};
pub use self::resume::{From, Join};
pub use self::status::{PartitionStatus, Status};

use self::address_limit::AddressLimit;
use self::followed::FollowTable;
use self::outbox::Outboxes;
use self::partition::PartitionState;
use self::recovery::Recovered;
use self::requests::{Answer, Requests};
use self::resume::Joins;
use self::sessions::{Openings, Sessions};
use crate::frame::Encoder;
use crate::metrics::Metrics;
use crate::store::{Store, StoreError};
use crate::without::Mechanism;

/// What a channel carries.
#[derive(Debug, Clone)]
enum Route {
    Address(Partition, Arc<Address>),
    EndMarks(Partition),
    Beacons(Partition),
}

impl Route {
    fn partition(&self) -> Partition {
        match self {
            Self::Address(partition, _) | Self::EndMarks(partition) | Self::Beacons(partition) => *partition,
        }
    }
}

/// The reader.
struct Reader {
    store: Store,
    options: ReaderOptions,
    partitions: Partitions,
    encoder: Encoder,
    states: Vec<PartitionState>,
    table: FollowTable,
    address_limit: AddressLimit,
    joins: Joins,
    /// By channel. As many as addresses, in a map of the same kind.
    routes: IndexMap<Box<str>, Route>,
    outboxes: Outboxes,
    status: Status,
    metrics: Metrics,
    /// Whether messages of other databases of the server come in too.
    shared_channels: bool,
}

/// The ways to the store.
struct Links {
    sessions: Sessions,
    openings: Openings,
    /// What was opened and is not attached yet.
    recoveries: FuturesUnordered<LocalBoxFuture<'static, Recovered>>,
    requests: Requests,
}

/// The session over a partition is broken, though it does not look so.
#[derive(Debug)]
struct Broken {
    partition: Partition,
    error: StoreError,
}

/// The most pushes, and commands, that are taken in one turn.
const TURN: usize = 1_024;

/// Starts the reader on its own thread. It ends when the last handle is gone.
pub fn spawn(store: Store, options: ReaderOptions, metrics: Metrics) -> std::io::Result<ReaderHandle> {
    let status = Status::new(store.partitions());
    let (handle, commands) = ReaderHandle::new(status.clone());
    if options.without.lacks(Mechanism::Pulse) {
        let pulse = status.pulse().clone();
        std::thread::spawn(move || {
            loop {
                pulse.beat(Instant::now());
                std::thread::sleep(Duration::from_secs(1));
            }
        });
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("reader".to_owned()).spawn(move || {
        let _down = Down(status.clone());
        let reader = Reader::new(store, options, status, metrics);
        runtime.block_on(tokio::task::LocalSet::new().run_until(reader.run(commands)));
    })?;
    Ok(handle)
}

/// Readiness does not outlive the reader, also if a panic ends it.
struct Down(Status);

impl Drop for Down {
    fn drop(&mut self) {
        self.0.all_down("the reader has ended");
    }
}

impl Reader {
    fn new(store: Store, options: ReaderOptions, status: Status, metrics: Metrics) -> Self {
        let partitions = store.partitions();
        let now = Instant::now();
        let encoder = Encoder { partitions, spreads: options.spreads.clone() };
        Self {
            partitions,
            states: partitions.all().map(|p| PartitionState::new(p, encoder.clone(), now)).collect(),
            encoder,
            table: FollowTable::new(options.recent_bytes, options.linger),
            address_limit: AddressLimit::new(options.addresses, now),
            joins: Joins::new(partitions, &options, metrics.clone()),
            routes: IndexMap::new(),
            outboxes: Outboxes::default(),
            status,
            metrics,
            shared_channels: store.shares_channels(),
            store,
            options,
        }
    }

    /// Serves until nobody needs it any more. Each session comes and goes by itself; what a server has that is away keeps
    /// nobody waiting who follows what the others have.
    async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        let mut links = Links {
            sessions: Sessions::default(),
            openings: Openings::new(self.store.clone()),
            recoveries: FuturesUnordered::new(),
            requests: Requests::new(self.partitions),
        };
        links.openings.begin(self.partitions.all().collect(), Duration::ZERO);
        let mut pushes = Vec::with_capacity(TURN);
        let mut asked = Vec::with_capacity(TURN);
        let mut beacons = tokio::time::interval(self.options.beacon);
        // A reader that was stopped for a while would send all that it missed at once.
        beacons.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seconds = tokio::time::interval(Duration::from_secs(1));
        loop {
            self.status.pulse().beat(Instant::now());
            tokio::select! {
                (at, whole) = links.sessions.receive(&mut pushes, TURN) => {
                    self.take_pushes(pushes.drain(..), &mut links.requests);
                    if !whole {
                        self.end(at, None, &mut links);
                    }
                }
                count = commands.recv_many(&mut asked, TURN) => {
                    if count == 0 {
                        return;
                    }
                    self.take_commands(asked.drain(..), &mut links.requests);
                }
                Some(answer) = links.requests.next() => match answer {
                    Answer::Policy(partition, policy) => self.take_policy(partition, policy, &mut links.sessions),
                    answer => {
                        let taken = self.take_answer(answer, &mut links.requests);
                        self.end_broken(taken.err(), &mut links);
                    }
                },
                Some((attempt, waited)) = links.openings.next() => self.opened(attempt, waited, &mut links),
                Some(recovered) = links.recoveries.next() => self.recovered(recovered, &mut links),
                _ = beacons.tick() => {
                    let deaf = self.send_beacons(&mut links.requests);
                    links.sessions.any_partitions().for_each(|partition| links.requests.policy(partition));
                    self.end_broken(deaf, &mut links);
                }
                _ = seconds.tick() => self.each_second(Instant::now(), &mut links.requests),
            }
            self.flush();
        }
    }

    fn end_broken(&mut self, broken: impl IntoIterator<Item = Broken>, links: &mut Links) {
        for Broken { partition, error } in broken {
            if let Some(at) = links.sessions.of(partition) {
                self.end(at, Some(error), links);
            }
        }
    }

    /// Ends a session, for a reason of ours or for its own.
    fn end(&mut self, at: usize, error: Option<StoreError>, links: &mut Links) {
        let open = links.sessions.remove(at);
        let error = error.unwrap_or_else(|| StoreError::new("receiving events", open.session.end()));
        for partition in &open.session.partitions {
            self.states[partition.index()].behind = open.session.is_behind();
        }
        let wait = open.next_wait();
        self.lost(open.session.partitions, &error, wait, links);
    }

    /// The server of these partitions is away, until a session is open again.
    fn lost(&mut self, partitions: Vec<Partition>, error: &StoreError, wait: Duration, links: &mut Links) {
        self.detach(&partitions, error, &mut links.requests);
        links.openings.begin(partitions, wait);
    }

    fn detach(&mut self, partitions: &[Partition], error: &StoreError, requests: &mut Requests) {
        let numbers: Vec<usize> = partitions.iter().map(|partition| partition.index()).collect();
        tracing::warn!(%error, partitions = ?numbers, "the way to the store is broken; streams stay open, new ones are told to come back");
        self.metrics.add_store_reconnect();
        for partition in partitions {
            self.status.down(*partition, &error.to_string());
            self.status.link_activity().set_attached(*partition, false);
            self.states[partition.index()].detach();
        }
        // The next session subscribes to all that is followed then.
        for followed in self.table.values_mut().filter(|followed| partitions.contains(&followed.partition)) {
            followed.pending = None;
        }
        requests.detach(partitions);
        for key in self.joins.detach(partitions) {
            self.turn_away(key);
        }
    }

    /// Sends a beacon through each partition, and tells of those through which none has come for too long.
    fn send_beacons(&mut self, requests: &mut Requests) -> Vec<Broken> {
        let deaf = self.options.beacon * 3;
        let mut broken = Vec::new();
        for state in self.states.iter().filter(|state| state.attached) {
            let partition = state.partition;
            if state.beacon.elapsed() > deaf && !self.options.without.lacks(Mechanism::Beacon) {
                let detail = format!("none came through partition {partition} in three intervals");
                broken.push(Broken { partition, error: StoreError::new("waiting for beacons", detail) });
            } else {
                requests.beacon(partition, state.highest);
            }
        }
        broken
    }

    fn each_second(&mut self, now: Instant, requests: &mut Requests) {
        let channels = self.table.expire(now);
        self.forget_channels(channels, requests);
        let lingering = self.table.lingering();
        self.metrics.set_addresses_followed((self.table.len() - lingering) as i64);
        self.metrics.set_addresses_lingering(lingering as i64);
        self.address_limit.tidy(now);
        self.address_limit.log_refused(self.table.len());
        self.joins.report(&self.metrics);
    }

    /// Ends the subscriptions of addresses that are not in the table any more.
    fn forget_channels(&mut self, channels: Vec<String>, requests: &mut Requests) {
        let mut forgotten: BTreeMap<Partition, Vec<String>> = BTreeMap::new();
        for channel in channels {
            if let Some(route) = self.routes.swap_remove(channel.as_str()) {
                forgotten.entry(route.partition()).or_default().push(channel);
            }
        }
        for (partition, channels) in forgotten {
            // A read under way may be from before this. Whoever follows one of these anew must not share it: what comes
            // until it is subscribed again, comes to nobody.
            self.states[partition.index()].doubt();
            requests.unsubscribe(partition, channels);
        }
    }

    fn flush(&mut self) {
        self.tell_names();
        let states = &self.states;
        states.iter().for_each(PartitionState::tell);
        let gone = self.outboxes.flush(|| states.iter().map(|state| state.place).collect());
        for worker in gone {
            self.table.leave_all(worker, Instant::now());
        }
    }
}
