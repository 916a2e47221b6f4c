//! What makes a server refuse, for a while, what publishers or gateways ask of it.

use std::time::Duration;

use super::{Fault, Kind, Stage, Strikes, Twin};
use crate::topology::Layout;
use crate::wait::{PATIENCE, eventually};

/// What most of them have in common.
const PLAIN: Fault = Fault { twin: Twin::without(&["retries"]), ..Fault::PLAIN };

/// What those have in common that publishers cannot sit out. Gateways find what was published between the cure and their
/// next try to connect.
const REFUSED: Fault = Fault { refuses: true, twin: Twin::without(&["journal"]), ..Fault::PLAIN };

/// All of this family.
pub const FAULTS: &[Fault] = &[
    Fault {
        name: "refusal::out_of_memory",
        incident: "Redis has reached its maxmemory, and takes no writes until there is room again.",
        befall: |stage| Box::pin(out_of_memory(stage)),
        ..PLAIN
    },
    Fault {
        name: "refusal::read_only",
        incident: "An operator has a single server follow another one, sees that this was the wrong one, and takes it back.",
        kinds: &[Kind::Standalone],
        befall: |stage| Box::pin(read_only(stage)),
        ..PLAIN
    },
    Fault {
        name: "refusal::busy",
        incident: "Somebody's script runs for ever on the same server, until it is killed.",
        befall: |stage| Box::pin(busy(stage)),
        ..PLAIN
    },
    Fault {
        name: "refusal::no_permission",
        incident: "An operator takes from the gateways the right to a command that they need.",
        twin: Twin::without(&["journal"]),
        befall: |stage| Box::pin(no_permission(stage)),
        ..PLAIN
    },
    Fault {
        name: "refusal::password_changed",
        incident: "A new password is set before gateways know it, and their subscriptions are closed; publishers go on over the connections that they have.",
        layout: |layout: Layout| layout.password(PASSWORD),
        twin: Twin::without(&["journal"]),
        befall: |stage| Box::pin(password_changed(stage)),
        ..PLAIN
    },
    Fault {
        name: "refusal::journal_of_another_type",
        incident: "Somebody else writes under the key of a journal, and puts it right again.",
        befall: |stage| Box::pin(another_type(stage, stage.ground.keys_of(stage.target()).journal())),
        ..REFUSED
    },
    Fault {
        name: "refusal::epoch_of_another_type",
        incident: "Somebody else writes under the key of an epoch, and puts it right again.",
        befall: |stage| Box::pin(another_type(stage, stage.ground.keys_of(stage.target()).epoch())),
        ..REFUSED
    },
    Fault {
        name: "refusal::stream_of_another_type",
        incident: "Somebody else writes under the key of an address while a gateway restarts, and puts it right when its clients are back.",
        strikes: Strikes::Machines,
        twin: Twin::without(&["complete"]),
        befall: |stage| Box::pin(stream_of_another_type(stage)),
        ..REFUSED
    },
];

/// Longer than gateways wait for beacons (1.5 s): who takes a refusal for deafness does so.
const WHILE: Duration = Duration::from_secs(2);
/// At first, and in the end.
const PASSWORD: &str = "first";

async fn out_of_memory(stage: &Stage) {
    let victim = stage.victim().await;
    victim.fill_memory().await;
    tokio::time::sleep(WHILE).await;
    victim.free_memory().await;
}

async fn read_only(stage: &Stage) {
    let victim = stage.victim().await;
    victim.read_only().await;
    tokio::time::sleep(WHILE).await;
    victim.writable().await;
}

async fn busy(stage: &Stage) {
    let victim = stage.victim().await;
    victim.busy().await;
    tokio::time::sleep(WHILE).await;
    victim.idle().await;
}

/// Of beacons alone: events go on coming, until the gateways give the session up.
async fn no_permission(stage: &Stage) {
    let victim = stage.victim().await;
    victim.forbid("xsetid").await;
    tokio::time::sleep(WHILE).await;
    victim.permit("xsetid").await;
}

async fn password_changed(stage: &Stage) {
    stage.ground.set_password("second").await;
    for primary in stage.ground.primaries().await {
        primary.kill_clients("pubsub").await;
    }
    tokio::time::sleep(WHILE).await;
    stage.ground.set_password(PASSWORD).await;
}

async fn another_type(stage: &Stage, key: String) {
    let victim = stage.victim().await;
    victim.occupy(&key).await;
    tokio::time::sleep(WHILE).await;
    victim.clear(&key).await;
}

/// The clients have missed an event of this address, which nobody can read when they come: their gateway has it no more.
async fn stream_of_another_type(stage: &Stage) {
    let (target, victim) = (stage.target(), stage.victim().await);
    let key = stage.ground.keys_of(target).stream(&target.parse().expect("an address"));
    let client = stage.cast.clients[stage.gateways.len() - 1].record();
    stage.refuge().kill();
    let been = client.connections();
    stage.cast.everywhere().await;
    victim.occupy(&key).await;
    stage.refuge().start().await;
    eventually("its client is back", PATIENCE, async || client.connections() > been).await;
    tokio::time::sleep(WHILE).await;
    victim.clear(&key).await;
}
