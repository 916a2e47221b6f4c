//! All that one client saw, in order, with times.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;

use crate::wait::{eventually, now_us};

/// One sight.
#[derive(Debug, Clone)]
pub struct Entry {
    /// When it was received, in microseconds since 1970.
    pub at: u64,
    /// The number of the connection, from 1.
    pub connection: u32,
    /// What it was.
    pub what: What,
}

/// What a client can see.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// A 200 came, on a request with this `Last-Event-ID` or cursor.
    Connected { to: String, cursor: String },
    /// Live from here on.
    Ready { cursor: String, connection: String },
    /// An event.
    Message(Message),
    /// An address must be refetched.
    Resync { address: String, reason: String },
    /// A heartbeat.
    Tick { cursor: String },
    /// The gateway says that it ends.
    Goodbye { reason: String },
    /// A new reconnection time.
    Retry { ms: u64 },
    /// The connection is gone.
    Lost { why: String },
    /// The client gave up for good, as an EventSource would.
    Dead { why: String },
    /// Something that the server must never send.
    Fault { what: String },
}

impl What {
    /// The cursor as it is after this, if it tells one.
    pub fn cursor(&self) -> Option<&str> {
        match self {
            Self::Connected { cursor, .. } | Self::Ready { cursor, .. } | Self::Tick { cursor } => Some(cursor),
            Self::Message(message) => message.cursor.as_deref(),
            _ => None,
        }
    }
}

/// An event as a page gets it.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// The followed addresses that it names.
    pub addresses: Vec<String>,
    /// The serial of the test's event.
    pub n: Option<u64>,
    /// Its cursor, on a stream.
    pub cursor: Option<String>,
    /// Its SSE event name.
    pub name: String,
    /// The whole data.
    pub data: String,
}

/// Shared by the client that writes it and the test that reads it.
#[derive(Debug)]
pub struct Record {
    name: String,
    follows: Vec<String>,
    wants_few: bool,
    entries: Mutex<Vec<Entry>>,
}

impl Record {
    /// An empty one.
    pub fn new(name: &str, follows: &[String]) -> Arc<Self> {
        Arc::new(Self { name: name.to_owned(), follows: follows.to_vec(), wants_few: false, entries: Mutex::default() })
    }

    /// One of a client that asked for few events, by `every`.
    pub fn of_few(name: &str, follows: &[String]) -> Arc<Self> {
        Arc::new(Self { name: name.to_owned(), follows: follows.to_vec(), wants_few: true, entries: Mutex::default() })
    }

    /// The client's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The addresses it follows.
    pub fn follows(&self) -> &[String] {
        &self.follows
    }

    /// Whether it asked for few events.
    pub fn wants_few(&self) -> bool {
        self.wants_few
    }

    /// Adds a sight, received now.
    pub fn add(&self, connection: u32, what: What) {
        self.lock().push(Entry { at: now_us(), connection, what });
    }

    /// Adds a sight of some other moment: for tests of the oracle.
    pub fn add_at(&self, at: u64, what: What) {
        self.add_on(1, at, what);
    }

    /// The same on another connection.
    pub fn add_on(&self, connection: u32, at: u64, what: What) {
        self.lock().push(Entry { at, connection, what });
    }

    /// Reads the data of an event or a resync and adds it.
    pub fn add_data(&self, connection: u32, name: &str, data: &str, cursor: Option<String>) {
        let what = match serde_json::from_str::<Value>(data) {
            Ok(json) => sight(&json, name, data, cursor),
            Err(e) => What::Fault { what: format!("data that is no JSON ({e}): {data}") },
        };
        self.add(connection, what);
    }

    /// Looks through the sights without copying them.
    pub fn look<T>(&self, look: impl FnOnce(&[Entry]) -> T) -> T {
        look(&self.lock())
    }

    /// The first moment from which promise 1 holds for this client.
    pub fn first_ready(&self) -> Option<u64> {
        self.look(first_ready)
    }

    /// How many sights fit.
    pub fn count(&self, fits: impl Fn(&What) -> bool) -> usize {
        self.look(|all| all.iter().filter(|entry| fits(&entry.what)).count())
    }

    /// The events, in order of receipt.
    pub fn messages(&self) -> Vec<Message> {
        let message = |entry: &Entry| match &entry.what {
            What::Message(message) => Some(message.clone()),
            _ => None,
        };
        self.look(|all| all.iter().filter_map(message).collect())
    }

    /// The serials of the events, in order of receipt.
    pub fn serials(&self) -> Vec<u64> {
        self.messages().iter().filter_map(|message| message.n).collect()
    }

    /// The reasons of the resyncs, in order of receipt, with their addresses.
    pub fn resyncs(&self) -> Vec<(String, String)> {
        let resync = |entry: &Entry| match &entry.what {
            What::Resync { address, reason } => Some((address.clone(), reason.clone())),
            _ => None,
        };
        self.look(|all| all.iter().filter_map(resync).collect())
    }

    /// What the server must never have sent.
    pub fn faults(&self) -> Vec<String> {
        let fault = |entry: &Entry| match &entry.what {
            What::Fault { what } => Some(what.clone()),
            _ => None,
        };
        self.look(|all| all.iter().filter_map(fault).collect())
    }

    /// The newest cursor.
    pub fn cursor(&self) -> Option<String> {
        let cursor = |entry: &Entry| match &entry.what {
            What::Ready { cursor, .. } | What::Tick { cursor } => Some(cursor.clone()),
            What::Message(message) => message.cursor.clone(),
            _ => None,
        };
        self.look(|all| all.iter().rev().find_map(cursor))
    }

    /// How many connections were taken.
    pub fn connections(&self) -> usize {
        self.count(|what| matches!(what, What::Connected { .. }))
    }

    /// The addresses that were resynced.
    pub fn resynced(&self) -> HashSet<String> {
        self.resyncs().into_iter().map(|(address, _)| address).collect()
    }

    /// Waits until it looks as it should; shows the record if it does not.
    pub async fn until(&self, what: &str, within: Duration, fits: impl Fn(&Self) -> bool) {
        let told = format!("{}: {what}", self.name);
        let shown = Shown(self);
        eventually(&told, within, async || fits(shown.0)).await;
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When the first of these said that the client is live.
pub fn first_ready(entries: &[Entry]) -> Option<u64> {
    entries.iter().find(|entry| matches!(entry.what, What::Ready { .. })).map(|entry| entry.at)
}

/// Prints the record when a wait for it fails.
struct Shown<'a>(&'a Record);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.0);
        }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.lock();
        writeln!(f, "{} follows {:?}, saw {} things, of them the last:", self.name, self.follows, entries.len())?;
        let begin = entries.first().map_or(0, |entry| entry.at);
        for entry in entries.iter().skip(entries.len().saturating_sub(40)) {
            writeln!(
                f,
                "  {:>7} ms #{} {:.300}",
                (entry.at - begin) / 1000,
                entry.connection,
                format!("{:?}", entry.what)
            )?;
        }
        Ok(())
    }
}

fn sight(json: &Value, name: &str, data: &str, cursor: Option<String>) -> What {
    let text = |key: &str| json.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    if json.get("resync").is_some() {
        return What::Resync { address: text("topic"), reason: text("reason") };
    }
    let addresses = match json.get("topics").and_then(Value::as_array) {
        Some(all) => all.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        None => vec![text("topic")],
    };
    let n = json.pointer("/data/n").and_then(Value::as_u64);
    What::Message(Message { addresses, n, cursor, name: name.to_owned(), data: data.to_owned() })
}
