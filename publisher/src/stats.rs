//! What a publisher has done so far.

/// Counts since the publisher was made, over all its handles. An event given to `notify` counts
/// once for each partition that it has addresses in, where the store is Redis.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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
    /// The backlog of `notify`, for each partition that has one.
    pub backlogs: Vec<Backlog>,
}

/// Events given to `notify` that wait or are on their way, of one partition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// The partition. `None` over HTTP, where only the gateway knows the partitions.
    pub partition: Option<u16>,
    /// How many events.
    pub events: u64,
    /// Their memory, in bytes.
    pub bytes: usize,
    /// Attempts in a row that failed for a reason that may pass: 0 while the partition takes
    /// events.
    pub failures: u32,
}
