//! The Redis store: how a gateway reads Redis.

use std::sync::Arc;
use std::time::Duration;

use deadpool_redis::{Manager, Pool};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client as Server, ProtocolVersion, PushInfo, PushKind, Value};
use redis::{FromRedisValue, RedisError, Script};
use tidings_publisher::store::{Primaries, RedisUrl, TlsFiles};
use tidings_shared::cursor::Place;
use tidings_shared::keys::Namespace;
use tidings_shared::script::{self, Call};
use tidings_shared::{Address, Epoch, Id, Partition, Partitions, Retention};

use super::session::{self, Asked, Client, Entries, History, Missed, PushSink, Session, Status, StoreError};

/// How long a request may take before the session counts as broken.
const ANSWER: Duration = Duration::from_secs(5);
/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(3);
/// Connections for backfills, which can be large: an answer of megabytes must not keep beacons and resumes waiting.
const BACKFILLS: usize = 2;
/// Entries of a page of the journal.
const PAGE: u64 = 5_000;

/// What is needed to open sessions.
#[derive(Debug, Clone)]
pub struct RedisOptions {
    /// The key prefix.
    pub namespace: Namespace,
    /// How many partitions the namespace has.
    pub partitions: Partitions,
    /// The retention that this gateway sets.
    pub retention: Retention,
    /// This gateway's id; its beacons come on its own channel.
    pub gateway: String,
}

/// Redis, standalone.
#[derive(Clone)]
pub struct RedisStore {
    primaries: Primaries,
    options: Arc<RedisOptions>,
    scripts: Arc<Scripts>,
}

impl std::fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the primaries, to which a password may lead.
        f.debug_struct("RedisStore").field("options", &self.options).finish_non_exhaustive()
    }
}

struct Scripts {
    beacon: Script,
    history: Script,
    missed: Script,
}

impl RedisStore {
    /// A store at `url`. Connects only when a session is opened.
    pub fn new(url: &RedisUrl, tls: TlsFiles, options: RedisOptions) -> Result<Self, StoreError> {
        let primaries = Primaries::new(url, tls, CONNECT).map_err(|e| StoreError::new("reading store.url", e))?;
        let scripts = Scripts {
            beacon: Script::new(script::BEACON),
            history: Script::new(script::HISTORY),
            missed: Script::new(script::MISSED),
        };
        Ok(Self { primaries, options: Arc::new(options), scripts: Arc::new(scripts) })
    }

    /// How many partitions the namespace has.
    pub fn partitions(&self) -> Partitions {
        self.options.partitions
    }

    /// Opens a session: one connection for subscriptions and the pushes they bring, one for requests.
    pub async fn connect(&self) -> Result<Session, StoreError> {
        let wrong = |error: RedisError| StoreError::new("connecting to Redis", error);
        let (sink, pushes) = session::pushes();
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(ANSWER))
            .set_pipeline_buffer_size(4_096);
        let for_requests = config.clone();
        let config = config.set_push_sender({
            let sink = sink.clone();
            move |push| accept(&sink, push)
        });
        let server = self.server().await.map_err(|e| StoreError::new("connecting to Redis", e))?;
        let subscriber = server.get_multiplexed_async_connection_with_config(&config).await.map_err(wrong)?;
        let mut requests = server.get_multiplexed_async_connection_with_config(&for_requests).await.map_err(wrong)?;
        let info: redis::InfoDict = redis::cmd("INFO").query_async(&mut requests).await.map_err(wrong)?;
        let run: String =
            info.get("run_id").ok_or_else(|| StoreError::new("connecting to Redis", "INFO tells no run_id"))?;
        let policy = info.get("maxmemory_policy").unwrap_or_default();
        let pool = Manager::new_with_config(server.get_connection_info().clone(), for_requests)
            .map_err(wrong)
            .and_then(|manager| {
                Pool::builder(manager).max_size(BACKFILLS).build().map_err(|e| StoreError::new("making a pool", e))
            })?;
        let client = RedisClient {
            subscriber,
            requests,
            pool,
            run: run.as_str().into(),
            options: Arc::clone(&self.options),
            scripts: Arc::clone(&self.scripts),
        };
        Ok(Session::new(Client::Redis(client), run, policy, &sink, pushes))
    }

    /// The one server, with the certificates as their files are now.
    async fn server(&self) -> Result<Server, tidings_publisher::Error> {
        let (server, _) = self.primaries.of(0).await?;
        self.primaries.client(&server, ProtocolVersion::RESP3)
    }
}

/// Takes a push from the connection's own task, which must never wait.
fn accept(sink: &PushSink, push: PushInfo) -> Result<(), redis::aio::SendError> {
    match push.kind {
        PushKind::Message => {
            let mut texts = push.data.into_iter().map(text);
            if let (Some(Some(channel)), Some(Some(text))) = (texts.next(), texts.next()) {
                sink.push(channel, text);
            }
        }
        PushKind::Disconnection => sink.close(),
        // The server ended a subscription that we did not end: it has gone deaf to us.
        PushKind::SUnsubscribe => sink.close(),
        _ => {}
    }
    if sink.is_closed() { Err(redis::aio::SendError) } else { Ok(()) }
}

fn text(value: Value) -> Option<Box<str>> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes).ok().map(String::into_boxed_str),
        Value::SimpleString(text) => Some(text.into_boxed_str()),
        _ => None,
    }
}

/// Makes a session's requests to Redis.
#[derive(Clone)]
pub struct RedisClient {
    subscriber: MultiplexedConnection,
    requests: MultiplexedConnection,
    pool: Pool,
    run: Arc<str>,
    options: Arc<RedisOptions>,
    scripts: Arc<Scripts>,
}

impl std::fmt::Debug for RedisClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisClient").field("run", &self.run).finish_non_exhaustive()
    }
}

impl RedisClient {
    pub(super) async fn subscribe(&self, channels: Vec<String>) -> Result<(), StoreError> {
        let mut subscriber = self.subscriber.clone();
        subscriber.subscribe(channels).await.map_err(|e| StoreError::new("subscribing", e))
    }

    pub(super) async fn unsubscribe(&self, channels: Vec<String>) -> Result<(), StoreError> {
        let mut subscriber = self.subscriber.clone();
        subscriber.unsubscribe(channels).await.map_err(|e| StoreError::new("unsubscribing", e))
    }

    pub(super) async fn beacon(&self, partition: Partition, seen: Id, attaching: bool) -> Result<Place, StoreError> {
        let beacon = script::Beacon {
            gateway: &self.options.gateway,
            seen,
            epoch: Epoch::from_random(fastrand::u32(..)),
            run: &self.run,
            attaching,
            retention: self.options.retention,
        };
        let call = script::beacon(&self.options.namespace.keys(partition), beacon);
        let what = "sending a beacon";
        let (epoch, id): (String, String) =
            invoke(&self.scripts.beacon, &call, &mut self.requests.clone(), what).await?;
        Ok(Place { epoch: parsed(what, &epoch)?, id: parsed(what, &id)? })
    }

    pub(super) async fn history(&self, asked: Asked<'_>) -> Result<History, StoreError> {
        self.read(asked, &mut self.requests.clone(), "reading history").await
    }

    pub(super) async fn backfill(&self, asked: Asked<'_>) -> Result<History, StoreError> {
        let what = "reading a backfill";
        let mut pooled = self.pool.get().await.map_err(|e| StoreError::new(what, e))?;
        self.read(asked, &mut pooled, what).await
    }

    async fn read(
        &self,
        asked: Asked<'_>,
        connection: &mut MultiplexedConnection,
        what: &'static str,
    ) -> Result<History, StoreError> {
        let addresses: Vec<Address> = asked.addresses.iter().map(|address| Address::clone(address)).collect();
        let keys = self.options.namespace.keys(asked.partition);
        let call = script::history(&keys, &addresses, asked.span, asked.bytes).after_each(asked.each);
        read_history(invoke(&self.scripts.history, &call, connection, what).await?)
    }

    pub(super) async fn missed(
        &self,
        partition: Partition,
        after: Id,
        up_to: Option<Id>,
    ) -> Result<Missed, StoreError> {
        let what = "reading the journal";
        let call = script::missed(&self.options.namespace.keys(partition), after, up_to, PAGE);
        let mut pooled = self.pool.get().await.map_err(|e| StoreError::new(what, e))?;
        let (epoch, last, complete, next, addresses): (String, String, u8, String, Vec<String>) =
            invoke(&self.scripts.missed, &call, &mut pooled, what).await?;
        Ok(Missed {
            epoch: epoch.parse().ok(),
            last: parsed(what, &last)?,
            complete: complete == 1,
            next: next.parse().ok(),
            addresses: addresses.iter().map(|text| parsed(what, text)).collect::<Result<_, _>>()?,
        })
    }
}

/// Runs a script: one round trip, but for the first time that this server sees it.
async fn invoke<T: FromRedisValue>(
    script: &Script,
    call: &Call,
    connection: &mut MultiplexedConnection,
    what: &'static str,
) -> Result<T, StoreError> {
    let mut invocation = script.prepare_invoke();
    call.keys.iter().for_each(|key| {
        invocation.key(key);
    });
    call.args.iter().for_each(|arg| {
        invocation.arg(arg);
    });
    invocation.invoke_async(connection).await.map_err(|e: RedisError| StoreError::new(what, e))
}

fn read_history(answer: Vec<Value>) -> Result<History, StoreError> {
    let what = "reading history";
    let mut items = answer.into_iter();
    let mut next = || items.next().ok_or_else(|| StoreError::new(what, "the answer is too short"));
    let epoch: String = convert(next()?)?;
    let last: String = convert(next()?)?;
    let mut entries = Vec::new();
    while let (Ok(status), Ok(flat)) = (next(), next()) {
        let status: String = convert(status)?;
        let flat: Vec<String> = convert(flat)?;
        entries.push(read_entries(&status, flat)?);
    }
    Ok(History { epoch: epoch.parse().ok(), last: parsed(what, &last)?, entries })
}

fn read_entries(status: &str, flat: Vec<String>) -> Result<Entries, StoreError> {
    let status = match status {
        "ok" => Status::Complete,
        "big" => Status::Big,
        _ => Status::Lost,
    };
    let mut messages = Vec::with_capacity(flat.len() / 2);
    let mut flat = flat.into_iter();
    while let (Some(id), Some(message)) = (flat.next(), flat.next()) {
        messages.push((parsed("reading history", &id)?, message));
    }
    Ok(Entries { status, messages })
}

fn convert<T: FromRedisValue>(value: Value) -> Result<T, StoreError> {
    redis::from_redis_value(value).map_err(|e| StoreError::new("reading history", e))
}

fn parsed<T: std::str::FromStr<Err = tidings_shared::Invalid>>(
    what: &'static str,
    text: &str,
) -> Result<T, StoreError> {
    text.parse().map_err(|e| StoreError::new(what, e))
}
