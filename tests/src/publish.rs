//! Publishing numbered events, and telling the oracle of each what became of it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use serde_json::value::to_raw_value;
use tidings_publisher::{Error, Publisher, Receipt};
use tidings_shared::Event;

use crate::Oracle;
use crate::oracle::Manner;

/// Where numbered events come from. Clones share it.
#[derive(Debug, Clone)]
pub struct Source {
    publisher: Publisher,
    oracle: Arc<Oracle>,
    /// How often a publish that failed is begun anew.
    anew: u32,
}

impl Source {
    /// Publishes to this URL: `redis://…`, or the `http://…` of a gateway's admin listener.
    pub async fn connect(url: &str, oracle: &Arc<Oracle>) -> Self {
        Self::new(Publisher::connect(url).await.expect("the store answers"), oracle)
    }

    /// Publishes through this publisher.
    pub fn new(publisher: Publisher, oracle: &Arc<Oracle>) -> Self {
        Self { publisher, oracle: oracle.clone(), anew: 0 }
    }

    /// Begins a publish anew, so often, that failed and might succeed later: as those do who know of no keys.
    #[must_use]
    pub fn anew(self, times: u32) -> Self {
        Self { anew: times, ..self }
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
        self.publish_as(to, bytes, Manner::default(), None).await
    }

    /// Publishes the next event to `to`, whose place a later one may take. Answers its serial.
    pub async fn refresh(&self, to: &[&str], bytes: usize) -> u64 {
        self.publish_as(to, bytes, Manner { coalesce: true, spread: false }, None).await
    }

    /// Publishes the next event to `to`, spread over this time. Answers its serial.
    pub async fn spread(&self, to: &[&str], spread: Duration, coalesce: bool) -> u64 {
        self.publish_as(to, 0, Manner { coalesce, spread: true }, Some(spread)).await
    }

    /// Publishes the next event as the gateways are set up to spread its topic. Answers its serial.
    pub async fn spread_by_topic(&self, to: &[&str]) -> u64 {
        self.publish_as(to, 0, Manner { coalesce: false, spread: true }, None).await
    }

    async fn publish_as(&self, to: &[&str], bytes: usize, manner: Manner, spread: Option<Duration>) -> u64 {
        let n = self.oracle.begin_as(to, manner);
        let event = event(to, n, bytes).coalesce(manner.coalesce);
        let event = spread.into_iter().fold(event, Event::spread);
        let mut result = self.send(event.clone()).await;
        for _ in 0..self.anew {
            if !result.as_ref().is_err_and(Error::is_retryable) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            result = self.send(event.clone()).await;
        }
        match result {
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
