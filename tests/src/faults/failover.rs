//! What befalls a primary that another one takes over from.

use std::time::Duration;

use super::{Fault, Kind, Stage, Strikes, Twin};
use crate::topology::{Layout, Node};
use crate::wait::{PATIENCE, eventually, now_us};

/// What all of them have in common, unless they say otherwise.
const PLAIN: Fault = Fault { kinds: &[Kind::Sentinel, Kind::Cluster], ..Fault::PLAIN };

/// All of this family.
pub const FAULTS: &[Fault] = &[
    Fault {
        name: "failover::crash",
        incident: "The machine of a primary dies, a gateway on it stalls, and a replica is promoted.",
        strikes: Strikes::Machines,
        twin: Twin::without(&["journal", "run", "marks"]),
        befall: |stage| Box::pin(crash(stage)),
        ..PLAIN
    },
    Fault {
        name: "failover::ordered",
        incident: "An operator has a replica take over; the old primary lives on as a replica, and keeps its subscribers.",
        twin: Twin::without(&["watch", "moved", "beacon"]).on(Kind::Cluster),
        befall: |stage| Box::pin(ordered(stage)),
        ..PLAIN
    },
    Fault {
        name: "failover::there_and_back",
        incident: "An operator has a replica take over, and soon after the old primary again.",
        twin: Twin::without(&["watch", "moved", "beacon"]).on(Kind::Cluster),
        befall: |stage| Box::pin(there_and_back(stage)),
        ..PLAIN
    },
    Fault {
        name: "failover::lost_writes",
        incident: "A primary dies with writes that it had acknowledged and no replica had got, and with it one of the gateways.",
        strikes: Strikes::Machines,
        twin: Twin::without(&["run", "marks"]),
        befall: |stage| Box::pin(lost_writes(stage)),
        ..PLAIN
    },
    Fault {
        name: "failover::old_primary_returns",
        incident: "A primary dies with writes that no replica had got, and comes back with them when another one has taken over, as one of the gateways does.",
        layout: Layout::durable,
        strikes: Strikes::Machines,
        twin: Twin::without(&["run", "marks"]),
        befall: |stage| Box::pin(old_primary_returns(stage)),
        ..PLAIN
    },
    Fault {
        name: "failover::forced",
        incident: "An operator has a replica take over that had not got all writes, and the old primary, which is well, goes on for some seconds.",
        twin: Twin::without(&["fence"]),
        befall: |stage| Box::pin(forced(stage)),
        ..PLAIN
    },
    Fault {
        name: "failover::cut_off",
        incident: "The network keeps sentinels and replicas from a primary, but neither publishers nor gateways; it goes on beside the one that takes over.",
        kinds: &[Kind::Sentinel],
        twin: Twin::without(&["fence"]),
        befall: |stage| Box::pin(cut_off(stage)),
        ..PLAIN
    },
    Fault {
        name: "failover::nobody_left",
        incident: "A primary dies when all of its replicas are dead, and is back with its data before any of them; a gateway stalls meanwhile.",
        strikes: Strikes::Machines,
        layout: Layout::durable,
        twin: Twin::without(&["journal", "run", "marks"]),
        befall: |stage| Box::pin(nobody_left(stage)),
        ..PLAIN
    },
    Fault {
        name: "failover::successor_frozen",
        incident: "A primary dies, a gateway stalls, and then the one that has taken over stands still for a while.",
        strikes: Strikes::Machines,
        twin: Twin::without(&["journal", "run", "marks"]),
        befall: |stage| Box::pin(successor_frozen(stage)),
        ..PLAIN
    },
    Fault {
        name: "failover::slot_moves",
        incident: "A cluster is balanced anew: a slot moves to another primary while events are published, and later back.",
        kinds: &[Kind::Cluster],
        twin: Twin::without(&["watch", "moved", "beacon"]),
        befall: |stage| Box::pin(slot_moves(stage)),
        ..PLAIN
    },
];

/// Longer than a server is missing before it is replaced (2 s).
const MISSING: Duration = Duration::from_secs(3);
/// Commands that neither publishers nor gateways need.
const NEEDED_BY_OTHERS: [&str; 4] = ["ping", "psync", "sync", "replconf"];
/// Longer than gateways wait for beacons (1.5 s); less than a server is missing before it is replaced.
const BRIEFLY: Duration = Duration::from_millis(1_750);

/// The gateway that stalls misses the first events of the new primary, however quick it is afterwards.
async fn crash(stage: &Stage) {
    stage.refuge().freeze();
    stage.crash_failover().await;
    stage.refuge().thaw();
}

/// It ends when the old primary has become a replica: Sentinel is in no hurry to tell it.
async fn ordered(stage: &Stage) {
    stage.failover().await;
    stage.ground.settled().await;
}

async fn there_and_back(stage: &Stage) {
    let first = stage.victim().await;
    stage.failover().await;
    stage.ground.settled().await;
    // Of two replicas Sentinel would take whichever it likes.
    let replicas = stage.ground.replicas_of(stage.target()).await;
    let other = replicas.into_iter().find(|replica| replica.addr() != first.addr());
    if let Some(other) = other {
        other.kill();
    }
    stage.failover().await;
    if let Some(other) = other {
        other.start().await;
    }
    stage.ground.settled().await;
}

/// Has the primary that is struck acknowledge events that none of its replicas get.
async fn hold_back(stage: &Stage) -> Vec<&Node> {
    let replicas = stage.ground.replicas_of(stage.target()).await;
    for replica in replicas.iter().filter(|replica| replica.is_up()) {
        replica.hold_back().await;
    }
    stage.cast.everywhere().await;
    replicas
}

async fn let_through(replicas: &[&Node]) {
    for replica in replicas.iter().filter(|replica| replica.is_up()) {
        replica.let_through().await;
    }
}

/// The gateway's clients have not got these writes, and it comes back when nobody knows of them.
async fn lost_writes(stage: &Stage) {
    stage.refuge().kill();
    let replicas = hold_back(stage).await;
    stage.crash_failover().await;
    let_through(&replicas).await;
    stage.refuge().start().await;
}

async fn old_primary_returns(stage: &Stage) {
    let old = stage.victim().await;
    lost_writes(stage).await;
    old.start().await;
    stage.ground.settled().await;
}

async fn forced(stage: &Stage) {
    let replicas = hold_back(stage).await;
    stage.forced_failover().await;
    let_through(&replicas).await;
    stage.ground.settled().await;
}

/// What only sentinels and replicas ask for is refused to them, which to them is the same as no answer.
async fn cut_off(stage: &Stage) {
    let (befallen, victim) = (stage.befallen().await, stage.victim().await);
    for command in NEEDED_BY_OTHERS {
        victim.forbid(command).await;
    }
    victim.kill_clients("replica").await;
    stage.struck();
    stage.ground.successor(stage.target(), victim).await;
    stage.replaced(now_us(), befallen).await;
    tokio::time::sleep(MISSING).await;
    for command in NEEDED_BY_OTHERS {
        victim.permit(command).await;
    }
    let follows = async || victim.info("role").await.as_deref() == Some("slave");
    eventually("sentinels have made it a replica", 2 * PATIENCE, follows).await;
    stage.ground.settled().await;
}

async fn nobody_left(stage: &Stage) {
    let (victim, replicas) = (stage.victim().await, stage.ground.replicas_of(stage.target()).await);
    let replicas: Vec<&Node> = replicas.into_iter().filter(|replica| replica.is_up()).collect();
    for replica in &replicas {
        replica.kill();
    }
    stage.cast.everywhere().await;
    stage.struck();
    victim.kill();
    tokio::time::sleep(MISSING).await;
    stage.refuge().freeze();
    victim.start().await;
    stage.cast.everywhere().await;
    stage.refuge().thaw();
    for replica in replicas {
        replica.start().await;
    }
    stage.ground.settled().await;
}

async fn successor_frozen(stage: &Stage) {
    stage.refuge().freeze();
    let new = stage.crash_failover().await;
    stage.refuge().thaw();
    new.freeze();
    tokio::time::sleep(BRIEFLY).await;
    new.thaw();
}

async fn slot_moves(stage: &Stage) {
    let (cluster, slot) = (stage.ground.cluster(), stage.ground.slot_of(stage.target()));
    let home = stage.victim().await;
    let primaries = stage.ground.primaries().await;
    let other = primaries.into_iter().find(|node| node.addr() != home.addr()).expect("a cluster has three primaries");
    for to in [other, home] {
        cluster.migrate(slot, to).await;
        stage.cast.everywhere().await;
    }
}
