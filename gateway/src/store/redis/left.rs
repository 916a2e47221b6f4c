//! Fencing off a server whose name leads to another one now, though it goes on.
//!
//! A publisher that follows the name later than the gateways would lose what it publishes there in
//! silence. The fence makes its publishes fail, and then it resolves the name again. Gateways whose
//! resolver is behind fail there too, so none of them ends the fence. It has a term, as an operator
//! may move the name back and start all gateways again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::{AsyncConnectionConfig, InfoDict, ProtocolVersion, RedisError};
use tidings_publisher::Error;
use tidings_publisher::store::{Peer, Primaries, command_failure};
use tidings_shared::script;
use tokio::time::timeout;

use super::RedisOptions;
use super::fence::LIMIT;
use super::node::Node;

/// The term of a fence, in milliseconds. Longer than resolvers usually remember an address.
const TERM_MS: u64 = 300_000;

/// Remembers the server that was connected last, and the one that was left for it.
#[derive(Debug, Default)]
pub(super) struct LeftServer {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: Option<Known>,
    /// The `run_id` of the server that was left for the last one.
    left: Option<Arc<str>>,
}

#[derive(Debug, Clone)]
struct Known {
    peer: Peer,
    run: Arc<str>,
}

impl LeftServer {
    /// `node` is connected now. Fences the server before it, if that is another process and its
    /// name leads there no more. Returns the `run_id` of the server that was left for this one.
    pub(super) async fn follow(&self, primaries: &Primaries, node: &Node, options: &RedisOptions) -> Option<Arc<str>> {
        let now = Known { peer: node.peer.clone(), run: node.run.as_str().into() };
        let before = self.lock().last.replace(now.clone());
        let Some(before) = before.filter(|before| before.run != now.run) else {
            return self.lock().left.clone();
        };
        let moved = before.peer.address() != now.peer.address() && has_left(primaries, &before.peer).await;
        if moved {
            raise(primaries, &before, &now, options).await;
        }
        let left = moved.then_some(before.run);
        self.lock().left.clone_from(&left);
        left
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the name leads to this address no more, by a second answer: the one before, by which the
/// new server was found, may have come from a resolver that is behind.
async fn has_left(primaries: &Primaries, before: &Peer) -> bool {
    match timeout(LIMIT, primaries.leads_to(before)).await {
        Ok(Ok(leads_there)) => !leads_there,
        Ok(Err(error)) => {
            tracing::warn!(server = %before, %error, "cannot resolve; not fencing the old server");
            false
        }
        Err(_) => {
            tracing::warn!(server = %before, "look-up is slow; not fencing the old server");
            false
        }
    }
}

async fn raise(primaries: &Primaries, before: &Known, now: &Known, options: &RedisOptions) {
    let (from, to) = (before.peer.address(), now.peer.address());
    match timeout(LIMIT, try_raise(primaries, before, now, options)).await {
        Ok(Ok(true)) => {
            tracing::info!(%from, %to, "server name moved; the old server refuses publishes now");
        }
        Ok(Ok(false)) => {
            tracing::info!(%from, %to, "server name moved; another server has the old address");
        }
        Ok(Err(error)) => {
            tracing::warn!(%from, %to, %error, "server name moved; cannot fence the old server");
        }
        Err(_) => {
            tracing::warn!(%from, %to, "server name moved; the old server is silent, not fenced");
        }
    }
}

/// Fences the server before, in all partitions. False if another server has its address now.
async fn try_raise(primaries: &Primaries, before: &Known, now: &Known, options: &RedisOptions) -> Result<bool, Error> {
    let config = AsyncConnectionConfig::new().set_connection_timeout(Some(LIMIT)).set_response_timeout(Some(LIMIT));
    let mut connection = primaries.connect_to(&before.peer, ProtocolVersion::RESP3, &config).await?;
    let failed = |command| move |error: RedisError| command_failure(before.peer.server(), command, error);
    let info: InfoDict = redis::cmd("INFO").arg("server").query_async(&mut connection).await.map_err(failed("INFO"))?;
    if info.get::<String>("run_id").as_deref() != Some(&*before.run) {
        return Ok(false);
    }
    let (seconds, _): (u64, u64) = redis::cmd("TIME").query_async(&mut connection).await.map_err(failed("TIME"))?;
    let until_ms = seconds * 1_000 + TERM_MS;
    let mut pipeline = redis::Pipeline::new();
    for partition in options.partitions.all() {
        let keys = options.namespace.keys(partition);
        pipeline.cmd("HSET").arg(&script::fence_for(&keys, &now.run, until_ms));
    }
    pipeline.exec_async(&mut connection).await.map_err(failed("HSET"))?;
    Ok(true)
}
