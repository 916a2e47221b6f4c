//! The board: all orders, and the one way to change them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tidings_shared::Event;

use super::change::Change;
use super::order::{self, Order};

/// Orders in memory, gone with the process. Each change is published as a refresh of `orders/{id}`.
pub struct Board {
    orders: Mutex<Vec<Order>>,
    publish: Box<dyn Fn(Event) + Send + Sync>,
}

impl Board {
    /// A board of eight orders. `publish` is called once a change can be read, under the lock of the board, so that
    /// events go out in the order of their versions: it must not block, and must not call the board.
    pub fn new(publish: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self { orders: Mutex::new(order::seed()), publish: Box::new(publish) }
    }

    /// Tells every page that all orders are to be fetched again, by one event to all of them.
    ///
    /// For a start over a store that outlives the process: the board begins anew there while the history goes on, so
    /// pages that come back would be told of no change.
    pub fn announce(&self) {
        let orders = self.orders();
        let mut topics = orders.iter().map(|order| topic(order.id));
        if let Some(first) = topics.next() {
            let event = topics.fold(Event::refresh(first), Event::also_to);
            (self.publish)(event.event_type("orders.reset"));
        }
    }

    /// All orders, by number.
    pub(super) fn all(&self) -> Vec<Order> {
        self.orders().clone()
    }

    /// The order of that number.
    pub(super) fn get(&self, id: u32) -> Option<Order> {
        self.orders().iter().find(|order| order.id == id).cloned()
    }

    /// Changes an order, publishes that, and returns it as it is now. `None` if there is no such order.
    pub(super) fn change(&self, id: u32, change: Change) -> Option<Order> {
        let mut orders = self.orders();
        let order = orders.iter_mut().find(|order| order.id == id)?;
        change.apply(order);
        let event = Event::refresh(topic(id)).event_type("order.updated").version(order.version.to_string());
        (self.publish)(event);
        Some(order.clone())
    }

    /// A panic elsewhere leaves the orders whole: a change is three plain writes.
    fn orders(&self) -> MutexGuard<'_, Vec<Order>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn topic(id: u32) -> String {
    format!("orders/{id}")
}
