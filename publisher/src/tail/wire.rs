//! The connection to one primary: its channels, and what is asked of it.

use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{AsyncConnectionConfig, ProtocolVersion, PushInfo, RedisError};
use tidings_shared::keys::Keys;
use tidings_shared::{Count, script};
use tokio::sync::mpsc::UnboundedSender;

use crate::store::{Peer, Primaries, Server, command_failure, one_by_one};
use crate::{Error, ErrorKind};

/// How long an answer may take.
pub(super) const ANSWER: Duration = Duration::from_secs(5);

/// The connection. Cheap to clone; all clones are one.
#[derive(Clone)]
pub(super) struct Wire {
    pub connection: MultiplexedConnection,
    pub server: Server,
    pub peer: Peer,
}

impl Wire {
    /// Connects; what comes without being asked, and the end of the connection, goes to `pushes`.
    pub(super) async fn open(
        primaries: &Primaries,
        server: &Server,
        pushes: Option<&UnboundedSender<PushInfo>>,
    ) -> Result<Self, Error> {
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(ANSWER)).set_response_timeout(Some(ANSWER));
        let config = match pushes {
            Some(pushes) => config.set_push_sender(pushes.clone()),
            None => config,
        };
        let (connection, peer) = primaries.reach(server, ProtocolVersion::RESP3, &config).await?;
        Ok(Self { connection, server: server.clone(), peer })
    }

    /// Subscribes; from the answer on, nothing on these channels is missed.
    pub(super) async fn subscribe(&mut self, channels: Vec<String>, sharded: bool) -> Result<(), Error> {
        let (command, subscribed) = match sharded {
            true => ("SSUBSCRIBE", one_by_one(&mut self.connection, "SSUBSCRIBE", &channels).await),
            false => ("SUBSCRIBE", self.connection.subscribe(channels).await),
        };
        subscribed.map_err(|error| command_failure(&self.server, command, error))
    }

    /// What a partition tells of the count.
    pub(super) async fn count(&mut self, keys: &Keys) -> Result<Count, Error> {
        let told: Result<Vec<Option<String>>, RedisError> =
            ::redis::cmd("HMGET").arg(&script::count(keys)).query_async(&mut self.connection).await;
        let count = told.map_err(|error| command_failure(&self.server, "HMGET", error))?;
        count
            .into_iter()
            .next()
            .flatten()
            .unwrap_or_default()
            .parse()
            .map_err(|error| Error::new(ErrorKind::Protocol, error))
    }
}
