//! What befalls the process of a server that nothing takes over from, or that is back before anything does.

use super::{Fault, Kind, Stage, Twin};
use crate::topology::Layout;

/// All of this family.
pub const FAULTS: &[Fault] = &[
    Fault {
        name: "server::restarted",
        incident: "The kernel kills Redis, and it comes back with all that it had acknowledged.",
        kinds: &[Kind::Standalone],
        layout: Layout::durable,
        twin: Twin::without(&["journal"]),
        befall: |stage| Box::pin(restarted(stage)),
        ..Fault::PLAIN
    },
    Fault {
        name: "server::restarted_empty",
        incident: "Redis without persistence is killed and comes back empty.",
        kinds: &[Kind::Standalone],
        twin: Twin::without(&["epoch", "run"]),
        befall: |stage| Box::pin(restarted_empty(stage)),
        ..Fault::PLAIN
    },
];

async fn restarted(stage: &Stage) {
    stage.victim().await.restart().await;
}

async fn restarted_empty(stage: &Stage) {
    stage.victim().await.restart_empty().await;
}
