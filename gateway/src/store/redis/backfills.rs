//! Connections for backfills, which can be large: an answer of megabytes must not keep beacons and resumes waiting.

use deadpool::managed::{self, Metrics, Object, Pool, PoolError, RecycleError, RecycleResult};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ProtocolVersion};
use tidings_publisher::Error;
use tidings_publisher::store::{Peer, Primaries};

use super::CONNECTING;
use crate::store::session::StoreError;

/// Connections to one server.
const BACKFILLS: usize = 2;

/// A few connections to the server of a session, opened when they are needed.
pub(super) struct Backfills {
    pool: Pool<Connecting>,
}

/// Opens and checks them.
struct Connecting {
    primaries: Primaries,
    peer: Peer,
    config: AsyncConnectionConfig,
}

impl Backfills {
    /// Connections to `peer`, without opening one yet.
    pub(super) fn new(primaries: Primaries, peer: Peer, config: AsyncConnectionConfig) -> Result<Self, StoreError> {
        let pool = Pool::builder(Connecting { primaries, peer, config }).max_size(BACKFILLS).build();
        Ok(Self { pool: pool.map_err(|error| StoreError::new(CONNECTING, error))? })
    }

    /// One of them, as soon as one is free.
    pub(super) async fn get(&self, what: &'static str) -> Result<impl AsMut<MultiplexedConnection>, StoreError> {
        let got: Result<Object<Connecting>, _> = self.pool.get().await;
        got.map_err(|error| match error {
            PoolError::Backend(error) => StoreError::new(what, error),
            error => StoreError::new(what, error),
        })
    }
}

impl managed::Manager for Connecting {
    type Type = MultiplexedConnection;
    type Error = Error;

    async fn create(&self) -> Result<MultiplexedConnection, Error> {
        // The address of the session, not only its name: another address may be another server.
        self.primaries.connect_to(&self.peer, ProtocolVersion::RESP3, &self.config).await
    }

    async fn recycle(&self, connection: &mut MultiplexedConnection, _: &Metrics) -> RecycleResult<Error> {
        // A command that the gateway's user may run: PING would be one more right to grant.
        let answered = redis::cmd("TIME").exec_async(connection).await;
        answered.map_err(|error| RecycleError::message(error.to_string()))
    }
}
