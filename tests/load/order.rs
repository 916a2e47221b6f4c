//! What a process of clients is told and what it answers, in lines of JSON.

use std::net::{Ipv4Addr, SocketAddrV4};

use serde::{Deserialize, Serialize};

use crate::plan::Plan;
use crate::server::Stream;

/// The first line to a process of clients.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Task {
    /// Whose clients they are.
    pub server: SocketAddrV4,
    /// How a stream of it is asked for.
    pub stream: Stream,
    /// Who follows what.
    pub plan: Plan,
    /// The number of its first connection.
    pub first: u32,
    /// How many they are.
    pub connections: u32,
    /// From where they connect: a source address has ports for 28,000 connections to one server.
    pub source: Ipv4Addr,
    /// Connections that are opened before their streams are waited for: all processes together fewer than a
    /// listener's backlog.
    pub window: u32,
    /// Come back when the server ends a live stream, keep the cursor of each connection and the serials that it got.
    pub returns: bool,
}

/// A further line.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub enum Order {
    /// Opens what is not open, with the cursors if it has these, and waits until all is live. Answers [`Count`].
    Open,
    /// Closes all. Answers [`Count`].
    Drop,
    /// Waits until the connections have so many events in all. Answers [`Count`].
    Await(u64),
    /// Answers [`Sight`], and begins anew.
    Tell,
}

/// What a process of clients has come to: sums over its connections.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Count {
    /// Connections that are live.
    pub live: u32,
    /// Streams that the server ended when they were live, and answers that were no stream.
    pub lost: u32,
    /// Events that came.
    pub events: u64,
}

/// All that was seen since the last time.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Sight {
    /// By connection.
    pub seen: Vec<Seen>,
    /// Microseconds from publish to the client, with how often each was seen.
    pub latency: Vec<(u64, u64)>,
}

/// What one connection saw.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Events.
    pub events: u64,
    /// The digest of their serials.
    pub digest: u64,
    /// The serials themselves, if the task is to keep them.
    pub serials: Vec<u32>,
    /// What it was told to refetch.
    pub resyncs: Vec<String>,
    /// When it went live or got its last event, in microseconds of the shared clock.
    pub last: u64,
}
