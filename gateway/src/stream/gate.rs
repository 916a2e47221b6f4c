//! The gate of a worker: what a request for a stream or a poll comes to, whichever way it came here.

use std::time::Duration;

use bytes::Bytes;
use tidings_shared::{Invalid, Partitions};

use super::options::{self, Kind, Options};
use crate::control;
use crate::hub::{Follow, HubHandle, OpenConnection};
use crate::metrics::{Connect, Metrics};
use crate::reader::From;

/// What requests are held to.
#[derive(Debug, Clone, Copy)]
pub struct StreamLimits {
    /// Addresses of a connection.
    pub topics: usize,
}

/// What a request says that matters here: no path, no method, no HTTP.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The query of its URL, as it came.
    pub query: &'a str,
    /// Its `Last-Event-ID` header. Bytes that are no text are an unreadable cursor, not an absent one: `Some("?")`.
    pub last_event_id: Option<&'a str>,
}

/// A stream that begins.
#[derive(Debug)]
pub struct Stream {
    /// Where its bytes come from.
    pub connection: OpenConnection,
    /// What is written before them, at once: both browsers report a stream as open only with its first byte.
    pub first: Bytes,
}

/// A poll that begins.
#[derive(Debug)]
pub struct Poll {
    /// Where its events come from.
    pub connection: OpenConnection,
    /// How long it waits for one.
    pub wait: Duration,
}

/// How long a poll with a cursor waits unless it says so.
const WAIT: Duration = Duration::from_secs(25);

/// The headers of a stream besides those of the transport.
pub const HEADERS: [(&str, &str); 3] =
    [("content-type", "text/event-stream"), ("cache-control", "no-cache, no-transform"), ("x-accel-buffering", "no")];

/// The gate of a worker. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Gate {
    hub: HubHandle,
    partitions: Partitions,
    limits: StreamLimits,
    metrics: Metrics,
}

impl Gate {
    /// The gate to `hub`.
    pub fn new(hub: HubHandle, partitions: Partitions, limits: StreamLimits, metrics: Metrics) -> Self {
        Self { hub, partitions, limits, metrics }
    }

    /// Opens a stream. Whatever should be retried is a stream that ends soon, as any other answer ends an EventSource
    /// for good; only what would be wrong again is an error.
    pub fn stream(&self, asked: Asked<'_>) -> Result<Stream, Invalid> {
        let Options { follow, from, .. } = self.read(Kind::Stream, asked)?;
        self.metrics.add_connect(Connect::Stream);
        let first = control::retry(control::retry_delay(self.hub.options.retry));
        Ok(Stream { connection: self.join(follow, from), first })
    }

    /// Opens the connection of a poll.
    pub fn poll(&self, asked: Asked<'_>) -> Result<Poll, Invalid> {
        let Options { follow, from, wait } = self.read(Kind::Poll, asked)?;
        self.metrics.add_connect(Connect::Poll);
        // Without a cursor a client wants to know where it is, before it fetches what it shows.
        let wait = wait.unwrap_or(if matches!(from, From::Cursor(_)) { WAIT } else { Duration::ZERO });
        Ok(Poll { connection: self.join(follow, from), wait })
    }

    fn read(&self, kind: Kind, asked: Asked<'_>) -> Result<Options, Invalid> {
        options::read(kind, asked.query, asked.last_event_id, self.partitions, self.limits.topics)
    }

    fn join(&self, follow: Follow, from: From) -> OpenConnection {
        let hub = &self.hub.hub;
        let key = hub.borrow_mut().join(follow, from);
        OpenConnection::new(hub.clone(), key)
    }
}
