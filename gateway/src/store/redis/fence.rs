//! Fencing off a server that was the primary, and does not know yet that it is no more.
//!
//! Sentinel makes the primary that was replaced a replica many seconds after it has told everybody else. Publishers that
//! are connected to it notice nothing, and it takes what they send, all of which is lost when it follows the new one. A
//! gateway that has left it tells its connections to refetch: that covers what it took before, not what it takes later. So
//! first it is told to take nothing more, and publishers that are refused there look for the primary anew.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::{AsyncConnectionConfig, ProtocolVersion};
use tidings_publisher::Error;
use tidings_publisher::store::{Primaries, Server, Topology, failure};
use tidings_shared::script;
use tokio::time::timeout;

use super::RedisOptions;
use crate::without::Mechanism;

/// How long it may take: a server that is gone needs no fence, and nobody should wait for one that may be.
const LIMIT: Duration = Duration::from_millis(500);

/// Remembers which server was the primary.
#[derive(Debug, Default)]
pub(super) struct Fence {
    before: Mutex<Option<Server>>,
}

impl Fence {
    /// The primary is `now` this one, as it has proved. The one before, if that still takes itself for one, will refuse all
    /// publishes when this returns.
    pub(super) async fn moved(&self, primaries: &Primaries, now: &Server, options: &RedisOptions) {
        // In a cluster servers tell each other who the primaries are, and one that hears from nobody takes no writes.
        if !matches!(primaries.topology(), Topology::Sentinel { .. }) || options.without.lacks(Mechanism::Fence) {
            return;
        }
        let before = self.before.lock().unwrap_or_else(PoisonError::into_inner).replace(now.clone());
        let Some(before) = before.filter(|before| before != now) else { return };
        match timeout(LIMIT, raise(primaries, &before, options)).await {
            Ok(Ok(())) => tracing::info!(server = %before, "the primary before takes nothing more"),
            Ok(Err(error)) => tracing::debug!(server = %before, %error, "the primary before is none any more"),
            Err(_) => {
                tracing::warn!(server = %before, "the primary before is silent; it may still take events of publishers")
            }
        }
    }
}

/// Fences a server off, in all partitions. Fails if it is no primary.
async fn raise(primaries: &Primaries, server: &Server, options: &RedisOptions) -> Result<(), Error> {
    let config = AsyncConnectionConfig::new().set_connection_timeout(Some(LIMIT)).set_response_timeout(Some(LIMIT));
    let mut connection = primaries.connect(server, ProtocolVersion::RESP3, &config).await?;
    let mut pipeline = redis::Pipeline::new();
    for partition in options.partitions.all() {
        let (key, field, value) = script::fence(&options.namespace.keys(partition));
        pipeline.hset(key, field, value);
    }
    pipeline.exec_async(&mut connection).await.map_err(|error| failure(server, error))
}
