//! What `notify` takes, and the task that sends it.

mod order;
mod ordered;
mod queue;
mod running;
mod task;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidings_shared::Event;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::complaint::Complaints;
use crate::sender::Sender;
use crate::{Error, ErrorKind, Stats};
use order::EventOrder;
use queue::Queue;
use running::RunningTask;

/// The callers' side: puts events into the queue. When it is dropped, the task sends what is there
/// and ends.
pub(crate) struct Notifier {
    shared: Arc<Shared>,
    /// The runtime in which the publisher was made, if there was one.
    runtime: Option<Handle>,
    /// The task, from the first event on.
    task: Mutex<Option<RunningTask>>,
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
    /// An empty queue. The task starts with the first event.
    pub(crate) fn new(sender: Arc<Sender>, most_bytes: usize) -> Self {
        let order = sender.partitions().map_or(EventOrder::ByAddress, EventOrder::ByPartition);
        let queue = Mutex::new(Queue::new(most_bytes, order));
        let shared = Arc::new(Shared { sender, queue, complaints: Complaints::default(), wake: Notify::new() });
        Self { shared, runtime: Handle::try_current().ok(), task: Mutex::default() }
    }

    /// What sends events.
    pub(crate) fn sender(&self) -> &Sender {
        &self.shared.sender
    }

    /// What sends events, unless it is closed or there is no runtime to send in.
    pub(crate) fn open_sender(&self) -> Result<&Sender, Error> {
        if self.shared.queue().is_closed() {
            return Err(Error::closed());
        }
        Error::unless_in_runtime()?;
        Ok(self.sender())
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
        self.start();
        self.shared.wake.notify_one();
    }

    /// Starts the task if it does not run yet.
    fn start(&self) {
        let mut task = self.task();
        if task.is_some() || self.shared.queue().is_empty() {
            return;
        }
        match RunningTask::start(self.shared.clone(), self.runtime.clone()) {
            Ok(running) => *task = Some(running),
            // The events wait; the next one tries again.
            Err(error) => self.shared.complaints.failed(&Error::new(ErrorKind::NoRuntime, error), 1),
        }
    }

    fn task(&self) -> MutexGuard<'_, Option<RunningTask>> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes no more events; the task ends when it has sent what is there.
    fn close(&self) {
        self.shared.queue().close();
        self.shared.wake.notify_one();
    }

    /// Closes, waits until the task has sent what is there, and ends it if that takes longer than `deadline`.
    pub(crate) async fn shutdown(&self, deadline: Duration) -> Result<(), Error> {
        self.close();
        let running = self.task().clone();
        if let Some(RunningTask { abort, mut ended }) = running {
            Error::unless_in_runtime()?;
            // The channel never carries a value: it only closes.
            if tokio::time::timeout(deadline, ended.changed()).await.is_err() {
                abort.abort();
                let _ = ended.changed().await;
            }
        } else {
            self.shared.queue().abandon();
        }
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

impl Drop for Notifier {
    fn drop(&mut self) {
        self.close();
    }
}
