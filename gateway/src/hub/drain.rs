//! Emptying a hub: its connections end one by one, so that they do not all come to other gateways at once.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::SharedHub;
use crate::control::Goodbye;
use crate::reader::delivery::ConnectionKey;

/// How often it is looked whose turn it is.
pub(super) const STEP: Duration = Duration::from_millis(10);

/// What is told of the end: nothing yet, or over which time connections end; zero is at once, also when they have begun.
pub type Told = watch::Receiver<Option<Duration>>;

/// Waits until it is told, then ends all connections. Meanwhile they get what comes, and new ones are turned away.
pub async fn watch(hub: SharedHub, mut told: Told) {
    let Ok(Some(window)) = told.wait_for(Option::is_some).await.map(|window| *window) else { return };
    let mut order = Order::new(hub.borrow_mut().begin_drain(), window);
    let begun = Instant::now();
    while !order.is_over() {
        for key in order.due(begun.elapsed()) {
            hub.borrow_mut().goodbye(key, Goodbye::Drain);
        }
        tokio::select! {
            () = tokio::time::sleep(STEP) => {}
            _at_once = told.changed() => break,
        }
    }
    hub.borrow_mut().drain();
}

/// The order in which connections end: a random one, evenly over a window.
#[derive(Debug)]
pub(super) struct Order {
    left: Vec<ConnectionKey>,
    count: usize,
    window: Duration,
}

impl Order {
    /// An order of `connections` over `window`.
    pub(super) fn new(mut connections: Vec<ConnectionKey>, window: Duration) -> Self {
        fastrand::shuffle(&mut connections);
        Self { count: connections.len(), left: connections, window }
    }

    /// Those whose turn has come when so much time has passed: the first at once, the last before the window ends.
    pub(super) fn due(&mut self, elapsed: Duration) -> impl Iterator<Item = ConnectionKey> {
        let due = match elapsed < self.window {
            true => (self.count as f64 * elapsed.div_duration_f64(self.window)) as usize + 1,
            false => self.count,
        };
        self.left.drain(self.count.saturating_sub(due).min(self.left.len())..)
    }

    /// Whether all have ended.
    pub(super) fn is_over(&self) -> bool {
        self.left.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(count: u32, window: Duration) -> Order {
        Order::new((0..count).map(|slot| ConnectionKey { slot, serial: 1 }).collect(), window)
    }

    #[test]
    fn turns_are_even_over_the_window_and_in_no_order() {
        let mut order = order(1_000, Duration::from_secs(10));
        let mut slots = Vec::new();
        for second in 0..10 {
            slots.extend(order.due(Duration::from_secs(second)).map(|key| key.slot));
            assert_eq!(slots.len() as u64, second * 100 + 1);
        }
        slots.extend(order.due(Duration::from_millis(9_999)).map(|key| key.slot));
        assert!(order.is_over());
        assert!(!slots.is_sorted());
        slots.sort_unstable();
        assert!(slots.into_iter().eq(0..1_000));
    }

    #[test]
    fn no_window_is_at_once() {
        let mut order = order(1_000, Duration::ZERO);
        assert_eq!(order.due(Duration::ZERO).count(), 1_000);
        assert!(order.is_over());
    }

    #[test]
    fn few_or_none_do_not_wait() {
        let (mut one, none) = (order(1, Duration::from_secs(10)), order(0, Duration::from_secs(10)));
        assert_eq!(one.due(Duration::ZERO).count(), 1);
        assert!(one.is_over() && none.is_over());
    }
}
