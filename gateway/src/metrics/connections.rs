//! Metrics of connections: how many there are, what they follow, and how they came.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Metrics;
use super::families::{Counts, add, bump, counts};
use super::labels::{Connect, Resume};
use crate::admission::Limit;
use crate::control::Goodbye;

/// Those of connections.
#[derive(Debug)]
pub(super) struct Connections {
    sockets: Gauge,
    silent_closed: Counter,
    connections: Gauge,
    waiting: Gauge,
    follows: Gauge,
    addresses: Gauge,
    lingering: Gauge,
    connects: Counts,
    refused: Counts,
    resumes: Counts,
    ended: Counts,
}

impl Connections {
    /// All at 0.
    pub(super) fn new(r: &mut Registry) -> Self {
        Self {
            sockets: add(r, "sockets", "Open sockets of all listeners, those that have said nothing yet included"),
            silent_closed: add(r, "silent_closed", "Sockets that said nothing, closed as others needed their room"),
            connections: add(r, "connections", "Open streams and waiting polls"),
            waiting: add(
                r,
                "connections_waiting",
                "Connections that wait to begin: for history of the store, or for their turn to be sent what they missed",
            ),
            follows: add(r, "follows", "Addresses that connections follow, each counted for each connection"),
            addresses: add(r, "addresses_followed", "Addresses that at least one connection follows"),
            lingering: add(
                r,
                "addresses_lingering",
                "Addresses that nobody follows any more, still subscribed for a while",
            ),
            connects: counts::<Connect>(r, "connects", "Connections that were accepted"),
            refused: counts::<Limit>(r, "refused", "Connections over a limit, told to come back later"),
            resumes: counts::<Resume>(r, "resumes", "Connections that came with a cursor, by what served them"),
            ended: counts::<Goodbye>(
                r,
                "ended",
                "Streams and waiting polls that this gateway ended, to be taken up again",
            ),
        }
    }
}

impl Metrics {
    /// Changes the number of open sockets.
    pub fn add_sockets(&self, change: i64) {
        self.0.connections.sockets.inc_by(change);
    }

    /// Adds a socket that was closed as it said nothing.
    pub fn add_silent_closed(&self) {
        self.0.connections.silent_closed.inc();
    }

    /// Changes the number of open streams and waiting polls.
    pub fn add_connections(&self, change: i64) {
        self.0.connections.connections.inc_by(change);
    }

    /// Sets the number of connections that wait to begin.
    pub fn set_connections_waiting(&self, count: i64) {
        self.0.connections.waiting.set(count);
    }

    /// Changes the number of follows of all connections.
    pub fn add_follows(&self, change: i64) {
        self.0.connections.follows.inc_by(change);
    }

    /// Sets the number of addresses that are followed at all.
    pub fn set_addresses_followed(&self, count: i64) {
        self.0.connections.addresses.set(count);
    }

    /// Sets the number of addresses that nobody follows any more and that are still subscribed.
    pub fn set_addresses_lingering(&self, count: i64) {
        self.0.connections.lingering.set(count);
    }

    /// Adds a connection that was accepted.
    pub fn add_connect(&self, kind: Connect) {
        bump(&self.0.connections.connects, kind, 1);
    }

    /// Adds a connection that was over a limit.
    pub fn add_refused(&self, limit: Limit) {
        bump(&self.0.connections.refused, limit, 1);
    }

    /// Adds connections that this gateway ended after they had begun.
    pub fn add_ended(&self, why: Goodbye, count: u64) {
        bump(&self.0.connections.ended, why, count);
    }

    /// Adds a connection that came with a cursor.
    pub fn add_resume(&self, source: Resume) {
        bump(&self.0.connections.resumes, source, 1);
    }
}
