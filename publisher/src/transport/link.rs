//! The one connection to a server that all publishes share, and its renewal.

use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{AsyncConnectionConfig, ProtocolVersion, RedisResult};

use crate::Error;
use crate::renewed::{Generation, Renewed};
use crate::store::{NameWatch, Primaries, Server, command_failure};

/// Owns the connection. Requests share it, so they pipeline; whoever finds it broken discards it, and the next request
/// opens another.
pub(crate) struct Link {
    server: Server,
    primaries: Primaries,
    config: AsyncConnectionConfig,
    script: &'static str,
    open: Renewed<Open>,
}

/// A connection, and the watch over the name by which it was opened.
#[derive(Clone)]
struct Open {
    connection: MultiplexedConnection,
    name: Arc<NameWatch>,
}

/// How many requests may wait to be written before callers wait for their turn.
const BUFFER: usize = 1024;

impl Link {
    /// A link to `server`, without connecting yet. An attempt to connect gives up after `timeout`.
    pub(crate) fn new(server: Server, primaries: Primaries, script: &'static str, timeout: Duration) -> Self {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(timeout))
            .set_response_timeout(None)
            .set_pipeline_buffer_size(BUFFER);
        Self { server, primaries, config, script, open: Renewed::new() }
    }

    /// The connection and its generation; opens one if there is none. Right after a failure to connect, and for a
    /// jittered while, all are told of that failure instead of trying themselves.
    pub(crate) async fn connection(&self) -> Result<(MultiplexedConnection, Generation), Error> {
        loop {
            let (open, generation) = self.open.get(|| Box::pin(self.open())).await?;
            if !open.name.has_moved() {
                return Ok((open.connection, generation));
            }
            self.open.discard(generation).await;
        }
    }

    /// Opens a connection and teaches the server the publish script, by an `EVAL` without keys, which
    /// does nothing. `SCRIPT LOAD` would ask for one more right of the user.
    ///
    /// Doing that first keeps pipelines in order. Otherwise, right after a start of the server, a
    /// script that another client brings in the middle of a pipeline would make its rest succeed
    /// before its beginning. It also shows at once whether the server wants a password.
    async fn open(&self) -> Result<Open, Error> {
        let reached = self.primaries.reach(&self.server, ProtocolVersion::RESP2, &self.config).await;
        let (mut connection, peer) = reached?;
        let mut teach = ::redis::cmd("EVAL");
        let taught: RedisResult<()> = teach.arg(self.script).arg(0).exec_async(&mut connection).await;
        taught.map_err(|error| command_failure(&self.server, "EVAL", error))?;
        Ok(Open { connection, name: Arc::new(NameWatch::begin(&self.primaries, &peer)) })
    }

    /// Lets go of the connection if it is still this one. Requests on their way over it may yet be answered.
    pub(crate) async fn discard(&self, generation: Generation) {
        self.open.discard(generation).await;
    }
}
