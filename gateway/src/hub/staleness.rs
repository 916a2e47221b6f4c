//! Ends streams that have been stale for too long, so that they find a gateway that reaches the store.

use std::time::{Duration, Instant};

use super::drain::{Order, STEP};
use super::outages::PartitionSet;
use super::{SharedHub, StaleBound};
use crate::reader::delivery::ConnectionKey;

/// The longest time between two looks at which partitions work.
const LOOK: Duration = Duration::from_secs(1);
/// Looks within the bound, so that it is kept about.
const LOOKS: u32 = 8;

/// Streams that are to end, one by one.
struct Ending {
    order: Order,
    begun: Instant,
}

/// Watches which partitions work, for as long as the hub is there. A connection of which none has
/// worked for longer than `bound` ends. One of which a single partition works stays.
pub async fn watch(hub: SharedHub, bound: StaleBound) {
    let look = match bound.most {
        Duration::ZERO => LOOK,
        most => (most / LOOKS).clamp(STEP, LOOK),
    };
    let mut scanned = PartitionSet::default();
    let mut ending: Option<Ending> = None;
    loop {
        tokio::time::sleep(if ending.is_some() { STEP } else { look }).await;
        let now = Instant::now();
        let mut hub = hub.borrow_mut();
        let silent = hub.silent_partitions(now, bound.most);
        if silent.is_empty() {
            if ending.take().is_some() {
                tracing::info!("partitions work again; no more streams end for them");
            }
            scanned = silent;
            continue;
        }
        if ending.is_none() && silent != scanned {
            // All connections are looked at only when the set has changed: a new connection to a
            // partition that is away is refused.
            scanned = silent;
            if hub.is_reader_silent() {
                tracing::error!("the reader is stuck; streams end and new ones are refused");
            }
            ending = begin(hub.stale_connections(silent), bound.window, now);
        } else if silent != scanned {
            // Who is passed over below because a partition came back may be stale again later.
            scanned = PartitionSet::default();
        }
        if let Some(Ending { order, begun }) = &mut ending {
            for key in order.due(now.saturating_duration_since(*begun)) {
                hub.end_if_stale(key, silent);
            }
            if order.is_over() {
                ending = None;
            }
        }
    }
}

fn begin(stale: Vec<ConnectionKey>, window: Duration, now: Instant) -> Option<Ending> {
    if stale.is_empty() {
        return None;
    }
    tracing::warn!(
        streams = stale.len(),
        ?window,
        "no partition of these streams has worked for too long; ending them one by one"
    );
    Some(Ending { order: Order::new(stale, window), begun: now })
}
