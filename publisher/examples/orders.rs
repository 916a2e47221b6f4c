//! A service that tells browsers of its changes: a small board of orders.
//!
//! ```text
//! cargo run                                              # a gateway, with its store in memory, on 127.0.0.1:8080
//! curl -N 'http://127.0.0.1:8080/v1/events?topic=orders/1'
//! cargo run -p tidings-publisher --example orders        # or with the URL of a store: redis://127.0.0.1:6379
//! ```
//!
//! The rules it follows are the rules of every service that publishes:
//!
//! 1. Publish *after* the commit. A page fetches as soon as it is told, and must find the change.
//! 2. Send what changed, not the change: an address and a version. The page fetches what its user may see.
//! 3. `notify` where the request must not wait or fail for it; `publish` where the caller wants to know.
//! 4. `shutdown` before the program ends, so that nothing is left in the queue.

#![allow(clippy::print_stdout, reason = "it is a program for a terminal")]

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use tidings_publisher::{Event, Publisher};

/// What the service keeps. A real one has a database here.
struct Orders {
    rows: BTreeMap<u32, (String, u64)>,
    publisher: Publisher,
}

impl Orders {
    /// A change on behalf of a request: it must not wait for the event, nor fail because of it.
    fn set_state(&mut self, order: u32, state: &str, customer: &str) {
        let row = self.rows.entry(order).or_default();
        *row = (state.to_owned(), row.1 + 1);
        // The change is committed: tell the pages that show this order, and those that show its customer's list. Should
        // the store be away, the event waits in a bounded queue, where the next change of the order takes its place.
        self.publisher.notify(
            Event::refresh(format!("orders/{order}"))
                .also_to(format!("@{customer}/orders"))
                .event_type("order.updated")
                .version(row.1.to_string()),
        );
    }

    /// A change by a job that is run again if it fails: it waits for the store. The key makes the second run harmless.
    async fn close_day(&mut self, day: &str) -> Result<(), tidings_publisher::Error> {
        let event = Event::refresh("orders").event_type("orders.closed").key(format!("close-day-{day}"));
        let receipt = self.publisher.publish(event).await?;
        let id = receipt.id("orders").unwrap_or_default();
        println!("day {day} closed, told as {id}; told before: {}", receipt.duplicate);
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "http://127.0.0.1:8080".to_owned());
    // `lazy`, not `connect`: the service starts, and serves, even while the store is away.
    let publisher = Publisher::builder(url).timeout(Duration::from_secs(1)).lazy()?;
    let mut orders = Orders { rows: BTreeMap::new(), publisher: publisher.clone() };

    for (order, state) in [(1, "placed"), (2, "placed"), (1, "paid"), (1, "packed")] {
        orders.set_state(order, state, "alice");
    }
    for _run in 0..2 {
        orders.close_day("2026-11-21").await?;
    }

    publisher.shutdown(Duration::from_secs(5)).await?;
    println!("{:?}", publisher.stats());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_to_the_order_and_to_its_customer() {
        let publisher = Publisher::recording();
        let mut orders = Orders { rows: BTreeMap::new(), publisher: publisher.clone() };
        orders.set_state(1, "paid", "alice");
        let expected = Event::refresh("orders/1").also_to("@alice/orders");
        assert_eq!(publisher.recorded(), [expected.event_type("order.updated").version("1")]);
    }
}
