//! The connections to one primary.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ProtocolVersion, PushInfo, PushKind, RedisError};
use tidings_publisher::store::{Peer, Primaries, Server, Verdict, command_failure, one_by_one};
use tokio::time::timeout;

use super::backfills::Backfills;
use super::pushes::{Leaving, accept};
use super::{CONNECT, CONNECTING};
use crate::store::session::{PushSink, StoreError};
use crate::without::{Mechanism, Without};

/// How long a request may take before the session counts as broken.
const ANSWER: Duration = Duration::from_secs(5);

/// One primary: a connection for subscriptions and the pushes they bring, one for short requests, some for backfills.
pub(super) struct Node {
    pub(super) server: Server,
    /// At which of its addresses it was reached.
    pub(super) peer: Peer,
    /// Which process it is.
    pub(super) run: String,
    /// The same, and which of its times as a primary this is.
    pub(super) reign: Arc<str>,
    /// The replication id of the primary whose history it continues, if it was promoted since it started.
    pub(super) continued: String,
    /// Its `maxmemory-policy`.
    pub(super) policy: String,
    pub(super) requests: MultiplexedConnection,
    pub(super) backfills: Backfills,
    subscriber: MultiplexedConnection,
    /// Whether channels are those of a cluster.
    sharded: bool,
    leaving: Leaving,
    without: Without,
}

impl Node {
    /// Connects; pushes go to `sink`.
    pub(super) async fn open(
        primaries: &Primaries,
        server: &Server,
        sink: &PushSink,
        without: Without,
    ) -> Result<Self, StoreError> {
        let late = |_| StoreError::new(CONNECTING, format!("{server} did not answer in {CONNECT:?}"));
        timeout(CONNECT, Self::open_slowly(primaries, server, sink, without)).await.map_err(late)?
    }

    async fn open_slowly(
        primaries: &Primaries,
        server: &Server,
        sink: &PushSink,
        without: Without,
    ) -> Result<Self, StoreError> {
        let what = CONNECTING;
        let failed = |error: RedisError| StoreError::new(what, command_failure(server, "INFO", error));
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(ANSWER))
            .set_pipeline_buffer_size(4_096);
        let leaving = Leaving::default();
        // A SUBSCRIBE may take long where much is followed. Beacons come over this connection: they tell whether it lives.
        let pushing = config.clone().set_response_timeout(None).set_push_sender({
            let (sink, leaving) = (sink.clone(), leaving.clone());
            move |push: PushInfo| match push.kind {
                PushKind::SUnsubscribe if without.lacks(Mechanism::Moved) => Ok(()),
                _ => accept(&sink, &leaving, push),
            }
        });
        let connecting = |error| StoreError::new(what, error);
        let (subscriber, peer) = primaries.reach(server, ProtocolVersion::RESP3, &pushing).await.map_err(connecting)?;
        // At the same address: another one of the name may be another server.
        let mut requests = primaries.connect_to(&peer, ProtocolVersion::RESP3, &config).await.map_err(connecting)?;
        let info: redis::InfoDict = redis::cmd("INFO").query_async(&mut requests).await.map_err(failed)?;
        let run: String = info.get("run_id").ok_or_else(|| StoreError::new(what, "INFO tells no run_id"))?;
        let replid: String = info.get("master_replid").unwrap_or_default();
        let backfills = Backfills::new(primaries, &peer, config).await?;
        Ok(Self {
            server: server.clone(),
            peer,
            reign: format!("{run} {replid}").into(),
            run,
            continued: info.get("master_replid2").unwrap_or_default(),
            policy: info.get("maxmemory_policy").unwrap_or_default(),
            requests,
            backfills,
            subscriber,
            sharded: primaries.is_cluster(),
            leaving,
            without,
        })
    }

    /// Subscribes; from the answer on, nothing on these channels is missed.
    pub(super) async fn subscribe(&self, channels: Vec<String>) -> Result<(), StoreError> {
        let mut subscriber = self.subscriber.clone();
        let (command, result) = match self.sharded {
            true => ("SSUBSCRIBE", one_by_one(&mut subscriber, "SSUBSCRIBE", &channels).await),
            false => ("SUBSCRIBE", subscriber.subscribe(channels).await),
        };
        result.map_err(|error| self.failed(("subscribing", command), error))
    }

    /// Ends subscriptions.
    pub(super) async fn unsubscribe(&self, channels: Vec<String>) -> Result<(), StoreError> {
        let mut subscriber = self.subscriber.clone();
        let (command, result) = match self.sharded {
            true => {
                self.leaving.leave(&channels);
                ("SUNSUBSCRIBE", one_by_one(&mut subscriber, "SUNSUBSCRIBE", &channels).await)
            }
            false => ("UNSUBSCRIBE", subscriber.unsubscribe(channels).await),
        };
        result.map_err(|error| self.failed(("unsubscribing", command), error))
    }

    /// An error of this server: what was being done, and by which command.
    pub(super) fn failed(&self, (what, command): (&'static str, &'static str), error: RedisError) -> StoreError {
        let passing = match Verdict::of(&error, &self.server) {
            // TRYAGAIN and ASK: while a slot moves its keys are in two places.
            Verdict::Later | Verdict::Ask(_) => true,
            Verdict::Moved { .. } => self.without.lacks(Mechanism::Moved),
            _ => false,
        };
        StoreError { passing, ..StoreError::new(what, command_failure(&self.server, command, error)) }
    }
}
