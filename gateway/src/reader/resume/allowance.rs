//! The allowance: what all replays together may take in memory, from before they are read until a worker has them.
//!
//! A join that may read or be handed a replay takes a share first, and waits its turn if there is none. A read brings no
//! more than the shares of the joins that it is for; once a join is answered, its share shrinks to what it was given, and
//! ends when the worker has put that into the connection's queue, where it is the connection's own backlog.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many replays of the largest size there may be.
const REPLAYS: u32 = 64;

/// What all replays together may take.
#[derive(Debug, Clone)]
pub struct Allowance {
    left: Arc<Semaphore>,
    /// Bytes of the largest replay.
    replay: u32,
}

impl Allowance {
    /// For replays of at most `replay` bytes each.
    pub fn new(replay: u64) -> Self {
        let replay = u32::try_from(replay).unwrap_or(u32::MAX).clamp(1, u32::MAX / REPLAYS);
        Self { left: Arc::new(Semaphore::new((replay * REPLAYS) as usize)), replay }
    }

    /// A share for any replay, if there is one left.
    pub fn try_take(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.left).try_acquire_many_owned(self.replay).ok()
    }

    /// The same, at its turn. `None` never comes while the allowance is there.
    pub async fn take(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.left).acquire_many_owned(self.replay).await.ok()
    }
}

#[cfg(test)]
impl Allowance {
    /// Bytes that are left.
    pub fn left(&self) -> usize {
        self.left.available_permits()
    }
}

/// Gives back what of a share is more than `bytes`.
pub fn shrink(share: &mut OwnedSemaphorePermit, bytes: usize) {
    drop(share.split(share.num_permits().saturating_sub(bytes)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_end_and_are_there_again_for_as_much_as_they_shrink() {
        let allowance = Allowance::new(1_000);
        let mut shares: Vec<_> = std::iter::from_fn(|| allowance.try_take()).collect();
        assert_eq!(shares.len(), REPLAYS as usize);
        shrink(&mut shares[0], 400);
        assert!(allowance.try_take().is_none());
        shrink(&mut shares[1], 600);
        assert!(allowance.try_take().is_some());
        shrink(&mut shares[0], 4_000);
        assert_eq!(shares[0].num_permits(), 400, "a share never grows");
        drop(shares);
        assert_eq!(allowance.left(), REPLAYS as usize * 1_000);
    }

    #[test]
    fn no_size_of_a_replay_is_too_large() {
        assert!(Allowance::new(u64::MAX).try_take().is_some());
        assert!(Allowance::new(0).try_take().is_some());
    }
}
