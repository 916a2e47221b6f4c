//! The task that sends what waits in the queue.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;

use super::Shared;
use super::order::{QueueId, Window};
use crate::backoff::Backoff;
use crate::sender::{LONGEST_ASKED, may_succeed_later};
use crate::{Error, Receipt};

/// Sends windows, at most one of each partition at a time, until the queue is closed and empty.
/// `running` is dropped last, which tells that the task has ended, however it ended.
pub(super) async fn run(shared: Arc<Shared>, running: watch::Sender<()>) {
    let end = End { shared, _running: running };
    let shared = &*end.shared;
    let mut steps = FuturesUnordered::new();
    let mut backoffs: Vec<Backoff> = Vec::new();
    loop {
        for window in take_windows(shared) {
            steps.push(Step::Send(window).run(shared));
        }
        if steps.is_empty() && shared.queue().is_closed() && shared.queue().is_empty() {
            return;
        }
        tokio::select! {
            Some(done) = steps.next() => match done {
                Done::Sent(window, results) => {
                    for (id, pause) in settle(shared, window, &results, &mut backoffs) {
                        steps.push(Step::Pause(id, pause).run(shared));
                    }
                }
                Done::Paused(id) => shared.queue().resume(id),
            },
            () = shared.wake.notified() => {}
        }
    }
}

/// Something that the task waits for.
enum Step {
    Send(Window),
    Pause(QueueId, Duration),
}

/// A step that is over.
enum Done {
    Sent(Window, Vec<Result<Receipt, Error>>),
    Paused(QueueId),
}

impl Step {
    async fn run(self, shared: &Shared) -> Done {
        match self {
            Self::Send(window) => {
                let results = shared.sender.send_once(&window.parcels).await;
                Done::Sent(window, results)
            }
            Self::Pause(id, pause) => {
                tokio::time::sleep(pause).await;
                Done::Paused(id)
            }
        }
    }
}

fn take_windows(shared: &Shared) -> Vec<Window> {
    let partitions = shared.sender.partitions();
    shared.queue().take_windows(partitions, |waiting| shared.sender.window(waiting))
}

/// Settles a window. The pauses that follow, each of a queue that is busy until then.
fn settle(
    shared: &Shared,
    window: Window,
    results: &[Result<Receipt, Error>],
    backoffs: &mut Vec<Backoff>,
) -> Vec<(QueueId, Duration)> {
    for error in results.iter().filter_map(|result| result.as_ref().err()) {
        shared.complaints.failed(error, 1);
        shared.sender.count_failed(usize::from(!error.is_retryable()));
    }
    let failed: Vec<bool> = results.iter().map(may_succeed_later).collect();
    let (some_failed, all_failed) = (failed.contains(&true), !failed.contains(&false));
    let asked = results.iter().filter_map(|result| result.as_ref().err()?.asked_delay()).max();
    let asked = asked.unwrap_or_default().min(LONGEST_ASKED);
    let mut pauses = Vec::new();
    let mut queue = shared.queue();
    let id = window.id;
    let waits_at = queue.settle(window, &failed);
    // What failed may wait in another queue; then this one goes on as long as something gets
    // through.
    let is_paused = if waits_at == id.index { some_failed } else { all_failed };
    if is_paused {
        pauses.push((id, backoff_of(id.index, backoffs, !all_failed).max(asked)));
    } else {
        if let Some(backoff) = backoffs.get_mut(id.index) {
            backoff.reset();
        }
        queue.resume(id);
    }
    if some_failed
        && waits_at != id.index
        && let Some(retries) = queue.pause(waits_at)
    {
        pauses.push((retries, backoff_of(waits_at, backoffs, false).max(asked)));
    }
    pauses
}

/// The next delay of a queue, from the first one if something got `through`.
fn backoff_of(index: usize, backoffs: &mut Vec<Backoff>, through: bool) -> Duration {
    let missing = (index + 1).saturating_sub(backoffs.len());
    let new = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
    backoffs.extend((0..missing).map(|_| new));
    let backoff = &mut backoffs[index];
    if through {
        backoff.reset();
    }
    backoff.next(fastrand::f64())
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
