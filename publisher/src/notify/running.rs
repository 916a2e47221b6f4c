//! Where the task of `notify` runs.

use std::io;
use std::sync::Arc;

use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::{Shared, task};

/// The task that sends, once it was started.
#[derive(Clone)]
pub(super) struct RunningTask {
    /// Ends it.
    pub(super) abort: AbortHandle,
    /// Closed when it has ended.
    pub(super) ended: watch::Receiver<()>,
}

impl RunningTask {
    /// Starts the task in `runtime`, in the caller's, or in a thread of its own.
    pub(super) fn start(shared: Arc<Shared>, runtime: Option<Handle>) -> io::Result<Self> {
        let (running, ended) = watch::channel(());
        let task = task::run(shared, running);
        let abort = match runtime.or_else(|| Handle::try_current().ok()) {
            Some(runtime) => runtime.spawn(task).abort_handle(),
            None => {
                let runtime = Builder::new_current_thread().enable_all().build()?;
                let task = runtime.spawn(task);
                let abort = task.abort_handle();
                let name = "tidings-notify".to_owned();
                std::thread::Builder::new().name(name).spawn(move || {
                    // Ends with an error only where it was aborted, which has been told.
                    let _ = runtime.block_on(task);
                })?;
                abort
            }
        };
        Ok(Self { abort, ended })
    }
}
