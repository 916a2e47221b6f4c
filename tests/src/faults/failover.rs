//! What befalls a primary that another one takes over from.

use super::{Fault, Kind, Stage, Strikes, Twin};

const KINDS: &[Kind] = &[Kind::Sentinel, Kind::Cluster];

/// All of this family.
pub const FAULTS: &[Fault] = &[
    Fault {
        name: "failover::crash",
        incident: "The machine of a primary dies, a gateway on it stalls, and a replica is promoted.",
        kinds: KINDS,
        strikes: Strikes::Machines,
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

/// The gateway that stalls misses the first events of the new primary, however quick it is afterwards.
async fn crash(stage: &Stage) {
    stage.refuge().freeze();
    stage.crash_failover().await;
    stage.refuge().thaw();
}

async fn ordered(stage: &Stage) {
    stage.failover().await;
}
