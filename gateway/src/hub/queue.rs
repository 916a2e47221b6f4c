//! A connection's backlog, bounded in bytes.

use std::collections::VecDeque;

use bytes::Bytes;

/// Bytes that wait to be written, in order. Holds at most `limit` bytes of live frames; a replay, which is bounded
/// where it is read, comes on top.
#[derive(Debug)]
pub struct Queue {
    chunks: VecDeque<Bytes>,
    bytes: usize,
    limit: usize,
    /// What came on top: allowed until the queue has run empty.
    extra: usize,
}

impl Queue {
    /// An empty queue, which costs no allocation.
    pub fn new(limit: usize) -> Self {
        Self { chunks: VecDeque::new(), bytes: 0, limit, extra: 0 }
    }

    /// Appends `chunk`. If it does not fit, everything is dropped, and the answer is false: the caller owes a resync.
    #[must_use]
    pub fn push(&mut self, chunk: Bytes) -> bool {
        if self.bytes + chunk.len() > self.limit + self.extra {
            self.clear();
            return false;
        }
        self.append(chunk);
        true
    }

    /// Appends `chunk` on top of the limit.
    pub fn push_extra(&mut self, chunk: Bytes) {
        self.extra += chunk.len();
        self.append(chunk);
    }

    fn append(&mut self, chunk: Bytes) {
        self.bytes += chunk.len();
        self.chunks.push_back(chunk);
    }

    /// The oldest chunk.
    pub fn pop(&mut self) -> Option<Bytes> {
        let chunk = self.chunks.pop_front();
        match &chunk {
            Some(chunk) => self.bytes -= chunk.len(),
            None => self.clear(),
        }
        chunk
    }

    /// Drops everything, memory too: an idle connection must cost nothing.
    pub fn clear(&mut self) {
        self.chunks = VecDeque::new();
        self.bytes = 0;
        self.extra = 0;
    }

    /// How many bytes wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[test]
    fn overflow_drops_all_and_says_so() {
        let mut queue = Queue::new(10);
        assert!(queue.push(Bytes::from_static(b"123456")));
        assert!(!queue.push(Bytes::from_static(b"78901")));
        assert_eq!((queue.pop(), queue.bytes()), (None, 0));
        assert!(queue.push(Bytes::from_static(b"x")));
        assert_eq!(queue.pop(), Some(Bytes::from_static(b"x")));
    }

    #[test]
    fn a_replay_does_not_push_live_frames_out() {
        let mut queue = Queue::new(4);
        queue.push_extra(Bytes::from_static(b"a long replay"));
        assert!(queue.push(Bytes::from_static(b"live")));
        assert!(!queue.push(Bytes::from_static(b"!")));
    }

    proptest! {
        #[test]
        fn never_holds_more_than_its_limit(sizes in vec(0..40_usize, 0..60), limit in 0..100_usize) {
            let mut queue = Queue::new(limit);
            for size in sizes {
                let before = queue.bytes();
                let fits = queue.push(Bytes::from(vec![b'x'; size]));
                prop_assert_eq!(fits, before + size <= limit);
                prop_assert!(queue.bytes() <= limit);
            }
        }
    }
}
