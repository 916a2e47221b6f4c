//! The one connection to Redis that all publishes share, and its renewal.

use std::time::{Duration, Instant};

use ::redis::aio::MultiplexedConnection;
use ::redis::io::tcp::TcpSettings;
use ::redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, ErrorKind as RedisKind, RedisError, RedisResult, ServerErrorKind,
};
use tidings_shared::script;
use tokio::sync::Mutex;

use crate::backoff::Backoff;
use crate::{Error, ErrorKind};

/// Owns the connection. Requests share it, so they pipeline; whoever finds it broken discards it, and the next request
/// opens another.
pub(crate) struct Link {
    client: Client,
    config: AsyncConnectionConfig,
    slot: Mutex<Slot>,
}

/// Which of the connections that came one after another.
pub(crate) type Generation = u64;

struct Slot {
    open: Option<MultiplexedConnection>,
    /// So that one failure discards only the connection that it came from.
    generation: Generation,
    backoff: Backoff,
    /// After a failure to connect: until when nobody tries again, and what everybody is told meanwhile.
    rest: Option<(Instant, Error)>,
}

/// How many requests may wait to be written before callers wait for their turn.
const BUFFER: usize = 1024;

impl Link {
    /// A link to the server of `url`, without connecting yet. An attempt to connect gives up after `timeout`.
    pub(crate) fn new(url: &str, timeout: Duration) -> Result<Self, Error> {
        let client = Client::open(connection_info(url)?).map_err(failure)?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(timeout))
            .set_response_timeout(None)
            .set_pipeline_buffer_size(BUFFER);
        let backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
        Ok(Self { client, config, slot: Mutex::new(Slot { open: None, generation: 0, backoff, rest: None }) })
    }

    /// The connection and its generation; opens one if there is none. Right after a failure to connect, and for a
    /// jittered while, all are told of that failure instead of trying themselves.
    pub(crate) async fn connection(&self) -> Result<(MultiplexedConnection, Generation), Error> {
        let mut slot = self.slot.lock().await;
        if let Some(open) = &slot.open {
            return Ok((open.clone(), slot.generation));
        }
        if let Some((until, error)) = &slot.rest
            && Instant::now() < *until
        {
            return Err(error.clone());
        }
        match self.open().await {
            Ok(open) => {
                slot.open = Some(open.clone());
                slot.generation += 1;
                slot.backoff.reset();
                slot.rest = None;
                Ok((open, slot.generation))
            }
            Err(error) => {
                let delay = slot.backoff.next(fastrand::f64());
                slot.rest = Some((Instant::now() + delay, error.clone()));
                Err(error)
            }
        }
    }

    /// Opens a connection and teaches the server the publish script. Doing that first keeps pipelines in order: else,
    /// right after a start of the server, a script that another client brings in the middle of one would make its rest
    /// succeed before its beginning. It also shows at once whether the server wants a password.
    async fn open(&self) -> Result<MultiplexedConnection, Error> {
        let mut open = self.client.get_multiplexed_async_connection_with_config(&self.config).await.map_err(failure)?;
        let taught: RedisResult<()> =
            ::redis::cmd("SCRIPT").arg("LOAD").arg(script::PUBLISH).exec_async(&mut open).await;
        match taught {
            // A user who may run scripts but not load them: publishing falls back to sending the script.
            Err(error) if error.kind() == RedisKind::Server(ServerErrorKind::NoPerm) => Ok(open),
            taught => taught.map(|()| open).map_err(failure),
        }
    }

    /// Lets go of the connection if it is still this one. Requests on their way over it may yet be answered.
    pub(crate) async fn discard(&self, generation: Generation) {
        let mut slot = self.slot.lock().await;
        if slot.generation == generation {
            slot.open = None;
        }
    }
}

/// How to connect to the server of `url`.
pub(crate) fn connection_info(url: &str) -> Result<ConnectionInfo, Error> {
    // The cause is left out: it might repeat a part of the URL.
    let wrong =
        |_: RedisError| Error::told(ErrorKind::InvalidUrl, "use redis://[user:password@]host[:port][/database]");
    let info: ConnectionInfo = url.parse().map_err(wrong)?;
    Ok(info.set_tcp_settings(TcpSettings::default().set_nodelay(true)))
}

/// What a failure of Redis means to a publisher.
pub(crate) fn failure(error: RedisError) -> Error {
    let kind = match error.kind() {
        RedisKind::Io if error.is_timeout() => ErrorKind::Timeout,
        RedisKind::Io => ErrorKind::Unavailable,
        RedisKind::AuthenticationFailed | RedisKind::Server(ServerErrorKind::NoPerm) => ErrorKind::Refused,
        RedisKind::InvalidClientConfig => ErrorKind::InvalidUrl,
        RedisKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::TryAgain
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ReadOnly
            | ServerErrorKind::NoScript,
        ) => ErrorKind::Unavailable,
        _ => match error.code() {
            Some("BUSY" | "OOM" | "MISCONF" | "NOREPLICAS") => ErrorKind::Unavailable,
            Some("NOAUTH" | "WRONGPASS" | "NOPERM") => ErrorKind::Refused,
            _ => ErrorKind::Protocol,
        },
    };
    Error::new(kind, error)
}
