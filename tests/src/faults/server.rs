//! What befalls the process of a server that nothing takes over from, or that is back before anything does.

use super::{Fault, Kind, Stage, Strikes, Twin};
use crate::topology::Layout;

/// All of this family.
pub const FAULTS: &[Fault] = &[
    Fault {
        name: "server::crash_loop",
        incident: "Redis is killed again and again, and comes back with all that it had acknowledged; each time a gateway beside it stalls.",
        kinds: &[Kind::Standalone],
        strikes: Strikes::Machines,
        layout: Layout::durable,
        // Either would do: the journal tells what was missed, and another process is one that may have lost something.
        twin: Twin::without(&["journal", "run"]),
        befall: |stage| Box::pin(crash_loop(stage)),
        ..Fault::PLAIN
    },
    Fault {
        name: "server::machine_rebooted",
        incident: "The machine of Redis, which keeps nothing on disk, and of one of the gateways reboots.",
        kinds: &[Kind::Standalone],
        strikes: Strikes::Machines,
        twin: Twin::without(&["epoch"]),
        befall: |stage| Box::pin(machine_rebooted(stage)),
        ..Fault::PLAIN
    },
];

/// The gateway that stalls misses the first events after each restart, however quick it is afterwards.
async fn crash_loop(stage: &Stage) {
    for _ in 0..4 {
        stage.refuge().freeze();
        stage.victim().await.restart().await;
        stage.cast.everywhere().await;
        stage.refuge().thaw();
    }
}

/// Whoever comes to that gateway from elsewhere has a place in a history that nobody has any more.
async fn machine_rebooted(stage: &Stage) {
    stage.refuge().kill();
    stage.victim().await.restart_empty().await;
    stage.refuge().start().await;
}
