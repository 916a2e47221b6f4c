//! What befalls gateways.

use std::time::Duration;

use super::{Fault, Stage, Strikes, Twin};
use crate::wait::perhaps;

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
