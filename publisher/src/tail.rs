//! Following addresses from a terminal: every event as the line of JSON that a page would get, and no gap untold.

mod history;
mod http;
mod redis;
mod slice;
mod sse;
mod wire;

use tidings_shared::keys::Namespace;
use tidings_shared::message::json_string;
use tidings_shared::{Address, Partitions};

use crate::Error;
use crate::store::TlsFiles;
use crate::transport::Way;

/// One thing that a tail has to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// An event or a resync: JSON on one line, as a page gets it.
    Data {
        /// The JSON.
        json: String,
        /// Where to resume after it; none after a resync.
        cursor: Option<String>,
    },
    /// A control event: `tidings.ready`, `tidings.tick`, `tidings.goodbye`.
    Control {
        /// Its name.
        name: String,
        /// Its data, possibly empty.
        data: String,
        /// Where to resume after it.
        cursor: Option<String>,
    },
    /// A sentence about the connection, for people.
    Notice(String),
}

/// What to follow, and where.
#[derive(Debug, Clone)]
pub struct Follow {
    /// The addresses.
    pub addresses: Vec<Address>,
    /// Where to go on; now, without one.
    pub cursor: Option<String>,
    /// Only for `redis://`.
    pub namespace: Namespace,
    /// Only for `redis://`, and only until gateways have set how many there are; as many as such a store has by default,
    /// without one.
    pub partitions: Option<Partitions>,
    /// Only for `rediss://`.
    pub tls: TlsFiles,
}

/// Follows addresses until it is dropped. When the connection breaks it comes back by itself, and tells what was missed
/// or, where that cannot be known, a resync for each address.
pub struct Tail {
    source: Source,
}

enum Source {
    Redis(Box<redis::RedisTail>),
    Http(Box<http::HttpTail>),
}

impl Tail {
    /// Connects to the store or gateway at `url` and follows. Fails if that is away now.
    pub async fn start(url: &str, follow: Follow) -> Result<Self, Error> {
        let source = match Way::of(url)? {
            Way::Redis(url) => Source::Redis(Box::new(redis::RedisTail::start(&url, follow).await?)),
            Way::Http => Source::Http(Box::new(http::HttpTail::start(url, follow).await?)),
        };
        Ok(Self { source })
    }

    /// Waits for the next line. Fails only where coming back would be of no use. Not cancellation safe: a line may be
    /// lost with a call that is dropped.
    pub async fn next(&mut self) -> Result<Line, Error> {
        match &mut self.source {
            Source::Redis(tail) => tail.next().await,
            Source::Http(tail) => tail.next().await,
        }
    }
}

/// Why an address must be fetched again; the reasons that a page sees too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    HistoryLost,
    Epoch,
    Cursor,
}

/// The JSON of a resync, as a page gets it.
fn resync(address: &Address, reason: Reason) -> String {
    let reason = match reason {
        Reason::HistoryLost => "history-lost",
        Reason::Epoch => "epoch",
        Reason::Cursor => "cursor",
    };
    format!(r#"{{"topic":{},"resync":true,"reason":"{reason}"}}"#, json_string(&address.to_string()))
}
