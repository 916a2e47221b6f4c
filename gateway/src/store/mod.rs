//! The store: where history is kept and events come from. Redis, or memory within this process.

mod memory;
mod redis;
mod session;

use std::future::ready;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{self, LocalBoxStream};
use tidings_publisher::{ErrorKind, Publisher, Receipt};
use tidings_shared::{Event, Invalid, Partition, Partitions};

pub use self::memory::MemoryStore;
pub use self::redis::{RedisOptions, RedisStore};
pub use self::session::{
    Asked, Attempt, BeaconReply, Client, Entries, History, Missed, Push, Session, Status, StoreError,
};

/// The two stores there are.
#[derive(Debug, Clone)]
pub enum Store {
    /// History lives and dies with this process.
    Memory(MemoryStore),
    /// History lives in Redis; events are published through the publisher library.
    Redis(RedisStore, Publisher),
}

/// Why an event was not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The event is at fault.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The store is at fault; the same event may succeed later.
    #[error("the store did not take the event: {0}")]
    Store(#[source] tidings_publisher::Error),
}

impl Store {
    /// How many partitions the namespace has.
    pub fn partitions(&self) -> Partitions {
        match self {
            Self::Memory(store) => store.partitions(),
            Self::Redis(store, _) => store.partitions(),
        }
    }

    /// Whether the channels also carry messages of other histories: those of other databases of the same server.
    pub fn shares_channels(&self) -> bool {
        match self {
            Self::Memory(_) => false,
            Self::Redis(store, _) => store.shares_channels(),
        }
    }

    /// Publishes one event.
    pub async fn publish(&self, event: Event) -> Result<Receipt, PublishError> {
        match self {
            Self::Memory(store) => Ok(store.publish(&event)?),
            Self::Redis(_, publisher) => Ok(publisher.publish(event).await?),
        }
    }

    /// Publishes events: each stands for itself, and those to one address keep their order.
    pub async fn publish_all(&self, events: Vec<Event>) -> Vec<Result<Receipt, PublishError>> {
        match self {
            Self::Memory(store) => events.iter().map(|event| Ok(store.publish(event)?)).collect(),
            Self::Redis(_, publisher) => {
                publisher.publish_all(events).await.into_iter().map(|receipt| Ok(receipt?)).collect()
            }
        }
    }

    /// Sends what the publisher library still holds, for as long as `deadline` at the most.
    pub async fn flush(&self, deadline: Duration) {
        if let Self::Redis(_, publisher) = self
            && let Err(error) = publisher.shutdown(deadline).await
        {
            tracing::warn!(%error, "events that were still to be published are lost");
        }
    }

    /// Opens a session with each of the servers that these partitions have, each as soon as it is open or has failed.
    /// One at a time is meant to be open over a partition.
    pub fn connect(&self, partitions: Vec<Partition>) -> LocalBoxStream<'static, Attempt> {
        match self {
            Self::Memory(store) => {
                let result = Ok(store.connect(partitions.clone()));
                stream::once(ready(Attempt { partitions, result })).boxed_local()
            }
            Self::Redis(store, _) => store.connect(partitions).boxed_local(),
        }
    }
}

impl From<tidings_publisher::Error> for PublishError {
    fn from(error: tidings_publisher::Error) -> Self {
        match error.invalid() {
            Some(invalid) if error.kind() == ErrorKind::InvalidEvent => Self::Invalid(invalid.clone()),
            _ => Self::Store(error),
        }
    }
}
