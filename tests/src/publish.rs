//! Publishing numbered events, and telling the oracle of each what became of it.

use std::sync::Arc;

use serde_json::json;
use serde_json::value::to_raw_value;
use tidings_publisher::{Error, Publisher, Receipt};
use tidings_shared::Event;

use crate::Oracle;

/// Where numbered events come from. Clones share it.
#[derive(Debug, Clone)]
pub struct Source {
    publisher: Publisher,
    oracle: Arc<Oracle>,
}

impl Source {
    /// Publishes to this URL: `redis://…`, or the `http://…` of a gateway's admin listener.
    pub async fn connect(url: &str, oracle: &Arc<Oracle>) -> Self {
        Self::new(Publisher::connect(url).await.expect("the store answers"), oracle)
    }

    /// Publishes through this publisher.
    pub fn new(publisher: Publisher, oracle: &Arc<Oracle>) -> Self {
        Self { publisher, oracle: oracle.clone() }
    }

    /// The oracle that hears of each.
    pub fn oracle(&self) -> &Oracle {
        &self.oracle
    }

    /// Publishes the next event to `to`, which a slow reader may not see collapsed. Answers its serial.
    pub async fn publish(&self, to: &[&str]) -> u64 {
        self.publish_sized(to, 0).await
    }

    /// The same with `bytes` more of data.
    pub async fn publish_sized(&self, to: &[&str], bytes: usize) -> u64 {
        let n = self.oracle.begin(to);
        match self.send(event(to, n, bytes).coalesce(false)).await {
            Ok(receipt) => self.oracle.acked(n, receipt.ids),
            Err(_) => self.oracle.unknown(n),
        }
        n
    }

    /// Publishes `count` of them one after the other. Answers the last serial.
    pub async fn publish_many(&self, to: &[&str], count: usize) -> u64 {
        let mut last = 0;
        for _ in 0..count {
            last = self.publish(to).await;
        }
        last
    }

    /// Publishes an event that the oracle does not hear of.
    pub async fn send(&self, event: Event) -> Result<Receipt, Error> {
        self.publisher.publish(event).await
    }
}

/// An event with a serial in its data.
pub fn event(to: &[&str], n: u64, bytes: usize) -> Event {
    let mut addresses = to.iter();
    let first = Event::refresh(*addresses.next().expect("an address"));
    let data = if bytes == 0 { json!({"n": n}) } else { json!({"n": n, "filling": "x".repeat(bytes)}) };
    addresses.fold(first, |event, address| event.also_to(*address)).data(to_raw_value(&data).expect("JSON"))
}
