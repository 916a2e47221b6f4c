//! The reader: follows the store on a thread of its own, encodes each event once, and hands it to the workers.
//!
//! It is one task that owns all it knows, so its order of things is the order of the program: what a worker is handed
//! before an answer to a join happened before that join. It waits for nothing but its own inputs; requests to the store
//! run beside it and come back as [`Answer`]s.

pub mod delivery;
mod followed;
mod handle;
mod join;
mod outbox;
mod partition;
mod recovery;
mod replay;
mod requests;
mod status;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidings_shared::cursor::Place;
use tidings_shared::keys::Namespace;
use tidings_shared::message::{self, Delivered};
use tidings_shared::{Address, Partition, Partitions};
use tokio::sync::mpsc;

pub use self::handle::{Command, ReaderHandle};
pub use self::join::{From, Join};
pub use self::outbox::WorkerId;
pub use self::status::{PartitionStatus, Status};

use self::delivery::{Dispatch, Joined, Resync};
use self::followed::FollowTable;
use self::join::{Part, Plan};
use self::outbox::Outboxes;
use self::partition::{PartitionState, Step};
use self::requests::{Answer, Requests};
use crate::control::Reason;
use crate::metrics::{Metrics, Resume};
use crate::store::{Push, Session, Store, StoreError};

/// What the reader is told at its start.
#[derive(Debug, Clone)]
pub struct ReaderOptions {
    /// The key prefix.
    pub namespace: Namespace,
    /// This gateway's id.
    pub gateway: String,
    /// How often a beacon is sent through each partition.
    pub beacon: Duration,
    /// Bytes of messages that one resume may read.
    pub replay_bytes: u64,
    /// Bytes of recent frames that are kept.
    pub recent_bytes: usize,
}

/// What a channel carries.
#[derive(Debug, Clone)]
enum Route {
    Address(Partition, Arc<Address>),
    EndMarks(Partition),
    Beacons(Partition),
}

/// The reader.
struct Reader {
    store: Store,
    options: ReaderOptions,
    partitions: Partitions,
    states: Vec<PartitionState>,
    table: FollowTable,
    routes: HashMap<Box<str>, Route>,
    outboxes: Outboxes,
    status: Status,
    metrics: Metrics,
    /// Who the server was in the last session.
    run: Option<String>,
    /// Whether the last session ended because this reader was too slow: then history is not worth reading.
    behind: bool,
}

/// The most pushes, and commands, that are taken in one turn.
const TURN: usize = 1_024;
/// The longest wait between two tries to connect.
const BACK_OFF: Duration = Duration::from_secs(5);

/// Starts the reader on its own thread. It ends when the last handle is gone.
pub fn spawn(store: Store, options: ReaderOptions, metrics: Metrics) -> std::io::Result<ReaderHandle> {
    let status = Status::new(store.partitions());
    let (handle, commands) = ReaderHandle::new(status.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("reader".to_owned()).spawn(move || {
        let reader = Reader::new(store, options, status, metrics);
        runtime.block_on(tokio::task::LocalSet::new().run_until(reader.run(commands)));
    })?;
    Ok(handle)
}

impl Reader {
    fn new(store: Store, options: ReaderOptions, status: Status, metrics: Metrics) -> Self {
        let partitions = store.partitions();
        let now = Instant::now();
        Self {
            partitions,
            states: partitions.all().map(|p| PartitionState::new(p, partitions, now)).collect(),
            table: FollowTable::new(options.recent_bytes),
            routes: HashMap::new(),
            outboxes: Outboxes::default(),
            status,
            metrics,
            run: None,
            behind: false,
            store,
            options,
        }
    }

    async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        let mut wait = Duration::ZERO;
        loop {
            let Some(opened) = self.open(&mut commands, wait).await else { return };
            let began = Instant::now();
            let ended = match opened {
                Ok(session) => self.serve(session, &mut commands).await,
                Err(error) => Err(error),
            };
            let Err(error) = ended else { return };
            tracing::warn!(%error, "the way to the store is broken; streams stay open, new ones are told to come back");
            self.metrics.add_store_reconnect();
            self.go_down(&error);
            // A session that lived is tried again at once; else the wait doubles, with jitter.
            wait = if began.elapsed() > BACK_OFF { Duration::ZERO } else { next_wait(wait) };
        }
    }

    /// Opens a session after `wait`, and refuses joins meanwhile. `None` when nobody needs the reader any more.
    async fn open(
        &mut self,
        commands: &mut mpsc::UnboundedReceiver<Command>,
        wait: Duration,
    ) -> Option<Result<Session, StoreError>> {
        let store = self.store.clone();
        let opening = async move {
            tokio::time::sleep(wait).await;
            store.connect().await
        };
        tokio::pin!(opening);
        loop {
            tokio::select! {
                opened = &mut opening => return Some(opened),
                command = commands.recv() => {
                    self.refuse(command?);
                    self.flush();
                }
            }
        }
    }

    /// Takes a command while the store is away.
    fn refuse(&mut self, command: Command) {
        match command {
            Command::Join(join) => {
                self.outboxes.joined(join.worker, Joined { connection: join.connection, starts: None })
            }
            other => self.take_command(other),
        }
    }

    fn take_command(&mut self, command: Command) {
        match command {
            Command::Register(worker, sender) => self.outboxes.register(worker, sender),
            Command::Leave(worker, address) => self.table.leave(worker, &address, Instant::now()),
            Command::Join(_) => {}
        }
    }

    /// Recovers what was missed, then serves until the session breaks (an error) or nobody needs it (not one).
    async fn serve(
        &mut self,
        mut session: Session,
        commands: &mut mpsc::UnboundedReceiver<Command>,
    ) -> Result<(), StoreError> {
        self.recover(&mut session).await?;
        self.flush();
        let mut requests = Requests::new(session.client.clone(), self.options.replay_bytes, self.metrics.clone());
        let result = self.live(&mut session, commands, &mut requests).await;
        for (worker, connection) in requests.abandon() {
            self.outboxes.joined(worker, Joined { connection, starts: None });
        }
        result
    }

    async fn live(
        &mut self,
        session: &mut Session,
        commands: &mut mpsc::UnboundedReceiver<Command>,
        requests: &mut Requests,
    ) -> Result<(), StoreError> {
        let mut pushes = Vec::with_capacity(TURN);
        let mut asked = Vec::with_capacity(TURN);
        let mut beacons = tokio::time::interval(self.options.beacon);
        let mut seconds = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                whole = session.receive(&mut pushes, TURN) => {
                    self.take_pushes(pushes.drain(..));
                    if !whole {
                        self.behind = session.is_behind();
                        return Err(StoreError::new("receiving events", session.end()));
                    }
                }
                count = commands.recv_many(&mut asked, TURN) => {
                    if count == 0 {
                        return Ok(());
                    }
                    self.take_commands(asked.drain(..), requests);
                }
                Some(answer) = requests.next() => self.take_answer(answer, requests)?,
                _ = beacons.tick() => self.send_beacons(requests)?,
                _ = seconds.tick() => self.each_second(requests),
            }
            self.flush();
        }
    }

    fn take_pushes(&mut self, pushes: impl Iterator<Item = Push>) {
        let now = Instant::now();
        for push in pushes {
            let Some(route) = self.routes.get(&push.channel) else { continue };
            let (partition, step) = match route {
                Route::Address(partition, address) => {
                    let Ok(delivered) = Delivered::decode(&push.text) else {
                        tracing::warn!(channel = %push.channel, "a message that no publisher of this version sends was passed over");
                        continue;
                    };
                    self.metrics.add_events_received(1);
                    (*partition, self.states[partition.index()].message(address, &delivered))
                }
                Route::EndMarks(partition) | Route::Beacons(partition) => {
                    let Ok((id, epoch)) = message::decode_mark(&push.text) else { continue };
                    let (state, place) = (&mut self.states[partition.index()], Place { epoch, id });
                    match route {
                        Route::Beacons(_) => {
                            self.status.beacon(*partition, now, place);
                            (*partition, state.beacon(place, now))
                        }
                        _ => (*partition, state.end_mark(place)),
                    }
                }
            };
            match step {
                Step::Nothing => self.outboxes.moved(),
                Step::Event(event) => self.hand_out(&event),
                Step::OtherEpoch(place) => self.resync_partition(partition, place, Reason::Epoch),
            }
        }
    }

    /// Gives an event to the workers, and remembers it for connections that come back.
    fn hand_out(&mut self, event: &Dispatch) {
        for (address, frame) in &event.frames {
            self.table.remember(address, event.id, frame);
        }
        let followed: Vec<_> = event.frames.iter().filter_map(|(address, _)| self.table.get(address)).collect();
        if followed.len() == event.frames.len() {
            self.outboxes.dispatch(event, |at| followed[at]);
        }
        self.outboxes.moved();
    }

    /// All of a partition must be refetched: from here on it is at `place`.
    fn resync_partition(&mut self, partition: Partition, place: Place, reason: Reason) {
        tracing::warn!(%partition, reason = reason.as_str(), "every followed address of the partition is resynced");
        self.states[partition.index()].restart(place);
        self.table.forget_partition(partition, place.id);
        self.outboxes.resync(&Resync { partition, place, addresses: None, reason });
    }

    fn take_commands(&mut self, commands: impl Iterator<Item = Command>, requests: &mut Requests) {
        let mut joins = Vec::new();
        let mut channels = Vec::new();
        for command in commands {
            match command {
                Command::Join(join) => {
                    self.follow(&join, &mut channels);
                    joins.push(join);
                }
                other => self.take_command(other),
            }
        }
        if !channels.is_empty() {
            let addresses: Vec<_> = channels.iter().map(|(_, address)| Arc::clone(address)).collect();
            let acknowledged = requests.subscribe(channels);
            for address in &addresses {
                if let Some(followed) = self.table.get_mut(address) {
                    followed.pending = Some(acknowledged.clone());
                }
            }
        }
        for join in joins {
            self.begin(join, requests);
        }
    }

    /// Notes what a connection follows, and which channels that makes necessary.
    fn follow(&mut self, join: &Join, channels: &mut Vec<(String, Arc<Address>)>) {
        for address in join.addresses.iter() {
            let partition = self.partitions.of(address);
            let channel = || self.options.namespace.keys(partition).stream(address);
            if self.table.follow(join.worker, address, || (partition, channel().into())) {
                let channel = channel();
                self.routes.insert(channel.clone().into(), Route::Address(partition, Arc::clone(address)));
                channels.push((channel, Arc::clone(address)));
            }
        }
    }

    /// Answers a join at once if all is known, or asks the store.
    fn begin(&mut self, join: Join, requests: &mut Requests) {
        let place = |partition: Partition| self.states[partition.index()].place;
        match join::plan(&join, &self.table, self.partitions, place) {
            None => self.outboxes.joined(join.worker, Joined { connection: join.connection, starts: None }),
            Some(parts) if parts.iter().all(|part| matches!(part.plan, Plan::Ready(..))) => self.finish(&join, parts),
            Some(parts) => {
                let pending = |address: &Arc<Address>| self.table.get(address).and_then(|f| f.pending.clone());
                requests.read(join, parts, pending);
            }
        }
    }

    /// Answers a join of which nothing had to be read.
    fn finish(&mut self, join: &Join, parts: Vec<Part>) {
        let from_memory = parts.iter().any(|part| matches!(part.plan, Plan::Ready(_, true)));
        let starts = parts.into_iter().filter_map(|part| match part.plan {
            Plan::Ready(start, _) => Some(start),
            Plan::Read(_) => None,
        });
        let starts = starts.collect();
        self.answer(join, starts, if from_memory { Resume::Memory } else { Resume::None });
    }

    fn answer(&mut self, join: &Join, starts: Vec<delivery::Start>, served: Resume) {
        if matches!(join.from, From::Cursor(_)) {
            self.metrics.add_resume(served);
        }
        self.outboxes.joined(join.worker, Joined { connection: join.connection, starts: Some(starts) });
    }

    fn take_answer(&mut self, answer: Answer, requests: &mut Requests) -> Result<(), StoreError> {
        match answer {
            Answer::Subscribed(addresses, result) => {
                result?;
                for address in &addresses {
                    if let Some(followed) = self.table.get_mut(address) {
                        followed.pending = None;
                    }
                }
            }
            Answer::Unsubscribed(result) => result?,
            Answer::Beacon(result) => {
                result?;
            }
            Answer::Read { join, parts } => {
                let Some(starts) = self.starts(&join, parts)? else {
                    // The answer is from before something that was handed out since: ask again.
                    self.begin(join, requests);
                    return Ok(());
                };
                self.answer(&join, starts, Resume::Store);
            }
        }
        Ok(())
    }

    /// The starts of a join whose reads came back. `None` if one is outdated.
    fn starts(
        &mut self,
        join: &Join,
        parts: Vec<requests::ReadPart>,
    ) -> Result<Option<Vec<delivery::Start>>, StoreError> {
        let mut starts = Vec::with_capacity(parts.len());
        for (part, history) in parts {
            let read = match part.plan {
                Plan::Ready(start, _) => {
                    starts.push(start);
                    continue;
                }
                Plan::Read(read) => read,
            };
            let history = history.ok_or_else(|| StoreError::new("reading history", "no answer"))?;
            let state = &self.states[part.partition.index()];
            let now = state.place.ok_or_else(|| StoreError::new("reading history", "no place"))?;
            let epoch =
                history.epoch.ok_or_else(|| StoreError::new("reading history", "the store has lost its epoch"))?;
            if now.epoch == read.at.epoch && epoch != read.at.epoch {
                self.resync_partition(part.partition, Place { epoch, id: history.last }, Reason::Epoch);
                return Ok(None);
            }
            if now.epoch != read.at.epoch || history.last < read.at.id {
                return Ok(None);
            }
            let part = Part { plan: Plan::Read(read), ..part };
            starts.push(join::start(&join.from, &part, read, &history, &mut self.table, self.partitions));
        }
        Ok(Some(starts))
    }

    fn send_beacons(&mut self, requests: &mut Requests) -> Result<(), StoreError> {
        let deaf = self.options.beacon * 3;
        for partition in self.partitions.all() {
            let state = &self.states[partition.index()];
            if state.beacon.elapsed() > deaf {
                return Err(StoreError::new(
                    "waiting for beacons",
                    format!("none came through partition {partition} in three intervals"),
                ));
            }
            requests.beacon(partition, state.highest);
        }
        Ok(())
    }

    fn each_second(&mut self, requests: &mut Requests) {
        let channels = self.table.expire(Instant::now());
        if !channels.is_empty() {
            for channel in &channels {
                self.routes.remove(channel.as_str());
            }
            requests.unsubscribe(channels);
        }
        self.metrics.set_addresses_followed(self.table.len() as i64);
    }

    fn flush(&mut self) {
        let states = &self.states;
        let gone = self.outboxes.flush(|| states.iter().map(|state| state.place).collect());
        for worker in gone {
            self.table.leave_all(worker, Instant::now());
        }
    }

    fn go_down(&mut self, error: &StoreError) {
        self.status.all_down(&error.to_string());
        for state in &mut self.states {
            state.interrupt();
        }
        self.flush();
    }
}

fn next_wait(wait: Duration) -> Duration {
    let doubled = (wait * 2).clamp(Duration::from_millis(50), BACK_OFF);
    doubled.mul_f64(0.5 + fastrand::f64() / 2.0)
}
