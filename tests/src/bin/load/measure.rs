//! The measurement of one server.

use std::time::Duration;

use serde::Serialize;
use tidings_tests::process::Process;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};

use crate::options::Options;
use crate::shape::Shape;
use crate::swarm::Swarm;
use crate::target::Target;

/// What was measured of one server.
#[derive(Debug, Serialize)]
pub struct Measured {
    /// Which.
    pub server: String,
    /// Its resident memory before any connection, in bytes.
    pub rss_empty: u64,
    /// The same with all connections idle.
    pub rss_idle: u64,
    /// The same after all events, idle again.
    pub rss_after: u64,
    /// By how events come.
    pub costs: Vec<Cost>,
    /// Events that clients got, warm-up included.
    pub delivered: u64,
    /// Events that clients should have got.
    pub expected: u64,
    /// The fewest and the most events of one client: equal if each got each.
    pub least_most: (u32, u32),
}

/// What deliveries cost.
#[derive(Debug, Serialize)]
pub struct Cost {
    /// How events came.
    pub shape: Shape,
    /// Server CPU of each round, user and kernel mode together, in µs for each delivery.
    pub rounds: Vec<f64>,
    /// Their median.
    pub micros: f64,
}

/// Measures one server, which ends with it.
pub async fn measure(mut target: Target, options: &Options, run: u8) -> Measured {
    eprintln!("load: {}: {} connections", target.name, options.connections);
    let rss_empty = settled(target.process()).await;
    let swarm = Swarm::open(target.address(), options.connections, run);
    let rss_idle = settled(target.process()).await;
    let mut pace = interval(options.pace);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut load = Load { swarm, pace, connections: options.connections, sent: 0, complete: true };
    let mut costs = Vec::new();
    for shape in target.shapes(options.burst) {
        eprintln!("load: {}: {shape:?}", target.name);
        costs.push(load.cost(&mut target, shape, options).await);
    }
    let rss_after = settled(target.process()).await;
    load.swarm.expect(load.sent);
    let count = load.swarm.count();
    Measured {
        server: target.name.clone(),
        rss_empty,
        rss_idle,
        rss_after,
        costs,
        delivered: count.events,
        expected: u64::from(load.sent) * u64::from(options.connections),
        least_most: (count.least, count.most),
    }
}

/// Clients and what they were sent.
struct Load {
    swarm: Swarm,
    pace: Interval,
    connections: u32,
    /// Events so far, each to all.
    sent: u32,
    /// Whether all clients got all of them.
    complete: bool,
}

impl Load {
    async fn cost(&mut self, target: &mut Target, shape: Shape, options: &Options) -> Cost {
        self.broadcast(target, shape).await;
        let mut rounds = Vec::new();
        for _ in 0..options.rounds {
            let (cpu, sent) = (target.process().cpu(), self.sent);
            for _ in 0..options.events.div_ceil(shape.events()) {
                self.broadcast(target, shape).await;
            }
            let deliveries = f64::from(self.sent - sent) * f64::from(self.connections);
            rounds.push((target.process().cpu() - cpu).as_secs_f64() * 1e6 / deliveries);
        }
        let mut sorted = rounds.clone();
        sorted.sort_by(f64::total_cmp);
        let micros = f64::midpoint(sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        Cost { shape, rounds, micros }
    }

    /// Sends one go of events and waits until all clients have them. Nothing more is sent once one is missing, as
    /// every further wait would take all of the clients' patience.
    async fn broadcast(&mut self, target: &mut Target, shape: Shape) {
        if !self.complete {
            return;
        }
        self.pace.tick().await;
        self.sent += shape.events();
        self.swarm.expect(self.sent);
        target.send(shape).await;
        let count = self.swarm.count();
        self.complete = (count.least, count.most) == (self.sent, self.sent);
    }
}

/// Resident memory, once it has not moved for a second.
async fn settled(process: &Process) -> u64 {
    let mut last = [0; 6];
    for _ in 0..150 {
        last.rotate_left(1);
        last[5] = process.rss();
        if last.iter().all(|rss| rss.abs_diff(last[5]) * 1_000 <= last[5]) {
            break;
        }
        sleep(Duration::from_millis(200)).await;
    }
    last[5]
}
