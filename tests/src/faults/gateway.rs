//! What befalls gateways.

use std::time::Duration;

use super::{Fault, Kind, Stage, Strikes, Twin};
use crate::wait::{PATIENCE, perhaps};

/// What faults of gateways have in common.
const GATEWAY: Fault = Fault { strikes: Strikes::Gateways, twin: Twin::without(&["replay"]), ..Fault::PLAIN };

/// All of this family.
pub const FAULTS: &[Fault] = &[
    Fault {
        name: "gateway::killed",
        incident: "A gateway runs out of memory and is killed, again and again.",
        befall: |stage| Box::pin(killed(stage)),
        ..GATEWAY
    },
    Fault {
        name: "gateway::all_killed",
        incident: "A deployment goes wrong, and no gateway is there for a while.",
        befall: |stage| Box::pin(all_killed(stage)),
        ..GATEWAY
    },
    Fault {
        name: "gateway::rolling_restart",
        incident: "Gateways are replaced one by one, each drained before it ends.",
        settings: &[("drain.grace", "100ms"), ("drain.window", "500ms")],
        befall: |stage| Box::pin(rolling_restart(stage)),
        ..GATEWAY
    },
    Fault {
        name: "gateway::frozen",
        incident: "A gateway's machine stands still for moments, and then for so long that Redis closes its connections.",
        layout: |layout| layout.setting("client-output-buffer-limit pubsub 256kb 0 0"),
        twin: Twin::without(&["journal"]),
        befall: |stage| Box::pin(frozen(stage)),
        ..GATEWAY
    },
    Fault {
        name: "gateway::reader_stuck",
        incident: "The reader of a gateway hangs for good, and an operator replaces the gateway once it is not ready.",
        kinds: &[Kind::Standalone, Kind::Cluster],
        twin: Twin::without(&["pulse"]),
        befall: |stage| Box::pin(reader_stuck(stage)),
        ..GATEWAY
    },
    Fault {
        name: "gateway::log_blocked",
        incident: "The collector of a gateway's log hangs, and its stderr is a full pipe.",
        kinds: &[Kind::Standalone, Kind::Cluster],
        twin: Twin::without(&["log"]),
        befall: |stage| Box::pin(log_blocked(stage)),
        ..GATEWAY
    },
];

async fn killed(stage: &Stage) {
    for _ in 0..3 {
        stage.gateway().kill();
        stage.cast.more(40).await;
        stage.gateway().start().await;
        stage.cast.more(40).await;
    }
}

async fn all_killed(stage: &Stage) {
    stage.gateways.iter().for_each(crate::Gateway::kill);
    stage.cast.more(100).await;
    for gateway in &stage.gateways {
        gateway.start().await;
    }
}

async fn rolling_restart(stage: &Stage) {
    for gateway in &stage.gateways {
        gateway.terminate();
        gateway.exit().await;
        gateway.start().await;
        perhaps(Duration::from_secs(5), async || gateway.works().await).await;
    }
}

async fn frozen(stage: &Stage) {
    for _ in 0..3 {
        stage.gateway().freeze();
        stage.cast.more(40).await;
        stage.gateway().thaw();
        stage.cast.more(20).await;
    }
    stage.gateway().freeze();
    stage.overflow(stage.victim().await).await;
    stage.gateway().thaw();
}

/// Readiness fails after 5 s without a turn of the reader; a twin's never does. Pages have left until
/// then. The test does not wait for `/livez` to fail, as in 30 s too much is published to judge.
async fn reader_stuck(stage: &Stage) {
    let gateway = stage.gateway();
    gateway.stop_reader();
    let mut is_unready = false;
    let looks = async || {
        is_unready = gateway.admin_get("/readyz").await.0 == 503;
        is_unready
    };
    perhaps(PATIENCE, looks).await;
    if is_unready {
        gateway.kill();
        gateway.start().await;
    }
}

/// Lines that are longer in all than the pipe, and what a reader of it has read in advance.
const LOSSES: usize = 24;

/// The log stays held: a gateway that waits for it never goes on.
async fn log_blocked(stage: &Stage) {
    stage.gateway().hold_log();
    let victim = stage.victim().await;
    for _ in 0..LOSSES {
        // Another fault may have taken the server away.
        let _ = victim.ask::<i64>("CLIENT", &["KILL", "TYPE", "pubsub"]).await;
        perhaps(Duration::from_millis(500), async || stage.gateway().works().await).await;
        stage.cast.more(5).await;
    }
}
