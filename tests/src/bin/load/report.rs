//! The figures of a run: a table to read, and JSON to compare.

use std::fmt;

use serde::Serialize;

use crate::machine;
use crate::measure::{Cost, Measured};
use crate::options::{Options, Store};
use crate::shape::Shape;

/// The figures of a run. The first server is the raw writer, which the others are compared to.
#[derive(Debug, Serialize)]
pub struct Report {
    machine: String,
    connections: u32,
    store: &'static str,
    data_bytes: u32,
    /// Bytes of an event on the wire, with its chunk's framing.
    pub event_bytes: usize,
    events: u32,
    rounds: u32,
    /// By server, in the order in which they were measured.
    pub servers: Vec<Measured>,
}

impl Report {
    /// One without figures yet.
    pub fn new(options: &Options) -> Self {
        Self {
            machine: machine::describe(),
            connections: options.connections,
            store: match options.store {
                Store::Memory => "memory",
                Store::Redis => "redis",
            },
            data_bytes: options.data,
            event_bytes: 0,
            events: options.events,
            rounds: options.rounds,
            servers: Vec::new(),
        }
    }

    /// Whether every client got every event exactly once.
    pub fn complete(&self) -> bool {
        self.servers.iter().all(Measured::complete)
    }

    fn per_connection(&self, measured: &Measured, rss: u64) -> f64 {
        (rss as f64 - measured.rss_empty as f64) / 1024.0 / f64::from(self.connections)
    }

    /// How a cost compares to the raw writer's for the same events, written one by one.
    fn to_raw(&self, cost: &Cost) -> Option<f64> {
        let same = |raw: &&Cost| raw.shape.events() == cost.shape.events();
        let raw = self.servers.first()?.costs.iter().find(same)?;
        Some(cost.micros / raw.micros)
    }
}

impl Measured {
    fn complete(&self) -> bool {
        self.delivered == self.expected && self.least_most.0 == self.least_most.1
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { machine, connections, store, data_bytes, event_bytes, events, rounds, .. } = self;
        writeln!(f, "{machine}")?;
        writeln!(f, "{connections} connections, store {store}, medians of {rounds} rounds of {events} events")?;
        writeln!(f, "an event has {data_bytes} bytes of data, {event_bytes} bytes on the wire\n")?;
        writeln!(f, "{:<20}{:>12}{:>16}{:>18}", "resident memory", "empty MiB", "idle KiB/conn", "after load, same")?;
        for server in &self.servers {
            let empty = server.rss_empty as f64 / 1024.0 / 1024.0;
            let idle = self.per_connection(server, server.rss_idle);
            let after = self.per_connection(server, server.rss_after);
            writeln!(f, "{:<20}{empty:>12.1}{idle:>16.2}{after:>18.2}", server.server)?;
        }
        writeln!(
            f,
            "\n{:<20}{:<24}{:>9}{:>16}{:>16}{:>9}",
            "server CPU", "events", "µs each", "rounds", "per CPU second", "to raw"
        )?;
        for (server, cost) in self.servers.iter().flat_map(|s| s.costs.iter().map(move |cost| (s, cost))) {
            let (least, most) =
                (cost.rounds.iter().copied().reduce(f64::min), cost.rounds.iter().copied().reduce(f64::max));
            let rounds = format!("{:.2} to {:.2}", least.unwrap_or_default(), most.unwrap_or_default());
            let ratio = self.to_raw(cost).unwrap_or(f64::NAN);
            let events = cost.shape.to_string();
            write!(f, "{:<20}{events:<24}{:>9.2}{rounds:>16}", server.server, cost.micros)?;
            writeln!(f, "{:>16.0}{ratio:>9.2}", 1e6 / cost.micros)?;
        }
        writeln!(f)?;
        for server in &self.servers {
            let (least, most) = server.least_most;
            let verdict = if server.complete() { "complete" } else { "INCOMPLETE" };
            let Measured { delivered, expected, server, .. } = server;
            writeln!(f, "{server:<20}delivered {delivered} of {expected}, {least} to {most} a client: {verdict}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Single => write!(f, "one at a time"),
            Self::Burst(events) => write!(f, "{events} at once"),
            Self::Joined(events) => write!(f, "{events} at once, one write"),
        }
    }
}
