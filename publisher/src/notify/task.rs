//! The task that sends what waits in the queue.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::Shared;
use crate::backoff::Backoff;
use crate::parcel::Parcel;
use crate::sender::may_succeed_later;

/// Sends window after window, in order, until the queue is closed and empty. `running` is dropped last, which tells
/// that the task has ended, however it ended.
pub(super) async fn run(shared: Arc<Shared>, running: watch::Sender<()>) {
    let end = End { shared, _running: running };
    let shared = &end.shared;
    loop {
        let window = shared.queue().take(|waiting| shared.sender.window(waiting));
        if !window.is_empty() {
            settle(shared, window).await;
        } else if shared.queue().is_closed() {
            return;
        } else {
            shared.wake.notified().await;
        }
    }
}

/// Sends one window until every event of it is taken or refused.
async fn settle(shared: &Shared, mut window: Vec<Parcel>) {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
    loop {
        let results = shared.sender.send(&window).await;
        let mut again = Vec::new();
        for (parcel, result) in window.into_iter().zip(results) {
            if let Err(error) = &result {
                shared.complaints.failed(error, 1);
            }
            if may_succeed_later(&result) {
                again.push(parcel);
            } else {
                shared.sender.count_failed(usize::from(result.is_err()));
                shared.queue().settled(&parcel);
            }
        }
        if again.is_empty() {
            return;
        }
        window = again;
        tokio::time::sleep(backoff.next(fastrand::f64())).await;
    }
}

/// Says what is lost if the task ends before its work does: aborted at a deadline, or its runtime was shut down.
struct End {
    shared: Arc<Shared>,
    _running: watch::Sender<()>,
}

impl Drop for End {
    fn drop(&mut self) {
        let events = self.shared.queue().abandon();
        if events > 0 {
            tracing::warn!(events, "the publisher ended before it had sent all events of notify");
        }
    }
}
