//! The largest head of a request. All head readers share it.

/// What a head may hold besides its topics: cookies, a cursor, and what browsers and proxies send.
const BASE: usize = 16 * 1024;
/// What one topic takes in a URL: `&topic=` and 200 bytes, of which separators are percent-encoded.
const TOPIC: usize = 256;
/// The largest head that any configuration allows. URLs of 64 KiB and more are beyond HTTP libraries.
const LARGEST: usize = 64 * 1024;

/// The bounds of request heads, the same for HTTP/1.1, HTTP/2 and TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadBounds {
    bytes: usize,
}

impl HeadBounds {
    /// The most header fields of a request.
    pub const HEADERS: usize = 100;
    /// The most topics of a connection whose request still fits in the largest head.
    pub const MAX_TOPICS: usize = (LARGEST - BASE) / TOPIC;

    /// Bounds with room for `topics` topics in the URL.
    pub fn for_topics(topics: usize) -> Self {
        Self { bytes: topics.saturating_mul(TOPIC).saturating_add(BASE).min(LARGEST) }
    }

    /// The most bytes of a head, as HTTP/1.1 writes it.
    pub fn bytes(self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_has_room_for_its_topics_and_ends_at_64_kib() {
        assert_eq!(HeadBounds::for_topics(1).bytes(), 16_640);
        assert_eq!(HeadBounds::for_topics(100).bytes(), 41_984);
        assert_eq!(HeadBounds::for_topics(HeadBounds::MAX_TOPICS).bytes(), 65_536);
        assert_eq!(HeadBounds::for_topics(usize::MAX).bytes(), 65_536);
        assert_eq!(HeadBounds::MAX_TOPICS, 192);
    }
}
