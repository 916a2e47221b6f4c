//! The attacks of a client without rights, each with the harmless request that takes its place.

use std::time::Duration;

use super::AttackTask;
use super::requests::{EVENT, cursor_ahead, event_array, new_topics, poll, publish, stream};

/// Descriptors that the gateway may have, which the silent sockets are more than.
pub const FILES: u32 = 4_096;
/// How long a connection is held that is to stay.
const HELD: Duration = Duration::from_secs(10);
/// A cursor this far ahead of now held up all others once.
const AHEAD: Duration = Duration::from_secs(14);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3_600);
/// Names in `types`, until the head of the request is full.
const TYPES: usize = 32_000;
/// Bytes that a stalled body names and does not send.
const MISSING: usize = 1_000;

/// Something that is asked again and again, at a steady rate, each time on a connection of its own.
pub struct Attack {
    /// Its name in reports.
    pub name: &'static str,
    /// At the admin listener; else at the public one.
    pub is_admin: bool,
    /// Connections at once in the beginning.
    pub first: u32,
    /// Time from one to the next.
    pub every: Duration,
    /// How long each stays, if the gateway does not end it.
    pub hold: Duration,
    /// Whether it reads what it is answered.
    pub reads: bool,
    /// The bytes of an attack.
    pub harmful: fn(&AttackTask, u32) -> Vec<u8>,
    /// The bytes of the harmless request that takes its place.
    pub harmless: fn(&AttackTask, u32) -> Vec<u8>,
}

const fn every(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// All attacks but that of HTTP/2.
pub const ATTACKS: [Attack; 9] = [
    Attack {
        name: "cursors 14 s ahead, left at once",
        is_admin: false,
        first: 64,
        every: every(166),
        hold: Duration::ZERO,
        reads: false,
        harmful: |task, _| stream("topic=t/00000", &cursor_ahead(task, AHEAD)),
        harmless: |task, _| stream("topic=t/00000", &task.cursor),
    },
    Attack {
        name: "cursors a year ahead",
        is_admin: false,
        first: 0,
        every: every(166),
        hold: HELD,
        reads: true,
        harmful: |task, _| stream("topic=t/00000", &cursor_ahead(task, YEAR)),
        harmless: |task, _| stream("topic=t/00000", &task.cursor),
    },
    Attack {
        name: "32,000 types",
        is_admin: false,
        first: 0,
        every: every(100),
        hold: HELD,
        reads: true,
        harmful: |_, _| stream(&format!("topic=t/00000&types={}", "a,".repeat(TYPES)), ""),
        harmless: |_, _| stream("topic=t/00000&types=load.measured", ""),
    },
    Attack {
        name: "100 new topics each",
        is_admin: false,
        first: 0,
        // 400 a second.
        every: Duration::from_micros(2_500),
        hold: every(1_000),
        reads: true,
        harmful: |_, n| stream(&new_topics(n), ""),
        harmless: |_, _| stream("topic=t/00000&topic=t/00001&topic=t/00002", ""),
    },
    Attack {
        name: "sockets that say nothing",
        is_admin: false,
        first: 0,
        // 1.3 times as many as there are descriptors, in the time for which each is held.
        every: Duration::from_micros(HELD.as_micros() as u64 * 10 / 13 / FILES as u64),
        hold: HELD,
        reads: true,
        harmful: |_, _| Vec::new(),
        harmless: |_, _| poll(),
    },
    Attack {
        name: "streams that are not read",
        is_admin: false,
        first: 0,
        every: every(50),
        hold: HELD,
        reads: false,
        harmful: |_, _| stream("topic=t/00000&topic=t/00001", ""),
        harmless: |_, _| stream("topic=t/00000&topic=t/00001", ""),
    },
    Attack {
        name: "publish bodies that stall",
        is_admin: true,
        first: 0,
        every: every(50),
        hold: HELD,
        reads: true,
        harmful: |task, _| publish(&task.admin.to_string(), "", EVENT, MISSING),
        harmless: |task, _| publish(&task.admin.to_string(), "", EVENT, 0),
    },
    Attack {
        name: "300,000 events in a body",
        is_admin: true,
        first: 1,
        every: every(2_000),
        hold: HELD,
        reads: true,
        harmful: |task, _| publish(&task.admin.to_string(), "", &event_array(), 0),
        harmless: |task, _| publish(&task.admin.to_string(), "", EVENT, 0),
    },
    Attack {
        name: "publish requests from a foreign page",
        is_admin: true,
        first: 0,
        every: every(20),
        hold: HELD,
        reads: true,
        harmful: |_, _| publish("page.example", "Origin: http://page.example\r\n", EVENT, 0),
        harmless: |task, _| publish(&task.admin.to_string(), "", EVENT, 0),
    },
];
