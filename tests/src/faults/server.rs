//! What befalls the process of a server that nothing takes over from, or that is back before anything does.

use std::time::Duration;

use super::{Fault, Kind, Stage, Strikes, Twin};
use crate::topology::Layout;
use crate::wait::{PATIENCE, eventually};

/// All of this family.
pub const FAULTS: &[Fault] = &[
    Fault {
        name: "server::crash_loop",
        incident: "Redis is killed again and again, and each time is back, with all that it had acknowledged, before anything takes over; a gateway stalls meanwhile.",
        strikes: Strikes::Machines,
        layout: Layout::durable,
        // Either would do: the journal tells what was missed, and another process is one that may have lost something.
        twin: Twin::without(&["journal", "run", "marks"]),
        befall: |stage| Box::pin(crash_loop(stage)),
        ..Fault::PLAIN
    },
    Fault {
        name: "server::machine_rebooted",
        incident: "The machine of Redis, which keeps nothing on disk, and of one of the gateways reboots; the replicas, if there are some, copy that there is nothing.",
        strikes: Strikes::Machines,
        twin: Twin::without(&["epoch"]),
        befall: |stage| Box::pin(machine_rebooted(stage)),
        ..Fault::PLAIN
    },
    Fault {
        name: "server::frozen_briefly",
        incident: "A virtual machine stands still for longer than publishers wait, and for less than it takes to be missed by others.",
        // It takes what was sent to it meanwhile, also what its publisher took for lost.
        twin: Twin::without(&["keys"]),
        befall: |stage| Box::pin(frozen_briefly(stage)),
        ..Fault::PLAIN
    },
    Fault {
        name: "server::frozen",
        incident: "A virtual machine stands still for so long that a replica takes over if there is one, and then goes on as if nothing had been.",
        twin: Twin::without(&["journal", "run", "marks"]),
        befall: |stage| Box::pin(frozen(stage)),
        ..Fault::PLAIN
    },
    Fault {
        name: "server::loading",
        incident: "Redis is restarted, and is busy for seconds with loading what it has on disk.",
        kinds: &[Kind::Standalone],
        layout: |layout| layout.durable().answers_while_loading(),
        twin: Twin::without(&["retries"]),
        befall: |stage| Box::pin(loading(stage)),
        ..Fault::PLAIN
    },
    Fault {
        name: "server::disk_full",
        incident: "The disk is full, and Redis, which syncs every second, takes no writes until there is room again.",
        layout: Layout::durable,
        twin: Twin::without(&["retries"]),
        befall: |stage| Box::pin(disk_full(stage)),
        ..Fault::PLAIN
    },
    Fault {
        name: "server::ended_by_full_disk",
        incident: "The disk is full, Redis, which syncs every write, ends itself, and is started again when there is room; a gateway stalls meanwhile.",
        strikes: Strikes::Machines,
        layout: Layout::durable,
        twin: Twin::without(&["journal", "run", "marks"]),
        befall: |stage| Box::pin(ended_by_full_disk(stage)),
        ..Fault::PLAIN
    },
];

/// Longer than publishers wait for an answer (1 s); less than gateways wait for beacons (1.5 s), or others for a server
/// that should be replaced (2 s).
const BRIEFLY: Duration = Duration::from_millis(1_250);
/// Longer than any of these.
const LONG: Duration = Duration::from_secs(4);
/// Longer than gateways wait for beacons.
const WHILE: Duration = Duration::from_secs(2);

async fn crash_loop(stage: &Stage) {
    for _ in 0..4 {
        let victim = stage.victim().await;
        without_a_gateway(stage, victim.restart()).await;
    }
}

/// The gateway that stalls misses the first events that are taken afterwards, however quick it is.
async fn without_a_gateway(stage: &Stage, restart: impl Future<Output = ()>) {
    stage.refuge().freeze();
    restart.await;
    stage.cast.everywhere().await;
    stage.refuge().thaw();
}

/// Whoever comes to that gateway from elsewhere has a place in a history that nobody has any more.
async fn machine_rebooted(stage: &Stage) {
    stage.refuge().kill();
    stage.victim().await.restart_empty().await;
    stage.refuge().start().await;
}

async fn frozen_briefly(stage: &Stage) {
    let victim = stage.victim().await;
    victim.freeze();
    tokio::time::sleep(BRIEFLY).await;
    victim.thaw();
}

async fn frozen(stage: &Stage) {
    let (befallen, victim) = (stage.befallen().await, stage.victim().await);
    stage.struck();
    victim.freeze();
    let from = crate::wait::now_us();
    if stage.ground.kind() == Kind::Standalone {
        tokio::time::sleep(LONG).await;
    } else {
        stage.ground.successor(stage.target(), victim).await;
        stage.replaced(from, befallen).await;
    }
    victim.thaw();
    stage.ground.settled().await;
}

async fn loading(stage: &Stage) {
    let victim = stage.victim().await;
    victim.load_for(WHILE).await;
    stage.struck();
    victim.restart().await;
    victim.load_for(Duration::ZERO).await;
}

async fn disk_full(stage: &Stage) {
    let victim = stage.victim().await;
    victim.sync("everysec").await;
    victim.fill_disk();
    let refuses = async || victim.info("aof_last_write_status").await.as_deref() == Some("err");
    eventually("it cannot write", PATIENCE, refuses).await;
    tokio::time::sleep(WHILE).await;
    victim.free_disk();
    let writes = async || victim.info("aof_last_write_status").await.as_deref() == Some("ok");
    eventually("it can write", PATIENCE, writes).await;
    victim.sync("always").await;
}

async fn ended_by_full_disk(stage: &Stage) {
    for _ in 0..3 {
        let victim = stage.victim().await;
        victim.fill_disk();
        eventually("it ends itself", PATIENCE, async || !victim.is_running()).await;
        without_a_gateway(stage, victim.start()).await;
    }
}
