//! What befalls connections between gateways and servers.

use std::time::Duration;

use super::{Fault, Kind, Stage, Strikes, Twin};
use crate::proxy::{Cut, Way};
use crate::topology::Layout;

/// What is closed is noticed at once, and each try to connect waits for a second at most.
const CLOSED: Option<Duration> = Some(Duration::from_secs(4));
/// What is deaf is noticed after three beacon intervals of half a second.
const DEAF: Option<Duration> = Some(Duration::from_secs(5));

/// What faults of links have in common.
const LINK: Fault =
    Fault { strikes: Strikes::Links, layout: Layout::proxied, twin: Twin::without(&["journal"]), ..Fault::PLAIN };

/// All of this family.
pub const FAULTS: &[Fault] = &[
    Fault {
        name: "link::subscriptions_killed",
        incident: "An operator, or an output-buffer limit, closes the subscriptions of all gateways again and again.",
        twin: Twin::without(&["journal"]),
        befall: |stage| Box::pin(subscriptions_killed(stage)),
        ..Fault::PLAIN
    },
    Fault {
        name: "link::reset",
        incident: "A firewall between the gateways and Redis restarts, and resets all connections, again and again.",
        heals_in: CLOSED,
        befall: |stage| Box::pin(cut(stage, Cut::Reset)),
        ..LINK
    },
    Fault {
        name: "link::closed",
        incident: "A proxy before Redis is reloaded, and ends all connections in good order, again and again.",
        heals_in: CLOSED,
        befall: |stage| Box::pin(cut(stage, Cut::Fin)),
        ..LINK
    },
    Fault {
        name: "link::cut_in_a_message",
        incident: "A broken network card resets connections in the midst of what the server is sending.",
        befall: |stage| Box::pin(cut_in_a_message(stage)),
        ..LINK
    },
    Fault {
        name: "link::one_of_many",
        incident: "Gateways lose the link to one primary of a cluster again and again, while those to the others hold.",
        kinds: &[Kind::Cluster],
        heals_in: CLOSED,
        befall: |stage| Box::pin(one_of_many(stage)),
        ..LINK
    },
    Fault {
        name: "link::dead_to_gateways",
        incident: "A firewall forgets connections that are open: what Redis sends vanishes, and nobody is told.",
        heals_in: DEAF,
        twin: Twin::without(&["beacon"]),
        befall: |stage| Box::pin(dead(stage, Way::Down)),
        ..LINK
    },
    Fault {
        name: "link::dead_to_server",
        incident: "What gateways send to Redis vanishes and nobody is told, while events still come to them.",
        settings: &[("replay.recent", "0")],
        heals_in: DEAF,
        // Events come all the same; but who comes back has to ask for what was missed.
        twin: Twin::without(&["beacon"]),
        befall: |stage| Box::pin(dead(stage, Way::Up)),
        ..LINK
    },
    Fault {
        name: "link::black_hole",
        incident: "A network between gateways and Redis hangs: connections open, and nothing ever comes back on them.",
        befall: |stage| Box::pin(black_hole(stage)),
        ..LINK
    },
    Fault {
        name: "link::slow",
        incident: "Redis is an ocean and a thin line away, and the line breaks while much is on its way.",
        heals_in: Some(Duration::from_secs(20)),
        befall: |stage| Box::pin(slow(stage)),
        ..LINK
    },
    Fault {
        name: "link::thin",
        incident: "Gateways that were cut off have more to catch up on than their line takes in the time for an answer.",
        kinds: &[Kind::Standalone],
        heals_in: Some(Duration::from_secs(20)),
        befall: |stage| Box::pin(thin(stage)),
        ..LINK
    },
    Fault {
        name: "link::output_buffer_overflow",
        incident: "More is published than a line takes: Redis closes the subscriptions whose output buffers are full.",
        layout: |layout| layout.proxied().setting("client-output-buffer-limit pubsub 256kb 0 0"),
        befall: |stage| Box::pin(output_buffer_overflow(stage)),
        ..LINK
    },
];

async fn subscriptions_killed(stage: &Stage) {
    for _ in 0..20 {
        for primary in stage.ground.primaries().await {
            primary.kill_clients("pubsub").await;
        }
        stage.cast.more(10).await;
    }
}

async fn cut(stage: &Stage, how: Cut) {
    for _ in 0..5 {
        for primary in stage.ground.primaries().await {
            primary.proxy().cut(how);
        }
        stage.cast.more(20).await;
    }
}

async fn cut_in_a_message(stage: &Stage) {
    // Each connection gets as far as that: behind what it is told when it opens, and not to the end of a message.
    for bytes in [20_001, 30_011, 25_013] {
        let primaries = stage.ground.primaries().await;
        primaries.iter().for_each(|primary| primary.proxy().cut_after(Way::Down, Some(bytes)));
        stage.given_up(1, Duration::from_secs(5)).await;
        primaries.iter().for_each(|primary| primary.proxy().cut_after(Way::Down, None));
        stage.cast.more(20).await;
    }
}

async fn one_of_many(stage: &Stage) {
    for _ in 0..5 {
        stage.victim().await.proxy().cut(Cut::Reset);
        stage.cast.more(20).await;
    }
}

async fn dead(stage: &Stage, way: Way) {
    stage.victim().await.proxy().deaden(way);
    stage.given_up(1, Duration::from_secs(4)).await;
}

async fn black_hole(stage: &Stage) {
    let victim = stage.victim().await;
    for way in [Way::Up, Way::Down] {
        victim.proxy().freeze(way);
    }
    // Once that there are no beacons, once that the next try to connect is not answered.
    stage.given_up(2, Duration::from_secs(8)).await;
    victim.proxy().thaw();
}

async fn slow(stage: &Stage) {
    let primaries = stage.ground.primaries().await;
    for primary in &primaries {
        primary.proxy().delay(Way::Up, Duration::from_millis(20));
        primary.proxy().delay(Way::Down, Duration::from_millis(100));
        primary.proxy().rate(Way::Down, Some(200_000));
    }
    for _ in 0..3 {
        stage.cast.more(60).await;
        primaries.iter().for_each(|primary| primary.proxy().cut(Cut::Reset));
    }
    // So long that it hardly helps that the line becomes better.
    stage.up_again(Duration::from_secs(25)).await;
    for primary in &primaries {
        primary.proxy().delay(Way::Up, Duration::ZERO);
        primary.proxy().delay(Way::Down, Duration::ZERO);
        primary.proxy().rate(Way::Down, None);
    }
}

async fn thin(stage: &Stage) {
    let (proxy, topics) = (stage.victim().await.proxy(), &stage.cast.topics);
    proxy.refuse();
    proxy.cut(Cut::Reset);
    for topic in topics.iter().cycle().take(3 * topics.len()) {
        stage.cast.source.publish_sized(&[topic], 30_000).await;
    }
    proxy.rate(Way::Down, Some(300_000));
    proxy.accept();
    // So long that it hardly helps that the line becomes better.
    stage.up_again(Duration::from_secs(20)).await;
    proxy.rate(Way::Down, None);
}

async fn output_buffer_overflow(stage: &Stage) {
    let victim = stage.victim().await;
    victim.proxy().rate(Way::Down, Some(20_000));
    stage.overflow(victim).await;
    victim.proxy().rate(Way::Down, None);
}
