//! The gate of a worker: what a request for a stream or a poll comes to, whichever way it came here.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use smallvec::SmallVec;
use tidings_shared::Partitions;

use super::options::{self, Kind, Options, RequestError};
use crate::admission::{Admission, Limit, Places, Proxies};
use crate::control::{self, Goodbye};
use crate::cors::{Grant, Origins};
use crate::hub::{Entrance, Follow, HubHandle, OpenConnection};
use crate::metrics::{Connect, Metrics};
use crate::reader::From;

/// What requests are held to.
#[derive(Debug, Clone)]
pub struct StreamLimits {
    /// Addresses of a connection.
    pub topics: usize,
    /// Connections of this replica, of a user, from an origin.
    pub admission: Admission,
    /// Who is believed about the origin of a request.
    pub proxies: Arc<Proxies>,
    /// Connections that a worker takes up in a second; 0 is no limit.
    pub rate: u32,
}

/// What a request says that matters here: no path, no method, no HTTP.
#[derive(Debug, Clone)]
pub struct Asked<'a> {
    /// The query of its URL, as it came.
    pub query: &'a str,
    /// Its `Last-Event-ID` header. Bytes that are no text are an unreadable cursor, not an absent one: `Some("?")`.
    pub last_event_id: Option<&'a str>,
    /// Its `Origin` header: where the page is from that asks.
    pub origin: Option<&'a str>,
    /// Who sent it, if that is known: the client, or a proxy.
    pub peer: Option<IpAddr>,
    /// Its `X-Forwarded-For` headers, as they came.
    pub forwarded: SmallVec<[&'a str; 1]>,
    /// The places for streams of its connection, if that has several.
    pub places: Option<Places>,
}

/// A stream that begins.
#[derive(Debug)]
pub struct Stream {
    /// Where its bytes come from.
    pub connection: OpenConnection,
    /// All that is written before its end, if it is refused here.
    pub first: Option<Bytes>,
    /// What the page is granted.
    pub grant: Grant,
}

/// A poll that begins.
#[derive(Debug)]
pub struct Poll {
    /// Where its events come from.
    pub connection: OpenConnection,
    /// How long it waits for one.
    pub wait: Duration,
    /// The parameters of its request that nobody knows.
    pub ignored: Vec<String>,
}

/// Why there is no poll.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It is wrong as it is.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// It would be over a limit; it may come back after this time.
    #[error("limits.{} is reached: {}; poll again later", .0.as_str(), .0.as_sentence())]
    Over(Limit, Duration),
    /// It was over a limit that is looked at when its connection is open; it may come back after this time.
    #[error("limits.addresses or limits.waiting is reached: there is no room for what you follow; poll again later")]
    NoRoom(Duration),
    /// The store is away; it may come back after this time.
    #[error("the store is away for these addresses; poll again later")]
    Away(Duration),
    /// This gateway is about to end; another one may answer at once.
    #[error("this gateway is about to end; poll again, at another gateway if there is one")]
    Ending,
    /// Its place in the history was not found in time.
    #[error("the history of these addresses was not read within {} s; poll again", .0.as_secs())]
    Late(Duration),
}

impl Refusal {
    /// What a poll whose connection this gateway has ended is told, if it may come back after this time.
    pub fn of_goodbye(why: Goodbye, later: Duration) -> Self {
        match why {
            Goodbye::Overload => Self::NoRoom(later),
            Goodbye::Store => Self::Away(later),
            Goodbye::Drain | Goodbye::MaxAge => Self::Ending,
        }
    }
}

/// How long a poll with a cursor waits unless it says so.
const WAIT: Duration = Duration::from_secs(25);

/// The headers of a stream besides those of the transport.
pub const HEADERS: [(&str, &str); 3] =
    [("content-type", "text/event-stream"), ("cache-control", "no-store, no-transform"), ("x-accel-buffering", "no")];

/// The gate of a worker. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Gate {
    hub: HubHandle,
    partitions: Partitions,
    limits: StreamLimits,
    origins: Origins,
    metrics: Metrics,
    entrance: Entrance,
}

impl Gate {
    /// The gate to `hub`; pages of `origins` may read what comes from it.
    pub fn new(
        hub: HubHandle,
        partitions: Partitions,
        limits: StreamLimits,
        origins: Origins,
        metrics: Metrics,
    ) -> Self {
        let entrance = Entrance::new(hub.hub.clone(), limits.rate);
        Self { hub, partitions, limits, origins, metrics, entrance }
    }

    /// Whose pages may read what comes from here.
    pub fn origins(&self) -> &Origins {
        &self.origins
    }

    /// Opens a stream. Whatever should be retried is a stream that ends soon, as any other answer ends an EventSource
    /// for good; only what would be wrong again is an error.
    pub fn stream(&self, asked: Asked<'_>) -> Result<Stream, RequestError> {
        let Options { follow, from, .. } = self.read(Kind::Stream, &asked)?;
        let HubHandle { hub, options } = &self.hub;
        let retry = options.retry;
        let refuse =
            |why, base| (OpenConnection::refused(hub.clone()), Some(control::goodbye(why, control::retry_delay(base))));
        let (is_draining, outage) = (hub.borrow().is_draining(), hub.borrow().outage(&follow.addresses));
        let (connection, first) = if is_draining {
            refuse(Goodbye::Drain, retry)
        } else if let Some(outage) = outage {
            // Before anything is written: so the refusal is one block.
            refuse(Goodbye::Store, control::outage_retry(retry, outage))
        } else if let Ok(connection) = self.admit(&asked, follow, from) {
            self.metrics.add_connect(Connect::Stream);
            connection.last();
            // What it says first comes from the hub: the reader may have no room for it, and a refusal is one block.
            (connection, None)
        } else {
            refuse(Goodbye::Overload, retry * control::OVERLOAD_RETRIES)
        };
        Ok(Stream { connection, first, grant: self.origins.grant(asked.origin) })
    }

    /// Opens the connection of a poll.
    pub fn poll(&self, asked: Asked<'_>) -> Result<Poll, Refusal> {
        let Options { follow, from, wait } = self.read(Kind::Poll, &asked)?;
        let retry = self.hub.options.retry;
        if self.hub.hub.borrow().is_draining() {
            return Err(Refusal::Ending);
        }
        if let Some(outage) = self.hub.hub.borrow().outage(&follow.addresses) {
            return Err(Refusal::Away(control::retry_delay(control::outage_retry(retry, outage))));
        }
        let later = |over| Refusal::Over(over, control::retry_delay(retry * control::OVERLOAD_RETRIES));
        // Without a cursor a client wants to know where it is, before it fetches what it shows.
        let wait = wait.unwrap_or(if matches!(from, From::Cursor(_)) { WAIT } else { Duration::ZERO });
        let ignored = follow.ignored().to_vec();
        let connection = self.admit(&asked, follow, from).map_err(later)?;
        self.metrics.add_connect(Connect::Poll);
        Ok(Poll { connection, wait, ignored })
    }

    fn read(&self, kind: Kind, asked: &Asked<'_>) -> Result<Options, RequestError> {
        options::read(kind, asked.query, asked.last_event_id, self.partitions, self.limits.topics)
    }

    /// Opens a connection at once, with a place in this replica, and lets it enter the hub when it is its turn; or says what
    /// it would be over.
    fn admit(&self, asked: &Asked<'_>, follow: Follow, from: From) -> Result<OpenConnection, Limit> {
        let StreamLimits { admission, proxies, .. } = &self.limits;
        let hub = &self.hub.hub;
        let origin = asked.peer.map(|peer| proxies.origin(peer, asked.forwarded.iter().copied()));
        let place = asked.places.as_ref().map(|places| places.take().ok_or(Limit::Streams)).transpose();
        let opened = place.and_then(|place| {
            let admitted = admission.admit(origin, &follow.addresses)?;
            let (key, turn) = self.entrance.enter(origin, from, || hub.borrow_mut().add(follow))?;
            Ok(OpenConnection::new(hub.clone(), key, admitted, place, turn))
        });
        opened.inspect_err(|over| {
            self.metrics.add_refused(*over);
            admission.complain(*over, Instant::now());
        })
    }
}
