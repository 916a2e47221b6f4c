//! Requests to read files again, as SIGHUP makes them.

use tokio::sync::watch;

/// By which the process asks that files be read again. A clone asks the same readers.
#[derive(Debug, Clone, Default)]
pub struct Reload(watch::Sender<u64>);

impl Reload {
    /// Asks once. Several requests while files are read are one.
    pub fn request(&self) {
        self.0.send_modify(|requests| *requests += 1);
    }

    /// Where requests come out, from now on.
    pub fn requests(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
}
