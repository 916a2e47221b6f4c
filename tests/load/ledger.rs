//! Events that the oracle hears of: each carries a mark, whose serial is the oracle's.

use std::sync::Arc;

use serde_json::value::RawValue;
use tidings_publisher::Publisher;
use tidings_shared::Event;
use tidings_tests::Oracle;
use tidings_tests::record::{Record, What};
use tidings_tests::wait::now_us;

use crate::mark::{Mark, now};

/// Publishes, and tells the oracle of each event. Clones share both.
#[derive(Debug, Clone)]
pub struct Ledger {
    publisher: Publisher,
    oracle: Arc<Oracle>,
}

impl Ledger {
    /// Publishes to this URL: a Redis, or the admin listener of a gateway.
    pub async fn open(url: &str) -> Self {
        Self { publisher: Publisher::connect(url).await.expect("it answers"), oracle: Oracle::new() }
    }

    /// The judge.
    pub fn oracle(&self) -> &Oracle {
        &self.oracle
    }

    /// Publishes an event with so many bytes of data, which nobody may see collapsed. Answers its serial.
    pub async fn publish(&self, address: &str, bytes: usize) -> u32 {
        let n = self.oracle.begin(&[address]);
        let data = Mark { at: now(), serial: n as u32 }.data(bytes);
        let event = Event::refresh(address).data(RawValue::from_string(data).expect("JSON")).coalesce(false);
        match self.publisher.publish(event).await {
            Ok(receipt) => self.oracle.acked(n, receipt.ids),
            Err(_) => self.oracle.unknown(n),
        }
        n as u32
    }
}

/// Microseconds from publish to receipt of all events in a record.
pub fn latencies(record: &Record) -> Vec<u64> {
    // A record has times by the clock of Redis. On one machine the two clocks are a fixed time apart.
    let apart = now_us().wrapping_sub(now());
    record.look(|entries| {
        let latency = |entry: &tidings_tests::record::Entry| match &entry.what {
            What::Message(message) => {
                let mark = Mark::find(message.data.as_bytes())?;
                Some(entry.at.wrapping_sub(apart).saturating_sub(mark.at))
            }
            _ => None,
        };
        entries.iter().filter_map(latency).collect()
    })
}
