//! The scripts, as a server is asked to run them.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, RedisResult, Script};
use tidings_publisher::store::Server;
use tidings_shared::script::{self, Call};

use super::node::Node;
use crate::store::session::StoreError;
use crate::without::{Mechanism, Without};

/// All that a gateway runs.
pub(super) struct Scripts {
    pub(super) beacon: Script,
    pub(super) history: Script,
    pub(super) missed: Script,
    without: Without,
    /// Who was sent which, if nobody is to be sent one again.
    sent: Mutex<HashSet<(Server, String)>>,
}

impl Scripts {
    /// Those for a cluster, or for servers that stand alone.
    pub(super) fn new(cluster: bool, without: Without) -> Self {
        Self {
            beacon: Script::new(if cluster { script::cluster::BEACON } else { script::BEACON }),
            history: Script::new(script::HISTORY),
            missed: Script::new(script::MISSED),
            without,
            sent: Mutex::default(),
        }
    }

    /// Runs one: one round trip, but for the first time that this server sees it.
    pub(super) async fn invoke<T: FromRedisValue>(
        &self,
        script: &Script,
        call: &Call,
        (node, connection): (&Node, &mut MultiplexedConnection),
        what: &'static str,
    ) -> Result<T, StoreError> {
        let answer = match self.without.lacks(Mechanism::Scripts) && self.was_sent(node, script) {
            true => by_hash(script, call, connection).await,
            false => in_whole(script, call, connection).await,
        };
        answer.map_err(|error| node.failed(what, error))
    }

    fn was_sent(&self, node: &Node, script: &Script) -> bool {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        !sent.insert((node.server.clone(), script.get_hash().to_owned()))
    }
}

/// By its hash, and in whole to a server that does not know it.
async fn in_whole<T: FromRedisValue>(
    script: &Script,
    call: &Call,
    connection: &mut MultiplexedConnection,
) -> RedisResult<T> {
    let mut invocation = script.prepare_invoke();
    call.keys.iter().for_each(|key| {
        invocation.key(key);
    });
    call.args.iter().for_each(|arg| {
        invocation.arg(arg);
    });
    invocation.invoke_async(connection).await
}

/// By its hash, to a server that should know it.
async fn by_hash<T: FromRedisValue>(
    script: &Script,
    call: &Call,
    connection: &mut MultiplexedConnection,
) -> RedisResult<T> {
    let mut command = redis::cmd("EVALSHA");
    command.arg(script.get_hash()).arg(call.keys.len()).arg(&call.keys).arg(&call.args);
    command.query_async(connection).await
}
