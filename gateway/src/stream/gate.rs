//! The gate of a worker: what a request for a stream or a poll comes to, whichever way it came here.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use smallvec::SmallVec;
use tidings_shared::Partitions;

use super::options::{self, Kind, Options, RequestError};
use crate::admission::{Admission, Admitted, Limit, Pace, Place, Places, Proxies};
use crate::control::{self, Goodbye};
use crate::cors::{Grant, Origins};
use crate::hub::{Follow, HubHandle, OpenConnection};
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
    /// What is written before them, at once: both browsers report a stream as open only with its first byte.
    pub first: Bytes,
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
    #[error("limits.{} is reached", .0.as_str())]
    Over(Limit, Duration),
}

/// How many times longer than others those stay away that were over a limit: until there is room for them.
const AWAY: u32 = 4;
/// What may come at once after a pause, as the time in which it would come otherwise.
const BURST: Duration = Duration::from_millis(100);
/// The longest that a connection waits for its turn. Clients time out after no less than 5 s, and it is open already.
const PATIENCE: Duration = Duration::from_secs(2);
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
    pace: Option<Rc<RefCell<Pace>>>,
}

/// What a connection that is let in gets.
struct Entry {
    admitted: Admitted,
    /// Its place on its connection.
    place: Option<Place>,
    /// How long until its turn.
    wait: Duration,
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
        let pace = (limits.rate > 0).then(|| Rc::new(RefCell::new(Pace::new(limits.rate, BURST, PATIENCE))));
        Self { hub, partitions, limits, origins, metrics, pace }
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
            |why, base| (OpenConnection::refused(hub.clone()), control::goodbye(why, control::retry_delay(base)));
        let (connection, first) = match self.admit(&asked, &follow) {
            Ok(_) if hub.borrow().is_draining() => refuse(Goodbye::Drain, retry),
            Ok(entry) => {
                self.metrics.add_connect(Connect::Stream);
                let connection = self.open(follow, from, entry);
                connection.last();
                (connection, control::retry(control::retry_delay(retry)))
            }
            Err(_over) => refuse(Goodbye::Overload, retry * AWAY),
        };
        Ok(Stream { connection, first, grant: self.origins.grant(asked.origin) })
    }

    /// Opens the connection of a poll.
    pub fn poll(&self, asked: Asked<'_>) -> Result<Poll, Refusal> {
        let Options { follow, from, wait } = self.read(Kind::Poll, &asked)?;
        let later = |over| Refusal::Over(over, control::retry_delay(self.hub.options.retry * AWAY));
        let entry = self.admit(&asked, &follow).map_err(later)?;
        self.metrics.add_connect(Connect::Poll);
        // Without a cursor a client wants to know where it is, before it fetches what it shows.
        let wait = wait.unwrap_or(if matches!(from, From::Cursor(_)) { WAIT } else { Duration::ZERO });
        let ignored = follow.ignored().to_vec();
        Ok(Poll { connection: self.open(follow, from, entry), wait, ignored })
    }

    fn read(&self, kind: Kind, asked: &Asked<'_>) -> Result<Options, RequestError> {
        options::read(kind, asked.query, asked.last_event_id, self.partitions, self.limits.topics)
    }

    /// Gives it a place in this replica and a turn in this worker, or says what it would be over.
    fn admit(&self, asked: &Asked<'_>, follow: &Follow) -> Result<Entry, Limit> {
        let now = Instant::now();
        let StreamLimits { admission, proxies, .. } = &self.limits;
        let origin = asked.peer.map(|peer| proxies.origin(peer, asked.forwarded.iter().copied()));
        let place = asked.places.as_ref().map(|places| places.take().ok_or(Limit::Streams)).transpose();
        let entry = place.and_then(|place| {
            let admitted = admission.admit(origin, &follow.addresses)?;
            let wait = self.pace.as_ref().map_or(Some(Duration::ZERO), |pace| pace.borrow_mut().take(now));
            Ok(Entry { admitted, place, wait: wait.ok_or(Limit::Rate)? })
        });
        entry.inspect_err(|over| {
            self.metrics.add_refused(*over);
            admission.complain(*over, now);
        })
    }

    /// Opens a connection at once, and lets it enter the hub when it is its turn: reading what it missed and telling it
    /// is what a connection costs, and what others would wait for.
    fn open(&self, follow: Follow, from: From, entry: Entry) -> OpenConnection {
        let hub = &self.hub.hub;
        let key = hub.borrow_mut().add(follow);
        if entry.wait.is_zero() {
            hub.borrow_mut().enter(key, from);
        } else {
            let hub = hub.clone();
            actix_web::rt::spawn(async move {
                tokio::time::sleep(entry.wait).await;
                hub.borrow_mut().enter(key, from);
            });
        }
        OpenConnection::new(hub.clone(), key, entry.admitted, entry.place)
    }
}
