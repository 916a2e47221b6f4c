//! What goes wrong where no caller waits for it: logged, but not once for each event.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::{Error, ErrorKind};

/// Logs a warning for each reason at most once in ten seconds, with how many events it is about.
#[derive(Default)]
pub(crate) struct Complaints {
    open: Mutex<HashMap<Reason, Complaint>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Reason {
    Full,
    Failed(ErrorKind),
}

struct Complaint {
    logged: Instant,
    unsaid: u64,
}

const PAUSE: Duration = Duration::from_secs(10);

impl Complaints {
    /// Events had to make room, or found none.
    pub(crate) fn dropped(&self, events: u64) {
        if let Some(events) = self.due(Reason::Full, events, Instant::now()) {
            tracing::warn!(events, "the notify queue is full, or closed: events were dropped");
        }
    }

    /// Events failed for good, or keep failing.
    pub(crate) fn failed(&self, error: &Error, events: u64) {
        if let Some(events) = self.due(Reason::Failed(error.kind()), events, Instant::now()) {
            if error.is_retryable() {
                tracing::warn!(events, %error, "events of notify wait for the store");
            } else {
                tracing::warn!(events, %error, "events of notify were not published");
            }
        }
    }

    /// The number of events to speak of, if it is time to speak.
    fn due(&self, reason: Reason, events: u64, now: Instant) -> Option<u64> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(complaint) = open.get_mut(&reason) else {
            open.insert(reason, Complaint { logged: now, unsaid: 0 });
            return Some(events);
        };
        complaint.unsaid += events;
        if now.duration_since(complaint.logged) < PAUSE {
            return None;
        }
        complaint.logged = now;
        Some(std::mem::take(&mut complaint.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speaks_at_once_then_sums_up() {
        let (complaints, now) = (Complaints::default(), Instant::now());
        assert_eq!(complaints.due(Reason::Full, 1, now), Some(1));
        assert_eq!(complaints.due(Reason::Full, 2, now + PAUSE / 2), None);
        assert_eq!(complaints.due(Reason::Failed(ErrorKind::Refused), 1, now), Some(1));
        assert_eq!(complaints.due(Reason::Full, 3, now + PAUSE), Some(5));
        assert_eq!(complaints.due(Reason::Full, 1, now + PAUSE), None);
    }
}
