//! The scripts, as a server is asked to run them.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, RedisError, RedisResult, ServerErrorKind};
use tidings_publisher::store::Server;
use tidings_shared::script::{self, Call};

use super::node::Node;
use crate::without::{Mechanism, Without};

/// One of them.
pub(super) struct Script {
    text: &'static str,
    /// The name by which servers know it.
    hash: String,
}

impl Script {
    fn new(text: &'static str) -> Self {
        Self { text, hash: redis::Script::new(text).get_hash().to_owned() }
    }
}

/// All that a gateway runs.
pub(super) struct Scripts {
    pub(super) beacon: Script,
    pub(super) history: Script,
    pub(super) missed: Script,
    without: Without,
    /// Who was sent which, if nobody is to be sent one again.
    sent: Mutex<HashSet<(Server, &'static str)>>,
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
    ) -> RedisResult<T> {
        let unknown = |error: &RedisError| error.kind() == ServerErrorKind::NoScript.into();
        let may_send = self.may_send(node, script);
        match run(("EVALSHA", &script.hash), call, connection).await {
            // Not its name again after it was told: it may be forgotten in between.
            Err(error) if unknown(&error) && may_send => run(("EVAL", script.text), call, connection).await,
            answer => answer,
        }
    }

    fn may_send(&self, node: &Node, script: &Script) -> bool {
        let sent = || self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        !self.without.lacks(Mechanism::Scripts) || sent().insert((node.server.clone(), script.text))
    }
}

/// Runs it by its hash, which the server should know, or by its text.
async fn run<T: FromRedisValue>(
    (command, script): (&str, &str),
    call: &Call,
    connection: &mut MultiplexedConnection,
) -> RedisResult<T> {
    let mut command = redis::cmd(command);
    command.arg(script).arg(call.keys.len()).arg(&call.keys).arg(&call.args);
    command.query_async(connection).await
}
