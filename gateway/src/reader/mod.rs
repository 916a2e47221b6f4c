//! The reader: follows the store on a thread of its own, encodes each event once, and hands it to the workers.
//!
//! It is one task that owns all it knows, so its order of things is the order of the program: what a worker is handed
//! before an answer to a join happened before that join. It waits for nothing but its own inputs; requests to the store
//! run beside it and come back as answers.

mod allowance;
pub mod delivery;
mod followed;
mod handle;
mod join;
mod joins;
mod options;
mod outbox;
mod partition;
mod past;
mod pushes;
mod reads;
mod recent;
mod recovery;
mod replay;
mod requests;
mod status;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidings_shared::{Address, Partition, Partitions};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

pub use self::handle::{Command, ReaderHandle};
pub use self::join::{From, Join, Tries};
pub use self::options::ReaderOptions;
pub use self::outbox::{Parcel, WorkerId};
pub use self::status::{PartitionStatus, Status};

use self::allowance::Allowance;
use self::delivery::Joined;
use self::followed::FollowTable;
use self::outbox::Outboxes;
use self::partition::PartitionState;
use self::requests::Requests;
use crate::frame::Encoder;
use crate::metrics::Metrics;
use crate::store::{Session, Store, StoreError};
use crate::without::Mechanism;

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
    encoder: Encoder,
    states: Vec<PartitionState>,
    table: FollowTable,
    allowance: Allowance,
    routes: HashMap<Box<str>, Route>,
    outboxes: Outboxes,
    status: Status,
    metrics: Metrics,
    /// Which server served each partition in the last session.
    runs: Vec<Arc<str>>,
    /// Whether the last session ended because this reader was too slow: then history is not worth reading.
    behind: bool,
}

/// The most pushes, and commands, that are taken in one turn.
const TURN: usize = 1_024;
/// The longest wait between two tries to connect: a part of the time in which all should have converged after a failover.
const BACK_OFF: Duration = Duration::from_secs(1);
/// A session that lived for this long is tried again at once.
const LIVED: Duration = Duration::from_secs(5);

/// Starts the reader on its own thread. It ends when the last handle is gone.
pub fn spawn(store: Store, options: ReaderOptions, metrics: Metrics) -> std::io::Result<ReaderHandle> {
    let status = Status::new(store.partitions());
    let (handle, commands) = ReaderHandle::new(status.clone());
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
            allowance: Allowance::new(options.replay_bytes),
            routes: HashMap::new(),
            outboxes: Outboxes::default(),
            status,
            metrics,
            runs: Vec::new(),
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
            // Else the wait doubles, with jitter.
            wait = if began.elapsed() > LIVED { Duration::ZERO } else { next_wait(wait) };
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
        let mut seconds = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                opened = &mut opening => return Some(opened),
                command = commands.recv() => self.refuse(command?),
                // A worker that lagged is told as soon as it has room, also now.
                _ = seconds.tick() => {}
            }
            self.flush();
        }
    }

    /// Takes a command while the store is away.
    fn refuse(&mut self, command: Command) {
        match command {
            Command::Join(join) => self.turn_away(&join),
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
        let mut requests = Requests::new(session.client.clone(), self.options.reads(), self.metrics.clone());
        let result = self.live(&mut session, commands, &mut requests).await;
        for (worker, connection) in requests.abandon() {
            self.outboxes.joined(worker, Joined { connection, starts: None }, None);
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
        // A reader that was stopped for a while would send all that it missed at once.
        beacons.set_missed_tick_behavior(MissedTickBehavior::Delay);
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
                _ = seconds.tick() => self.each_second(Instant::now(), requests),
            }
            self.flush();
        }
    }

    fn send_beacons(&mut self, requests: &mut Requests) -> Result<(), StoreError> {
        let deaf = self.options.beacon * 3;
        for partition in self.partitions.all() {
            let state = &self.states[partition.index()];
            if state.beacon.elapsed() > deaf && !self.options.without.lacks(Mechanism::Beacon) {
                return Err(StoreError::new(
                    "waiting for beacons",
                    format!("none came through partition {partition} in three intervals"),
                ));
            }
            requests.beacon(partition, state.highest);
        }
        Ok(())
    }

    fn each_second(&mut self, now: Instant, requests: &mut Requests) {
        let channels = self.table.expire(now);
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
        states.iter().for_each(PartitionState::tell);
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
