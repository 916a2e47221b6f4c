//! Fencing off a server that was the primary, and does not know yet that it is no more.
//!
//! Sentinel makes the primary that was replaced a replica many seconds after it has told everybody else. Publishers that
//! are connected to it notice nothing, and it takes what they send, all of which is lost when it follows the new one. A
//! gateway that has left it tells its connections to refetch: that covers what it took before, not what it takes later. So
//! first it is told to take nothing more, and publishers that are refused there look for the primary anew.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, InfoDict, ProtocolVersion};
use tidings_publisher::Error;
use tidings_publisher::store::{Primaries, Server, Topology, command_failure};
use tidings_shared::script;
use tokio::time::timeout;

use super::RedisOptions;
use super::left::LeftServer;
use super::node::Node;
use crate::without::Mechanism;

/// How long it may take: a server that is gone needs no fence, and nobody should wait for one that may be.
pub(super) const LIMIT: Duration = Duration::from_millis(500);

/// Remembers which server was the primary.
#[derive(Debug, Default)]
pub(super) struct Fence {
    before: Mutex<Option<Server>>,
    left: LeftServer,
}

/// How somebody knows that a server was the primary before.
#[derive(Debug, Clone, Copy)]
enum Proof<'a> {
    /// A session with it was open.
    Seen,
    /// Its replication id is this one, of the history that the primary continues. So one that was promoted after the one
    /// that is connected, which a sentinel may not know yet, is left alone.
    History(&'a str),
}

impl Fence {
    /// The primary is now this one, as it has proved. Those before it, if they still take themselves for one, will refuse
    /// all publishes when this returns: the one that was seen, and any that sentinels know of, as a gateway that is new
    /// has seen none.
    ///
    /// Returns the `run_id` of the server that was left because its name leads to `node` now.
    pub(super) async fn moved(&self, primaries: &Primaries, node: &Node, options: &RedisOptions) -> Option<Arc<str>> {
        if primaries.follows_name(&node.peer) && !options.without.lacks(Mechanism::Fence) {
            return self.left.follow(primaries, node, options).await;
        }
        self.fence_replaced(primaries, node, options).await;
        None
    }

    async fn fence_replaced(&self, primaries: &Primaries, node: &Node, options: &RedisOptions) {
        // In a cluster servers tell each other who the primaries are, and one that hears from nobody takes no writes.
        if !matches!(primaries.topology(), Topology::Sentinel { .. }) || options.without.lacks(Mechanism::Fence) {
            return;
        }
        let now = &node.server;
        let before = self.before.lock().unwrap_or_else(PoisonError::into_inner).replace(now.clone());
        if before.as_ref() == Some(now) {
            return;
        }
        let members = timeout(LIMIT, primaries.members()).await.unwrap_or(Ok(Vec::new())).unwrap_or_else(|error| {
            tracing::warn!(%error, "sentinels do not tell the other servers: one of these may still take events of publishers");
            Vec::new()
        });
        let others = members.iter().filter(|server| *server != now && Some(*server) != before.as_ref());
        let others = others.map(|server| (server, Proof::History(&node.continued)));
        let all = before.iter().map(|server| (server, Proof::Seen)).chain(others);
        join_all(all.map(|(server, proof)| raise(primaries, server, proof, options))).await;
    }
}

/// Fences a server off, if it takes itself for the primary.
async fn raise(primaries: &Primaries, server: &Server, proof: Proof<'_>, options: &RedisOptions) {
    match timeout(LIMIT, try_raise(primaries, server, proof, options)).await {
        Ok(Ok(true)) => tracing::info!(%server, "the primary before takes nothing more"),
        Ok(Ok(false)) => {
            tracing::warn!(%server, "it takes itself for the primary, of another history")
        }
        Ok(Err(error)) => tracing::debug!(%server, %error, "it is no primary any more"),
        Err(_) if matches!(proof, Proof::Seen) => {
            tracing::warn!(%server, "the primary before is silent; it may still take events of publishers");
        }
        Err(_) => tracing::debug!(%server, "another server is silent"),
    }
}

/// Fences a server off, in all partitions, if there is proof. Fails if it is no primary.
async fn try_raise(
    primaries: &Primaries,
    server: &Server,
    proof: Proof<'_>,
    options: &RedisOptions,
) -> Result<bool, Error> {
    let config = AsyncConnectionConfig::new().set_connection_timeout(Some(LIMIT)).set_response_timeout(Some(LIMIT));
    let mut connection = primaries.connect(server, ProtocolVersion::RESP3, &config).await?;
    if let Proof::History(continued) = proof
        && replication_id(&mut connection, server).await? != continued
    {
        return Ok(false);
    }
    let mut pipeline = redis::Pipeline::new();
    for partition in options.partitions.all() {
        let (key, field, value) = script::fence(&options.namespace.keys(partition));
        pipeline.hset(key, field, value);
    }
    pipeline.exec_async(&mut connection).await.map_err(|error| command_failure(server, "HSET", error))?;
    Ok(true)
}

async fn replication_id(connection: &mut MultiplexedConnection, server: &Server) -> Result<String, Error> {
    let info: Result<InfoDict, _> = redis::cmd("INFO").arg("replication").query_async(connection).await;
    let info = info.map_err(|error| command_failure(server, "INFO", error))?;
    Ok(info.get("master_replid").unwrap_or_default())
}
