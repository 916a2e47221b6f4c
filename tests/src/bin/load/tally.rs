//! Counting deliveries in the bytes of one connection.

/// In every event's data, once, and nowhere else in a stream.
pub const MARK: &str = "~end";
/// The control event after which a stream is live.
const READY: &str = "tidings.ready";

/// What one connection got so far. Costs two words, so that thousands stay in the cache.
#[derive(Debug, Default)]
pub struct Tally {
    /// Whether the stream is live.
    pub ready: bool,
    /// Events that came.
    pub events: u32,
    /// Bytes of the text looked for that the last bytes matched: reads may cut it.
    matched: u8,
}

impl Tally {
    /// Takes what was read.
    pub fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            // Neither text has its first byte a second time, so a mismatch can only be a new beginning.
            let text = if self.ready { MARK } else { READY }.as_bytes();
            self.matched = match usize::from(self.matched) {
                at if *byte == text[at] => self.matched + 1,
                _ => u8::from(*byte == text[0]),
            };
            if usize::from(self.matched) == text.len() {
                self.matched = 0;
                if self.ready { self.events += 1 } else { self.ready = true }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_events_however_reads_cut_them() {
        let stream = b"retry: 1\n\nevent: tidings.ready\ndata: {}\n\ndata: {\"f\":\"x~end\"}\n\n~~en~end~en d";
        for size in 1..stream.len() {
            let mut tally = Tally::default();
            stream.chunks(size).for_each(|chunk| tally.feed(chunk));
            assert!(tally.ready);
            assert_eq!(tally.events, 2, "in pieces of {size}");
        }
    }

    #[test]
    fn nothing_counts_before_the_stream_is_live() {
        let mut tally = Tally::default();
        tally.feed(b"data: ~end\n\ntidings.read");
        assert!(!tally.ready);
        assert_eq!(tally.events, 0);
    }
}
