//! A process of attackers: all attacks at once, or as many harmless requests a second.

mod attack;
mod requests;
mod resets;
mod visit;

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

pub use attack::{ATTACKS, Attack, FILES};
pub use resets::PAGE;

use visit::{Visit, visit};

/// From one look at connections that are to close to the next.
const LOOK: Duration = Duration::from_millis(10);
/// The most connections of one attack at a time.
const AT_ONCE: usize = 6_000;

/// The first line to a process of attackers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AttackTask {
    /// The listener for streams.
    pub public: SocketAddr,
    /// The listener for publishers.
    pub admin: SocketAddr,
    /// A cursor that the gateway gave.
    pub cursor: String,
}

/// A further line: what is done for some time. Answers a list of [`AttackTally`].
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct AttackPhase {
    /// Attacks, or the harmless requests in their place.
    pub is_harmful: bool,
    /// How long it lasts.
    pub millis: u64,
    /// Divides all rates.
    pub divisor: u32,
}

impl AttackPhase {
    /// Both have an origin of their own, as limits may go by that.
    fn source(self) -> Ipv4Addr {
        Ipv4Addr::new(127, 0, 0, if self.is_harmful { 2 } else { 3 })
    }
}

/// The counts of one attack in a phase.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct AttackTally {
    /// Its name.
    pub name: String,
    /// How often it was begun.
    pub begun: u32,
    /// How often what was answered: a status, or what took its place.
    pub answers: BTreeMap<String, u32>,
}

/// A tally that many connections add to.
#[derive(Debug, Clone, Default)]
struct SharedTally(Arc<Mutex<AttackTally>>);

impl SharedTally {
    fn new(name: &str) -> Self {
        Self(Arc::new(Mutex::new(AttackTally { name: name.to_owned(), ..AttackTally::default() })))
    }

    fn change(&self, change: impl FnOnce(&mut AttackTally)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn counts(&self) -> AttackTally {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a connection still adds to it.
    fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    fn begin(&self) {
        self.change(|tally| tally.begun += 1);
    }

    fn add(&self, answer: &str) {
        self.change(|tally| *tally.answers.entry(answer.to_owned()).or_default() += 1);
    }
}

/// Takes a task, then runs a phase for each line and answers with its counts. Ends with its input.
pub fn run() -> io::Result<()> {
    let mut lines = io::stdin().lock().lines();
    let Some(task) = lines.next().transpose()? else { return Ok(()) };
    let task: Arc<AttackTask> = Arc::new(serde_json::from_str(&task)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for line in lines {
        let phase: AttackPhase = serde_json::from_str(&line?)?;
        let tallies = runtime.block_on(run_phase(&task, phase));
        writeln!(io::stdout(), "{}", serde_json::to_string(&tallies)?)?;
    }
    Ok(())
}

/// Runs all attacks for as long as the phase lasts, then closes all of their connections.
async fn run_phase(task: &Arc<AttackTask>, phase: AttackPhase) -> Vec<AttackTally> {
    let mut attacks = JoinSet::new();
    let mut tallies = Vec::new();
    for attack in &ATTACKS {
        let tally = SharedTally::new(attack.name);
        tallies.push(tally.clone());
        attacks.spawn(repeat(attack, task.clone(), phase, tally));
    }
    let tally = SharedTally::new("streams of HTTP/2 that are reset");
    tallies.push(tally.clone());
    for _ in 0..resets::CONNECTIONS {
        attacks.spawn(resets::repeat(task.public, phase, tally.clone()));
    }
    // Or it would count as one of a connection below, for ever.
    drop(tally);
    sleep(Duration::from_millis(phase.millis)).await;
    attacks.shutdown().await;
    // Tasks that these had spawned are aborted too, and close once the runtime polls them: not after this, so it waits.
    while tallies.iter().any(SharedTally::is_shared) {
        sleep(LOOK).await;
    }
    tallies.iter().map(SharedTally::counts).collect()
}

async fn repeat(attack: &Attack, task: Arc<AttackTask>, phase: AttackPhase, tally: SharedTally) {
    let mut pace = interval(attack.every * phase.divisor);
    // A late tick is made up for, so that a phase has as many connections as its rate says.
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut visits = JoinSet::new();
    let mut number = 0;
    loop {
        pace.tick().await;
        let count = if number == 0 { (attack.first / phase.divisor).max(1) } else { 1 };
        for _ in 0..count {
            let bytes = if phase.is_harmful { attack.harmful } else { attack.harmless };
            visits.spawn(visit(Visit {
                to: if attack.is_admin { task.admin } else { task.public },
                source: phase.source(),
                bytes: bytes(&task, number),
                hold: attack.hold,
                // A harmless client reads what it is sent.
                reads: attack.reads || !phase.is_harmful && !attack.hold.is_zero(),
                tally: tally.clone(),
            }));
            number += 1;
        }
        while visits.try_join_next().is_some() {}
        while visits.len() > AT_ONCE {
            visits.join_next().await;
        }
    }
}
