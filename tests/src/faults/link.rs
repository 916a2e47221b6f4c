//! What befalls connections between gateways and servers.

use super::{Fault, Stage, Twin};

/// All of this family.
pub const FAULTS: &[Fault] = &[Fault {
    name: "link::subscriptions_killed",
    incident: "An operator, or an output-buffer limit, closes the subscriptions of all gateways again and again.",
    twin: Twin::without(&["journal"]),
    befall: |stage| Box::pin(subscriptions_killed(stage)),
    ..Fault::PLAIN
}];

async fn subscriptions_killed(stage: &Stage) {
    for _ in 0..20 {
        for primary in stage.ground.primaries().await {
            primary.kill_clients("pubsub").await;
        }
        stage.cast.more(10).await;
    }
}
