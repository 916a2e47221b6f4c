//! Subscriptions in Redis: they come and go with the connections that need them.

use std::time::Duration;

use tidings_tests::http::Transport;
use tidings_tests::proxy::{Cut, Way};
use tidings_tests::wait::PATIENCE;
use tidings_tests::{Client, Gateway, Proxy, Setup, Standalone, eventually};

/// One Redis behind a link, and a gateway whose addresses do not linger.
async fn stage() -> (Standalone, Proxy, Gateway) {
    let redis = Standalone::volatile().await;
    let link = Proxy::start(redis.addr()).await;
    let setup = Setup::redis(&format!("redis://{}", link.addr()));
    let gateway = setup.with("replay.linger", "0s").with("beacon.interval", "5s").start().await;
    (redis, link, gateway)
}

/// How many addresses are subscribed in Redis.
async fn subscribed(redis: &Standalone) -> usize {
    let channels: Vec<String> = redis.ask("PUBSUB", &["CHANNELS", "{tidings:0}:t:*"]).await.unwrap();
    channels.len()
}

/// Opens streams of a topic each and leaves them at once.
async fn come_and_go(gateway: &Gateway, count: usize) {
    let way = Transport::of_environment();
    for n in 0..count {
        let target = format!("/v1/events?topic=brief/{n}");
        let answer = way.get(gateway.public(), None, &target, &[]).await.unwrap();
        assert_eq!(answer.status, 200);
    }
    let connections = async || gateway.metrics().await.sum("tidings_connections", &[]);
    eventually("all have left", PATIENCE, async || connections().await == 0.0).await;
}

#[tokio::test]
async fn none_stays_that_was_left_before_redis_had_acknowledged_it() {
    let (redis, link, gateway) = stage().await;
    // Longer than the time between two looks at what nobody follows any more.
    link.delay(Way::Down, Duration::from_millis(1_500));
    come_and_go(&gateway, 40).await;
    eventually("nothing is subscribed", PATIENCE, async || subscribed(&redis).await == 0).await;
    let followed = async || gateway.metrics().await.sum("tidings_addresses_followed", &[]);
    eventually("nothing is followed", PATIENCE, async || followed().await == 0.0).await;
}

#[tokio::test]
async fn none_stays_that_was_left_while_redis_was_away() {
    let (redis, link, gateway) = stage().await;
    let kept = Client::open("kept", &[gateway.public()], &["kept"]);
    kept.ready().await;
    link.delay(Way::Down, Duration::from_millis(1_500));
    come_and_go(&gateway, 20).await;
    link.delay(Way::Down, Duration::ZERO);
    link.cut(Cut::Reset);
    eventually("only what is followed is subscribed", PATIENCE, async || subscribed(&redis).await == 1).await;
}
