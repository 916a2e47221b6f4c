//! What `notify` takes, and the task that sends it.

mod complaint;
mod order;
mod ordered;
mod queue;
mod task;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidings_shared::Event;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use crate::sender::Sender;
use crate::{Error, ErrorKind, Stats};
use complaint::Complaints;
use order::EventOrder;
use queue::Queue;

/// The callers' side: puts events into the queue.
pub(crate) struct Notifier {
    shared: Arc<Shared>,
    task: AbortHandle,
    /// Closed when the task has ended.
    ended: watch::Receiver<()>,
}

/// What callers and the task share. The lock is held for moments only, never over a wait.
struct Shared {
    sender: Arc<Sender>,
    queue: Mutex<Queue>,
    complaints: Complaints,
    /// Wakes the task: something came, or the queue was closed.
    wake: Notify,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // No code panics while it holds the lock; should some do, the queue is still whole.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Notifier {
    /// Starts the task.
    pub(crate) fn start(sender: Arc<Sender>, most_bytes: usize) -> Self {
        let order = sender.partitions().map_or(EventOrder::ByAddress, EventOrder::ByPartition);
        let queue = Mutex::new(Queue::new(most_bytes, order));
        let shared = Arc::new(Shared { sender, queue, complaints: Complaints::default(), wake: Notify::new() });
        let (running, ended) = watch::channel(());
        let task = tokio::spawn(task::run(shared.clone(), running)).abort_handle();
        Self { shared, task, ended }
    }

    /// Puts an event into the queue.
    pub(crate) fn push(&self, event: Event) {
        let parcel = match self.shared.sender.parcel(event) {
            Ok(parcel) => parcel,
            Err(error) => return self.shared.complaints.failed(&error, 1),
        };
        let dropped = self.shared.queue().push(parcel);
        if dropped > 0 {
            self.shared.complaints.dropped(dropped);
        }
        self.shared.wake.notify_one();
    }

    /// Takes no more events; the task ends when it has sent what is there.
    pub(crate) fn close(&self) {
        self.shared.queue().close();
        self.shared.wake.notify_one();
    }

    /// Whether it takes no more events.
    pub(crate) fn is_closed(&self) -> bool {
        self.shared.queue().is_closed()
    }

    /// Closes, waits until the task has sent what is there, and ends it if that takes longer than `deadline`.
    pub(crate) async fn shutdown(&self, deadline: Duration) -> Result<(), Error> {
        self.close();
        let mut ended = self.ended.clone();
        // The channel never carries a value: it only closes.
        if tokio::time::timeout(deadline, ended.changed()).await.is_ok() {
            return Ok(());
        }
        self.task.abort();
        let _ = ended.changed().await;
        match self.shared.queue().abandoned() {
            0 => Ok(()),
            events => Err(Error::told(
                ErrorKind::Timeout,
                format!("{events} events were not sent in {deadline:?} and dropped"),
            )),
        }
    }

    /// The counts, with those of the sender.
    pub(crate) fn stats(&self) -> Stats {
        let (published, failed) = self.shared.sender.counts();
        let queue = self.shared.queue();
        Stats {
            published,
            failed,
            dropped: queue.dropped(),
            coalesced: queue.coalesced(),
            queued_bytes: queue.bytes(),
            backlogs: queue.backlogs(),
        }
    }
}
