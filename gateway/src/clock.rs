//! How old an event is.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidings_shared::Id;

/// The time since the event of this id was published: by our clock, while ids tell the store's. Zero where ours is
/// behind.
pub fn age(id: Id) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(Duration::from_millis(id.ms))
}
