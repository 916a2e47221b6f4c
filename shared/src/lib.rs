//! What a Tidings publisher and a Tidings gateway agree on.
//!
//! Everything here is pure: values in, values out. No runtime, no Redis client, no clock, no randomness; a test of the
//! workspace holds that. Golden files under `shared/tests/golden` pin every byte that another language would rely on.
//!
//! | module | owns |
//! |---|---|
//! | [`address`], [`topic`], [`user`], [`pattern`] | what an event is sent to and a connection follows |
//! | [`event`], [`message`] | what is published, and how it travels |
//! | [`id`], [`epoch`], [`cursor`] | places in a history |
//! | [`partition`], [`count`], [`keys`], [`entry`], [`script`] | the Redis contract |
//! | [`store_url`] | where the store is |
//! | [`limits`], [`invalid`] | bounds, and the error that names what broke one |
#![deny(missing_docs)]

pub mod address;
pub mod count;
pub mod cursor;
pub mod entry;
pub mod epoch;
pub mod event;
pub mod id;
pub mod invalid;
pub mod keys;
pub mod limits;
pub mod message;
pub mod partition;
pub mod pattern;
pub mod retention;
pub mod script;
pub mod store_url;
pub mod topic;
pub mod user;

pub use address::Address;
pub use count::Count;
pub use cursor::Cursor;
pub use epoch::Epoch;
pub use event::Event;
pub use id::Id;
pub use invalid::Invalid;
pub use message::Message;
pub use partition::{Partition, Partitions};
pub use pattern::Pattern;
pub use retention::Retention;
pub use store_url::RedisUrl;
pub use topic::Topic;
pub use user::User;
