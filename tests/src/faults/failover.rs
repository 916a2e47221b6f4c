//! What befalls a primary that another one takes over from.

use super::{Fault, Kind, Stage, Twin};

const KINDS: &[Kind] = &[Kind::Sentinel, Kind::Cluster];

/// All of this family.
pub const FAULTS: &[Fault] = &[
    Fault {
        name: "failover::crash",
        incident: "The machine of a primary dies, and a replica is promoted.",
        kinds: KINDS,
        twin: Twin::without(&["journal", "run"]),
        befall: |stage| Box::pin(crash(stage)),
        ..Fault::PLAIN
    },
    Fault {
        name: "failover::ordered",
        incident: "An operator has a replica take over; the old primary lives on as a replica, and keeps its subscribers.",
        kinds: KINDS,
        twin: Twin::without(&["watch", "moved", "beacon"]).on(Kind::Cluster),
        befall: |stage| Box::pin(ordered(stage)),
        ..Fault::PLAIN
    },
];

async fn crash(stage: &Stage) {
    stage.crash_failover().await;
}

async fn ordered(stage: &Stage) {
    stage.failover().await;
}
