//! The hashes in which partitions tell the count, of all partitions that there may be, and the ways to their servers.

use std::time::Duration;

use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, FromRedisValue, Pipeline, ProtocolVersion, RedisError, Value, from_redis_value};
use tidings_publisher::store::{Primaries, Server, command_failure};
use tidings_shared::script::{self, Claim, Step};
use tidings_shared::{Count, Epoch, Partition, Partitions};
use tokio::time::timeout;

use super::super::{CONNECT, CONNECTING, RedisOptions, fresh_map};
use super::CLAIMING;
use super::judge::Told;
use crate::store::session::StoreError;

/// Whoever has taken the partitions should have given them the count by then, in milliseconds; else others begin anew.
const TAKING_MS: u64 = 2 * CONNECT.as_millis() as u64;

/// The hashes, by server.
pub(super) struct Hashes<'a> {
    options: &'a RedisOptions,
    servers: Vec<Reached>,
    away: Option<StoreError>,
}

/// A server that answers, and the partitions that it has.
struct Reached {
    server: Server,
    connection: MultiplexedConnection,
    /// The last first: those beyond the count have no beacons that would find them undone by a failover. As a replica
    /// lacks only the last writes, one that has what came later has them too.
    partitions: Vec<Partition>,
}

impl<'a> Hashes<'a> {
    /// Connects to all primaries; of those that are away it is known only that they are.
    pub(super) async fn reach(primaries: &Primaries, options: &'a RedisOptions) -> Result<Self, StoreError> {
        let map = fresh_map(primaries).await.map_err(|error| StoreError::new(CONNECTING, error))?;
        let mut by_server: Vec<(Server, Vec<Partition>)> = Vec::new();
        let mut hashes = Self { options, servers: Vec::new(), away: None };
        for partition in Partitions::MOST.all().rev() {
            let slot = options.namespace.keys(partition).slot();
            match map.of(slot) {
                Some(server) => match by_server.iter_mut().find(|(known, _)| known == server) {
                    Some((_, partitions)) => partitions.push(partition),
                    None => by_server.push((server.clone(), vec![partition])),
                },
                None => {
                    let told = format!("no server of the cluster serves slot {slot}");
                    hashes.away = Some(StoreError::new(CLAIMING, told));
                }
            }
        }
        let opened = by_server.into_iter().map(async |(server, partitions)| {
            let connection = connect(primaries, &server).await?;
            Ok(Reached { server, connection, partitions })
        });
        for opened in join_all(opened).await {
            match opened {
                Ok(reached) => hashes.servers.push(reached),
                Err(error) => hashes.away = Some(error),
            }
        }
        Ok(hashes)
    }

    /// Why some of them cannot be read.
    pub(super) fn away(&self) -> Option<StoreError> {
        let StoreError { detail, .. } = self.away.as_ref()?;
        Some(match self.servers.is_empty() {
            true => StoreError::new(CONNECTING, detail),
            false => StoreError::new(CLAIMING, format!("all servers must be there to set it: {detail}")),
        })
    }

    /// What each partition tells, none if it cannot be asked.
    pub(super) async fn read(&mut self) -> Vec<(Partition, Option<Told>)> {
        let namespace = &self.options.namespace;
        let asked = self.servers.iter_mut().map(async |reached| {
            let mut pipeline = redis::pipe();
            pipeline.cmd("TIME");
            for partition in &reached.partitions {
                pipeline.cmd("HMGET").arg(&script::count(&namespace.keys(*partition)));
            }
            let answers = reached.send(&pipeline, "HMGET").await?;
            told(reached, answers)
        });
        let mut all: Vec<(Partition, Option<Told>)> = Partitions::MOST.all().map(|one| (one, None)).collect();
        for answer in join_all(asked).await {
            match answer {
                Ok(told) => {
                    for (partition, told) in told {
                        match told {
                            Ok(told) => all[partition.index()].1 = Some(told),
                            Err(error) => self.away = Some(error),
                        }
                    }
                }
                Err(error) => self.away = Some(error),
            }
        }
        all
    }

    /// Does a step of the claim in these partitions, whose servers are there.
    pub(super) async fn step(&mut self, step: Step, partitions: &[Partition]) -> Result<(), StoreError> {
        let options = self.options;
        let lease_ms = match step {
            Step::Take => TAKING_MS,
            Step::Give => options.lease_ms(),
        };
        let done = self.servers.iter_mut().map(async |reached| {
            let mut pipeline = redis::pipe();
            for partition in reached.partitions.iter().filter(|partition| partitions.contains(partition)) {
                let epoch = Epoch::from_random(fastrand::u32(..));
                let claim = Claim { step, partitions: options.partitions, epoch, lease_ms };
                let call = script::claim(&options.namespace.keys(*partition), claim);
                pipeline.cmd("EVAL").arg(call.script).arg(call.keys.len()).arg(call.keys).arg(call.args);
            }
            if pipeline.is_empty() {
                return Ok(());
            }
            for answer in reached.send(&pipeline, "EVAL").await? {
                reached.granted(answer)?;
            }
            Ok(())
        });
        join_all(done).await.into_iter().collect()
    }
}

impl Reached {
    async fn send(&mut self, pipeline: &Pipeline, command: &'static str) -> Result<Vec<Value>, StoreError> {
        let answers = self.connection.send_packed_commands(pipeline, 0, pipeline.len()).await;
        answers.map_err(|error| self.failed(command, error))
    }

    /// Reads the answer to `command`.
    fn read<T: FromRedisValue>(&self, command: &'static str, answer: Value) -> Result<T, StoreError> {
        let answer = answer.extract_error().map_err(|error| self.failed(command, error))?;
        from_redis_value(answer).map_err(|error| StoreError::new(CLAIMING, error))
    }

    fn failed(&self, command: &'static str, error: RedisError) -> StoreError {
        StoreError::new(CLAIMING, command_failure(&self.server, command, error))
    }

    /// A step was done, unless another count was in the way.
    fn granted(&self, answer: Value) -> Result<(), StoreError> {
        match self.read::<String>("EVAL", answer)?.as_str() {
            "" => Ok(()),
            other => {
                Err(StoreError::new(CLAIMING, format!("another gateway claims {other} partitions at the same time")))
            }
        }
    }
}

async fn connect(primaries: &Primaries, server: &Server) -> Result<MultiplexedConnection, StoreError> {
    let limit: Duration = CONNECT;
    let config = AsyncConnectionConfig::new().set_connection_timeout(Some(limit)).set_response_timeout(Some(limit));
    match timeout(limit, primaries.connect(server, ProtocolVersion::RESP3, &config)).await {
        Ok(connected) => connected.map_err(|error| StoreError::new(CLAIMING, error)),
        Err(_) => Err(StoreError::new(CLAIMING, format!("{server} did not answer in {limit:?}"))),
    }
}

type Asked = (Partition, Result<Told, StoreError>);

/// What a server's partitions tell, by its own clock.
fn told(reached: &Reached, answers: Vec<Value>) -> Result<Vec<Asked>, StoreError> {
    let mut answers = answers.into_iter();
    let (seconds, micros): (u64, u64) = reached.read("TIME", answers.next().unwrap_or_default())?;
    let now = seconds * 1000 + micros / 1000;
    let read = |answer| {
        let (count, claim, until): (Option<String>, Option<String>, Option<u64>) = reached.read("HMGET", answer)?;
        let parse = |text: Option<String>| {
            let count: Result<Count, _> = text.unwrap_or_default().parse();
            count.map_err(|error| StoreError::new(CLAIMING, error))
        };
        Ok(Told { count: parse(count)?, claim: parse(claim)?, in_use: until.is_some_and(|until| until > now) })
    };
    Ok(reached.partitions.iter().copied().zip(answers.map(read)).collect())
}
