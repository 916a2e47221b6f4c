//! Bounds that publisher and gateway share. All sizes are in bytes.

/// The longest topic.
pub const TOPIC_BYTES: usize = 200;
/// The most segments of a topic.
pub const TOPIC_SEGMENTS: usize = 8;
/// The longest user id.
pub const USER_BYTES: usize = 128;
/// The longest event type and event name.
pub const TYPE_BYTES: usize = 128;
/// The longest version.
pub const VERSION_BYTES: usize = 128;
/// The longest sender of an event.
pub const SENDER_BYTES: usize = 128;
/// The longest idempotency key.
pub const KEY_BYTES: usize = 200;
/// The largest `data` of an event, as JSON text. A refresh event says *that* something changed; what it is now, the page fetches.
pub const DATA_BYTES: usize = 64 * 1024;
/// The most addresses of one event.
pub const EVENT_ADDRESSES: usize = 100;
/// The longest cursor, so that it fits any proxy's header and query limits.
pub const CURSOR_BYTES: usize = 512;
/// The longest namespace.
pub const NAMESPACE_BYTES: usize = 64;
/// The most partitions: so many places fit into one cursor.
pub const PARTITIONS: u16 = 32;
/// Events kept for each address unless the gateway's configuration says otherwise.
pub const RETENTION_EVENTS: u64 = 1_000;
/// How long an address keeps its events after the newest one, in milliseconds, unless configured otherwise: one hour.
pub const RETENTION_AGE_MS: u64 = 60 * 60 * 1000;
/// Entries kept in each journal unless configured otherwise.
pub const RETENTION_JOURNAL: u64 = 100_000;
/// How long an idempotency key is remembered, in milliseconds: ten minutes.
pub const KEY_AGE_MS: u64 = 10 * 60 * 1000;
/// The longest spread of an event, and its longest delay, in milliseconds: an hour.
pub const SPREAD_MS: u64 = 60 * 60 * 1000;
