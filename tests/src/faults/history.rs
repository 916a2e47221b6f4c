//! What befalls the history that servers keep: it is lost, trimmed, too old, goes back, or its clock goes wrong.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::join_all;

use super::{Fault, Kind, Stage, Twin};
use crate::proxy::Way;
use crate::topology::{Foreign, Node};
use crate::wait::{PATIENCE, eventually, now_us, perhaps};

/// By so much a clock is wrong.
const CLOCK: Duration = Duration::from_secs(600);
/// Addresses that are none, and messages that are none.
const NO_EVENTS: [(&[u8], &[u8]); 3] =
    [(b"1/2/3/4/5/6/7/8/9", b"no message"), (b"a ", b"c - - - - {\"\xff\":1}"), (b"\xff", b"")];
/// `retention.age` where somebody is away for longer.
const AGE: Duration = Duration::from_secs(2);

/// All of this family. Gateways remember nothing where somebody has to ask for what only the servers know.
pub const FAULTS: &[Fault] = &[
    Fault {
        name: "history::flushed",
        incident: "Somebody takes the server for another one, and sends it FLUSHALL.",
        settings: &[("replay.recent", "0")],
        // Those who are connected miss nothing; but who comes back asks for events that are gone, and until the next beacon
        // the server does not know for how long it keeps any.
        twin: Twin::without(&["epoch", "complete"]),
        befall: |stage| Box::pin(flushed(stage)),
        ..Fault::PLAIN
    },
    Fault {
        name: "history::journal_deleted",
        incident: "A clean-up deletes some keys, journals among them, while gateways are cut off.",
        twin: Twin::without(&["epoch"]),
        befall: |stage| Box::pin(journal_deleted(stage)),
        ..Fault::PLAIN
    },
    Fault {
        name: "history::scripts_flushed",
        incident: "A deployment of another application flushes the server's scripts, again and again.",
        twin: Twin::without(&["scripts"]),
        befall: |stage| Box::pin(scripts_flushed(stage)),
        ..Fault::PLAIN
    },
    Fault {
        name: "history::trimmed_in_mid_replay",
        incident: "More is published than is kept, while a client is away and while it is told what it missed.",
        layout: |layout| layout.proxied().setting("stream-node-max-entries 4"),
        settings: &[("retention.events", "8"), ("replay.recent", "0")],
        twin: Twin::without(&["complete"]),
        befall: |stage| Box::pin(trimmed_in_mid_replay(stage)),
        ..Fault::PLAIN
    },
    Fault {
        name: "history::outlived",
        incident: "A laptop is opened again after events have expired that it did not get.",
        settings: &[("retention.age", "2s"), ("replay.recent", "0")],
        twin: Twin::without(&["complete"]),
        befall: |stage| Box::pin(outlived(stage)),
        ..Fault::PLAIN
    },
    Fault {
        name: "history::clock_behind_after_restart",
        incident: "The machine of Redis comes back with nothing in memory, and with a clock that is ten minutes behind.",
        kinds: &[Kind::Standalone],
        twin: Twin::without(&["lift"]),
        befall: |stage| Box::pin(clock_behind_after_restart(stage)),
        ..Fault::PLAIN
    },
    Fault {
        name: "history::clock_behind_after_failover",
        incident: "A replica is promoted that lacks the last writes, and whose clock is ten minutes behind.",
        kinds: &[Kind::Sentinel, Kind::Cluster],
        twin: Twin::without(&["lift"]),
        befall: |stage| Box::pin(clock_behind_after_failover(stage)),
        ..Fault::PLAIN
    },
    Fault {
        name: "history::swapped_db",
        incident: "An operator swaps the database for a copy that was made a while ago, as a deployment tool does.",
        kinds: &[Kind::Standalone],
        settings: &[("replay.recent", "0")],
        twin: Twin::without(&["marks"]),
        befall: |stage| Box::pin(swapped_db(stage)),
        ..Fault::PLAIN
    },
    Fault {
        name: "history::restored",
        incident: "An operator restores keys from a dump, at first over the data, and then into an empty server.",
        kinds: &[Kind::Cluster],
        settings: &[("replay.recent", "0")],
        twin: Twin::without(&["marks"]),
        befall: |stage| Box::pin(restored(stage)),
        ..Fault::PLAIN
    },
    Fault {
        name: "history::reloaded",
        incident: "A server loads its last snapshot again, and its process stays.",
        kinds: &[Kind::Standalone],
        settings: &[("replay.recent", "0")],
        twin: Twin::without(&["marks"]),
        befall: |stage| Box::pin(reloaded(stage)),
        ..Fault::PLAIN
    },
    Fault {
        name: "history::foreign_bytes",
        incident: "Another program writes what no publisher writes, while gateways lose their connections.",
        settings: &[("replay.recent", "0")],
        twin: Twin::without(&["foreign"]),
        befall: |stage| Box::pin(foreign_bytes(stage)),
        ..Fault::PLAIN
    },
];

/// Has a client be away for events that are published after a copy was made and before the server goes back to it.
async fn went_back(stage: &Stage, victim: &Node, back: impl Future<Output = ()>) {
    let made = marks(stage, victim).await;
    let risen = async || {
        let now = marks(stage, victim).await;
        made.iter().all(|(mark, number)| now.get(mark).is_none_or(|now| now > number))
    };
    // A copy that is younger than the last beacons is like the data to them.
    perhaps(Duration::from_secs(10), risen).await;
    stage.client().leave();
    stage.cast.more(50).await;
    stage.struck();
    back.await;
    // Publishes lift the journal above all that was seen, before any beacon does.
    stage.cast.more(10).await;
    stage.client().come_back();
    stage.cast.more(100).await;
}

/// The numbers that beacons have left in the partitions of this primary.
async fn marks(stage: &Stage, primary: &Node) -> HashMap<String, u64> {
    let mut marks = HashMap::new();
    for keys in stage.ground.keys_beside(stage.target()).await {
        let hash: HashMap<String, String> = primary.ask("HGETALL", &[&keys.epoch()]).await.unwrap_or_default();
        for (field, value) in hash {
            if let (true, Some((number, _))) = (field.starts_with("b:"), value.split_once(' ')) {
                marks.insert(format!("{} {field}", keys.epoch()), number.parse().expect("a number"));
            }
        }
    }
    marks
}

async fn swapped_db(stage: &Stage) {
    let victim = stage.victim().await;
    victim.copy_database().await;
    went_back(stage, victim, victim.swap_databases()).await;
}

async fn restored(stage: &Stage) {
    let victim = stage.victim().await;
    let dump = victim.dump().await;
    went_back(stage, victim, victim.restore(&dump)).await;
    let dump = victim.dump().await;
    let into_empty = async {
        victim.flush().await;
        stage.cast.more(20).await;
        victim.restore(&dump).await;
    };
    went_back(stage, victim, into_empty).await;
}

async fn reloaded(stage: &Stage) {
    let victim = stage.victim().await;
    victim.save().await;
    went_back(stage, victim, victim.reload()).await;
}

async fn foreign_bytes(stage: &Stage) {
    let (victim, away) = (stage.victim().await, stage.client());
    let keys = stage.ground.keys_of(stage.target());
    let stream = keys.stream(&stage.target().parse().expect("an address"));
    let publish = if stage.ground.kind() == Kind::Cluster { "SPUBLISH" } else { "PUBLISH" };
    away.leave();
    for (no_address, no_message) in NO_EVENTS {
        let foreign = Foreign { no_address, address: stage.target(), no_message };
        victim.write_foreign(&keys.journal(), &stream, publish, foreign).await;
        stage.cast.more(10).await;
        victim.kill_clients("pubsub").await;
        stage.cast.more(10).await;
    }
    away.come_back();
    stage.cast.more(20).await;
}

async fn flushed(stage: &Stage) {
    for _ in 0..3 {
        stage.victim().await.flush().await;
        stage.cast.more(20).await;
    }
}

async fn journal_deleted(stage: &Stage) {
    let victim = stage.victim().await;
    for _ in 0..5 {
        victim.kill_clients("pubsub").await;
        for keys in stage.ground.keys_beside(stage.target()).await {
            victim.ask::<()>("DEL", &[&keys.journal()]).await.expect("DEL");
        }
        stage.cast.more(20).await;
    }
}

async fn scripts_flushed(stage: &Stage) {
    for _ in 0..100 {
        for primary in stage.ground.primaries().await {
            primary.flush_scripts().await;
        }
    }
    stage.cast.more(20).await;
}

async fn trimmed_in_mid_replay(stage: &Stage) {
    let (away, primaries) = (stage.client(), stage.ground.primaries().await);
    away.leave();
    much(stage, 20).await;
    primaries.iter().for_each(|primary| primary.proxy().rate(Way::Down, Some(50_000)));
    away.come_back();
    much(stage, 10).await;
    primaries.iter().for_each(|primary| primary.proxy().rate(Way::Down, None));
}

/// So many events for each address, at once.
async fn much(stage: &Stage, count: usize) {
    join_all(stage.cast.topics.iter().map(async |topic| stage.cast.source.publish_many(&[topic], count).await)).await;
}

async fn outlived(stage: &Stage) {
    let until = now_us() + 1_000_000 * AGE.as_secs();
    stage.client().leave();
    eventually("all is expired that was published before", PATIENCE, async || now_us() > until).await;
    stage.cast.more(20).await;
    stage.client().come_back();
}

async fn clock_behind_after_restart(stage: &Stage) {
    let victim = stage.victim().await;
    set_clock_back(stage, victim).await;
    victim.restart_empty().await;
}

async fn clock_behind_after_failover(stage: &Stage) {
    let (victim, replicas) = (stage.victim().await, stage.ground.replicas_of(stage.target()).await);
    for replica in &replicas {
        replica.hold_back().await;
    }
    set_clock_back(stage, victim).await;
    stage.crash_failover().await;
    for replica in &replicas {
        replica.let_through().await;
    }
}

/// Has gateways and clients see ids of a clock that the next server does not have.
async fn set_clock_back(stage: &Stage, node: &Node) {
    for keys in stage.ground.keys_beside(stage.target()).await {
        node.set_clock_back(&keys.journal(), CLOCK).await;
    }
    stage.cast.more(100).await;
}
