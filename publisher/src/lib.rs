//! Publishes Tidings refresh events: "what this address names has changed; fetch it again".
//!
//! ```no_run
//! use std::time::Duration;
//! use tidings_publisher::{Event, Publisher};
//!
//! # async fn example() -> Result<(), tidings_publisher::Error> {
//! // Fails only for a wrong URL: the service starts while the store is away.
//! let publisher = Publisher::lazy("redis://127.0.0.1:6379")?;
//! // Never waits, never fails the caller.
//! publisher.notify(Event::refresh("@alice/inbox"));
//! // Waits until the store has it.
//! let event = Event::refresh("orders/42").event_type("order.updated").version("7");
//! let receipt = publisher.publish(event).await?;
//! println!("published as {:?}", receipt.id("orders/42"));
//! publisher.shutdown(Duration::from_secs(5)).await
//! # }
//! ```
//!
//! Publish *after* the change is committed: a page that fetches on an event must find it. `examples/orders.rs` shows a
//! whole service.
//!
//! | module | owns |
//! |---|---|
//! | `publisher`, `builder` | the handle and its settings |
//! | `sender`, `parcel`, `backoff` | an event made ready, and sending it with retries |
//! | `transport` | the ways it can go: Redis, a gateway's API, nowhere |
//! | [`store`], `renewed` | reaching Redis in all its topologies |
//! | `local` | a publisher that sends nothing, for tests |
//! | `notify`, `complaint` | the queue and the task behind [`Publisher::notify`] |
//! | `tail` | following addresses from a terminal (feature `cli`) |
//!
//! The feature `cli`, on by default, builds the `tidings` command. Turn it off to use the library alone.
#![deny(missing_docs)]

mod backoff;
mod builder;
mod complaint;
mod error;
mod local;
mod notify;
mod parcel;
mod publisher;
mod receipt;
mod renewed;
mod sender;
mod stats;
pub mod store;
#[cfg(feature = "cli")]
pub mod tail;
mod transport;

pub use builder::Builder;
pub use error::{Error, ErrorKind};
pub use publisher::Publisher;
pub use receipt::Receipt;
pub use stats::{Backlog, Stats};
pub use tidings_shared::keys::Namespace;
pub use tidings_shared::{Event, Id, Invalid, Partitions};

/// The README's program compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
