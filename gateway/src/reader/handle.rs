//! The handle by which workers speak to the reader.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use tidings_shared::Address;
use tokio::sync::mpsc;

use super::delivery::ConnectionKey;
use super::outbox::{Parcel, WorkerId};
use super::resume::Join;
use super::status::Status;

/// What workers say to the reader. Of one worker, the reader takes them in order.
#[derive(Debug)]
pub enum Command {
    /// A worker is there.
    Register(WorkerId, mpsc::UnboundedSender<Parcel>),
    /// A connection begins.
    Join(Join),
    /// A connection has left before it was told where it begins.
    Cancel(WorkerId, ConnectionKey),
    /// A worker has no connection any more that follows this address.
    Leave(WorkerId, Arc<Address>),
}

/// The handle by which workers speak to the reader. Cheap to clone. The reader ends when all are gone.
#[derive(Debug, Clone)]
pub struct ReaderHandle {
    /// Unbounded, as each connection has at most one join, its cancelling and one leave per address under way.
    commands: mpsc::UnboundedSender<Command>,
    workers: Arc<AtomicU16>,
    status: Status,
}

impl ReaderHandle {
    /// A handle, and where its commands come out.
    pub fn new(status: Status) -> (Self, mpsc::UnboundedReceiver<Command>) {
        let (commands, receiver) = mpsc::unbounded_channel();
        (Self { commands, workers: Arc::default(), status }, receiver)
    }

    /// Makes a worker known; its deliveries come out of the receiver, which is bounded by what the reader hands over.
    pub fn register(&self) -> (WorkerId, mpsc::UnboundedReceiver<Parcel>) {
        let worker = self.workers.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = mpsc::unbounded_channel();
        self.send(Command::Register(worker, sender));
        (worker, receiver)
    }

    /// Says something to the reader. If it is gone, the process is about to end, and so are its streams.
    pub fn send(&self, command: Command) {
        let _gone = self.commands.send(command);
    }

    /// Whether the reader has ended, which is a mistake of ours while anyone asks: this process is of no use any more.
    pub fn is_gone(&self) -> bool {
        self.commands.is_closed()
    }

    /// Waits until the reader has ended.
    pub async fn gone(&self) {
        self.commands.closed().await;
    }

    /// How the reader is.
    pub fn status(&self) -> &Status {
        &self.status
    }
}
