//! The primaries of a store: which server serves a slot now, and connections to it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ProtocolVersion};
use tidings_shared::store_url::{RedisUrl, Server, Topology};
use tokio::time::{timeout, timeout_at};

use super::access::Access;
use super::map::Map;
use super::peer::{HEAD_START, Peer, first_of, resolve};
use super::tls::{TlsFiles, TlsReader};
use super::{cluster, sentinel};
use crate::renewed::Renewed;
use crate::{Error, ErrorKind};

pub use crate::renewed::Generation;

/// Finds the primaries of a store by asking its sentinels or nodes, and again whenever told that what it knew is wrong.
/// Cheap to clone; all clones know the same.
///
/// It owns no connection but those over which it asks: what is sent and subscribed, and when a connection has broken, is
/// for its users to know, who then call [`Primaries::distrust`].
#[derive(Clone)]
pub struct Primaries {
    inner: Arc<Inner>,
}

struct Inner {
    topology: Topology,
    /// To the servers that keep the data.
    access: Access,
    /// To the sentinels.
    to_sentinels: Access,
    /// Those of the URL.
    seeds: Vec<Server>,
    timeout: Duration,
    known: Renewed<Known>,
    /// Whom to ask: those of the URL, and those that a cluster told of. A name may lead to several.
    advisers: Mutex<Vec<Server>>,
    /// Which of all their addresses is asked first: the last that answered, until it is distrusted.
    first: AtomicUsize,
}

#[derive(Clone)]
struct Known {
    map: Arc<Map>,
    asked: Instant,
}

/// A map this young is the best there is: of many callers that fail together, the first few ask, not all.
const YOUNG: Duration = Duration::from_millis(100);
/// An attempt to ask goes to so many addresses at the most; the next one begins with those after them.
const ASKED: usize = 16;
/// An attempt leaves the last of so many parts of the time for what the answer is needed for.
const PARTS: u32 = 4;

impl Primaries {
    /// The primaries of the store at `url`, without asking yet. Asking all that are asked at once takes less than
    /// `timeout`.
    pub fn new(url: &RedisUrl, tls: TlsFiles, timeout: Duration) -> Result<Self, Error> {
        tls.check(url.tls).map_err(|error| Error::new(ErrorKind::InvalidTls, error))?;
        let tls = url.tls.then(|| TlsReader::new(tls));
        let login = match &url.topology {
            Topology::Sentinel { login, .. } => login.clone(),
            _ => Default::default(),
        };
        let inner = Inner {
            topology: url.topology.clone(),
            access: Access { login: url.login.clone(), database: url.database, tls: tls.clone() },
            to_sentinels: Access { login, database: 0, tls },
            seeds: url.servers.clone(),
            timeout,
            known: Renewed::new(),
            advisers: Mutex::new(url.servers.clone()),
            first: AtomicUsize::new(0),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// How many servers the store has, and who tells which of them are primaries.
    pub fn topology(&self) -> &Topology {
        &self.inner.topology
    }

    /// Whether channels are sharded: each message goes over the primary of its slot.
    pub fn is_cluster(&self) -> bool {
        self.inner.topology == Topology::Cluster
    }

    /// The map as last told, and which telling that was; asks for it if there is none, or it was distrusted. Right after
    /// a failure to learn it, and for a jittered while, all are told of that failure.
    pub async fn map(&self) -> Result<(Arc<Map>, Generation), Error> {
        let (known, generation) = self.inner.known.get(|| Box::pin(self.ask_map())).await?;
        Ok((known.map, generation))
    }

    /// The primary of one slot, which without a cluster is that of all, as [`Primaries::map`] has it.
    pub async fn of(&self, slot: u16) -> Result<(Server, Generation), Error> {
        let (map, generation) = self.map().await?;
        map.served(slot).map(|server| (server.clone(), generation))
    }

    /// What was told as this generation has proved wrong: the next who wants a map has it asked for anew, of another
    /// server than before if there is one. Does nothing for one server, which is where it is, nor for a map that is
    /// younger than a tenth of a second.
    pub async fn distrust(&self, generation: Generation) {
        if self.inner.topology == Topology::Standalone {
            return;
        }
        let mut young = true;
        self.inner.known.amend(|known| young = known.asked.elapsed() < YOUNG).await;
        if !young {
            self.inner.first.fetch_add(1, Ordering::Relaxed);
            self.inner.known.discard(generation).await;
        }
    }

    /// A server said that the slot has moved there, which it knows best.
    pub async fn moved(&self, slot: u16, to: Server) {
        self.inner.known.amend(|known| Arc::make_mut(&mut known.map).moved(slot, to)).await;
    }

    /// Connects to a server that keeps data. Behind sentinels it must prove that it is the primary; fails with a
    /// retryable error if it does not. How long all this may take is for `config` to say, and for the caller.
    pub async fn connect(
        &self,
        server: &Server,
        protocol: ProtocolVersion,
        config: &AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection, Error> {
        Ok(self.reach(server, protocol, config).await?.0)
    }

    /// The same, and at which of its addresses the server was reached.
    pub async fn reach(
        &self,
        server: &Server,
        protocol: ProtocolVersion,
        config: &AsyncConnectionConfig,
    ) -> Result<(MultiplexedConnection, Peer), Error> {
        let (connection, peer) = self.inner.access.connect(server, protocol, config).await?;
        Ok((self.verified(connection, server).await?, peer))
    }

    /// Connects to the same server at the same address again, whatever its name leads to by now.
    pub async fn connect_to(
        &self,
        peer: &Peer,
        protocol: ProtocolVersion,
        config: &AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection, Error> {
        let connection = self.inner.access.connect_to(peer, protocol, config).await?;
        self.verified(connection, peer.server()).await
    }

    /// A client for a pool of connections to a server that keeps data. It speaks RESP3, and nobody
    /// makes sure that the server is a primary.
    pub async fn pool_client(&self, server: &Server) -> Result<Client, Error> {
        self.inner.access.pool_client(server).await
    }

    /// Whether the name of this peer decides which server it is. In a cluster and behind sentinels
    /// the servers decide; an address leads nowhere else.
    pub fn follows_name(&self, peer: &Peer) -> bool {
        self.inner.topology == Topology::Standalone && !peer.is_literal()
    }

    /// Whether the name of this peer still leads to its address. Fails if the look-up does.
    pub async fn leads_to(&self, peer: &Peer) -> Result<bool, Error> {
        let answer = resolve(peer.server()).await?;
        Ok(answer.iter().any(|address| address.ip() == peer.address().ip()))
    }

    /// How the servers that keep data are connected to.
    pub(super) fn access(&self) -> &Access {
        &self.inner.access
    }

    async fn verified(
        &self,
        mut connection: MultiplexedConnection,
        server: &Server,
    ) -> Result<MultiplexedConnection, Error> {
        if matches!(self.inner.topology, Topology::Sentinel { .. }) {
            sentinel::verify(&mut connection, server).await?;
        }
        Ok(connection)
    }

    /// All servers that sentinels know of, also one that was the primary before and does not know yet that it is no more.
    /// None where there are no sentinels.
    pub async fn members(&self) -> Result<Vec<Server>, Error> {
        let Topology::Sentinel { primary, .. } = &self.inner.topology else { return Ok(Vec::new()) };
        let access = &self.inner.to_sentinels;
        self.ask(|sentinel, config| async move { sentinel::members(access, &sentinel, primary, &config).await }).await
    }

    /// Asks who the primaries are.
    async fn ask_map(&self) -> Result<Known, Error> {
        let map = match (&self.inner.topology, self.inner.seeds.first()) {
            (Topology::Standalone, Some(server)) => Map::one(server.clone()),
            _ => self.ask(|adviser, config| async move { self.map_of(&adviser, &config).await }).await?,
        };
        self.take_advisers(&map);
        Ok(Known { map: Arc::new(map), asked: Instant::now() })
    }

    /// Asks one address after the other until one answers. One that answers wrongly makes room for the next at once, one
    /// that is silent a little later.
    async fn ask<T, Answer: Future<Output = Result<T, Error>>>(
        &self,
        question: impl Fn(Peer, AsyncConnectionConfig) -> Answer,
    ) -> Result<T, Error> {
        let inner = &self.inner;
        let limit = inner.timeout * (PARTS - 1) / PARTS;
        let deadline = Instant::now() + limit;
        let peers = self.resolve_advisers(limit / PARTS).await?;
        let first = inner.first.load(Ordering::Relaxed);
        let asked: Vec<usize> = (first..).take(peers.len().min(ASKED)).collect();
        let head_start = HEAD_START.min(limit / (asked.len() as u32 + 1));
        let config = AsyncConnectionConfig::new();
        let config = config.set_connection_timeout(Some(limit)).set_response_timeout(Some(limit));
        let (answer, at) = first_of(&asked, head_start, async |at: usize| {
            // Moved on before the answer, so that an attempt that is given up does not begin here again.
            inner.first.store(at.wrapping_add(1), Ordering::Relaxed);
            let peer = &peers[at % peers.len()];
            // Of its own, so that the error tells what each of the others said.
            let late = |_| Err(Error::told(ErrorKind::Timeout, format!("{peer} did not answer in {limit:?}")));
            let asking = question(peer.clone(), config.clone());
            let answer = timeout_at(deadline.into(), asking).await.unwrap_or_else(late)?;
            Ok((answer, at))
        })
        .await?;
        inner.first.store(at, Ordering::Relaxed);
        Ok(answer)
    }

    /// All addresses of all advisers. A name that cannot be resolved hides no other. The addresses of a name are sorted,
    /// as look-ups tell them in any order, and the next attempt is to begin after those of this one.
    async fn resolve_advisers(&self, limit: Duration) -> Result<Vec<Peer>, Error> {
        let advisers = self.inner.advisers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let resolving = advisers.iter().map(async |server| {
            let late =
                |_| Err(Error::told(ErrorKind::Timeout, format!("{} was not resolved in {limit:?}", server.host)));
            timeout(limit, resolve(server)).await.unwrap_or_else(late)
        });
        let answers = join_all(resolving).await;
        let (mut peers, mut failures) = (Vec::new(), Vec::new());
        for (server, answer) in advisers.iter().zip(answers) {
            match answer {
                Ok(mut addresses) => {
                    addresses.sort();
                    peers.extend(addresses.into_iter().map(|address| Peer::new(server.clone(), address)));
                }
                Err(error) => failures.push(error),
            }
        }
        if peers.is_empty() { Err(Error::of_all(failures)) } else { Ok(peers) }
    }

    async fn map_of(&self, adviser: &Peer, config: &AsyncConnectionConfig) -> Result<Map, Error> {
        match &self.inner.topology {
            Topology::Standalone => Ok(Map::one(adviser.server().clone())),
            Topology::Sentinel { primary, .. } => {
                sentinel::primary(&self.inner.to_sentinels, adviser, primary, config).await.map(Map::one)
            }
            Topology::Cluster => cluster::map(&self.inner.access, adviser, config).await,
        }
    }

    /// Remembers the servers of a cluster: those of the URL may all be replaced in time.
    fn take_advisers(&self, map: &Map) {
        if self.is_cluster() {
            let mut advisers = self.inner.seeds.clone();
            advisers.extend(map.servers().into_iter().filter(|server| !self.inner.seeds.contains(server)).cloned());
            *self.inner.advisers.lock().unwrap_or_else(PoisonError::into_inner) = advisers;
        }
    }
}
