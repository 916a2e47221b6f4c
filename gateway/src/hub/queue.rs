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
    /// Whether the chunk taken last was only the beginning of an event, and the first one here is its rest.
    open: bool,
}

impl Queue {
    /// An empty queue, which costs no allocation.
    pub fn new(limit: usize) -> Self {
        Self { chunks: VecDeque::new(), bytes: 0, limit, extra: 0, open: false }
    }

    /// Appends an event, with its `id:` line if that is apart from it: both or none. If it does not fit, everything is
    /// dropped, and the answer is false: the caller owes a resync.
    #[must_use]
    pub fn push(&mut self, id: Option<Bytes>, event: Bytes) -> bool {
        let len = id.as_ref().map_or(0, Bytes::len) + event.len();
        if self.bytes + len > self.limit + self.extra {
            self.clear();
            return false;
        }
        id.into_iter().for_each(|id| self.append(id));
        self.append(event);
        true
    }

    /// Appends an event on top of the limit.
    pub fn push_extra(&mut self, id: Option<Bytes>, event: Bytes) {
        for chunk in id.into_iter().chain([event]) {
            self.extra += chunk.len();
            self.append(chunk);
        }
    }

    fn append(&mut self, chunk: Bytes) {
        self.bytes += chunk.len();
        self.chunks.push_back(chunk);
    }

    /// The oldest chunk.
    pub fn pop(&mut self) -> Option<Bytes> {
        let Some(chunk) = self.chunks.pop_front() else {
            self.clear();
            return None;
        };
        self.bytes -= chunk.len();
        self.open = !chunk.ends_with(b"\n\n");
        Some(chunk)
    }

    /// Drops everything, memory too: an idle connection must cost nothing. Only the rest of an event whose beginning
    /// was taken already stays, or its `id:` would become that of what is written next.
    pub fn clear(&mut self) {
        let rest = self.chunks.pop_front().filter(|_| self.open);
        self.chunks = VecDeque::new();
        self.bytes = 0;
        self.extra = 0;
        rest.into_iter().for_each(|rest| self.push_extra(None, rest));
    }

    /// How many chunks wait.
    pub fn len(&self) -> usize {
        self.chunks.len()
    }

    /// The most bytes of live frames.
    pub fn limit(&self) -> usize {
        self.limit
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

    fn bytes(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn overflow_drops_all_and_says_so() {
        let mut queue = Queue::new(10);
        assert!(queue.push(None, bytes("1234\n\n")));
        assert!(!queue.push(None, bytes("789\n\n")));
        assert_eq!((queue.pop(), queue.bytes()), (None, 0));
        assert!(queue.push(None, bytes("x\n\n")));
        assert_eq!(queue.pop(), Some(bytes("x\n\n")));
    }

    #[test]
    fn a_replay_does_not_push_live_frames_out() {
        let mut queue = Queue::new(4);
        queue.push_extra(None, bytes("a long replay\n\n"));
        assert!(queue.push(None, bytes("li\n\n")));
        assert!(!queue.push(None, bytes("!")));
    }

    #[test]
    fn the_rest_of_an_event_outlives_the_queue() {
        let mut queue = Queue::new(20);
        assert!(queue.push(Some(bytes("id: 1\n")), bytes("data\n\n")));
        assert_eq!(queue.pop(), Some(bytes("id: 1\n")));
        assert!(queue.push(None, bytes("other\n\n")));
        assert!(!queue.push(None, bytes("too much\n\n")));
        assert_eq!((queue.pop(), queue.pop()), (Some(bytes("data\n\n")), None));
    }

    proptest! {
        #[test]
        fn never_holds_more_than_its_limit(sizes in vec((0..20_usize, 0..40_usize), 0..60), limit in 0..100_usize) {
            let mut queue = Queue::new(limit);
            for (id, event) in sizes {
                let before = queue.bytes();
                let fits = queue.push(Some(Bytes::from(vec![b'x'; id])), Bytes::from(vec![b'x'; event]));
                prop_assert_eq!(fits, before + id + event <= limit);
                prop_assert!(queue.bytes() <= limit);
            }
        }
    }
}
