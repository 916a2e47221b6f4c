//! What a publisher has done so far.

/// Counts since the publisher was made, over all its handles.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Events that the store took.
    pub published: u64,
    /// Events that were refused, invalid, or tried often enough.
    pub failed: u64,
    /// Events given to `notify` that were never sent: the queue was full, or the publisher was shut down before.
    pub dropped: u64,
    /// Events given to `notify` whose place a newer one took while they waited.
    pub coalesced: u64,
    /// Memory, in bytes, of events given to `notify` that wait or are on their way.
    pub queued_bytes: usize,
}
