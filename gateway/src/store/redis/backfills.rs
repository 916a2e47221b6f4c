//! Connections for backfills, which can be large: an answer of megabytes must not keep beacons and resumes waiting.

use deadpool_redis::{Connection, Manager, Pool, PoolError};
use redis::{AsyncConnectionConfig, RedisError};
use tidings_publisher::Error;
use tidings_publisher::store::{Peer, Primaries, Server, command_failure};

use super::CONNECTING;
use crate::store::session::StoreError;

/// Connections to one server.
const BACKFILLS: usize = 2;

/// A few connections to the server of a session, opened when they are needed.
pub(super) struct Backfills {
    pool: Pool,
    server: Server,
}

impl Backfills {
    /// Connections to `peer`, without opening one yet. Always at its address, not only by its name: another address
    /// may be another server.
    pub(super) async fn new(
        primaries: &Primaries,
        peer: &Peer,
        config: AsyncConnectionConfig,
    ) -> Result<Self, StoreError> {
        let client = primaries.pool_client(peer.server()).await;
        let client = client.map_err(|error| StoreError::new(CONNECTING, error))?;
        let server = peer.server().clone();
        let failed = |error| StoreError::new(CONNECTING, login_failure(&server, error));
        let manager = Manager::new_with_config(client.get_connection_info().clone(), peer.pin(config));
        let pool = Pool::builder(manager.map_err(failed)?).max_size(BACKFILLS).build();
        let pool = pool.map_err(|error| StoreError::new(CONNECTING, error))?;
        Ok(Self { pool, server })
    }

    /// One of them, as soon as one is free.
    pub(super) async fn get(&self, what: &'static str) -> Result<Connection, StoreError> {
        self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => StoreError::new(what, login_failure(&self.server, error)),
            error => StoreError::new(what, error),
        })
    }
}

/// A connection of the pool begins with HELLO, which carries the login.
fn login_failure(server: &Server, error: RedisError) -> Error {
    command_failure(server, "HELLO", error)
}
