//! A log that nobody reads, or that nobody can write to.

use serde_json::Value;
use tidings_tests::proxy::Cut;
use tidings_tests::wait::PATIENCE;
use tidings_tests::{Client, Gateway, Proxy, eventually};

use crate::Stage;

/// Lost connections to Redis, each of which the reader logs: many times what the pipe holds.
const LOSSES: usize = 24;

/// Cuts the link until the log of the gateway must have filled its pipe.
async fn lose_redis_often(gateway: &Gateway, link: &Proxy) {
    for _ in 0..LOSSES {
        link.cut(Cut::Reset);
        // A gateway whose reader is stuck in its log does not come back: the checks of the test say so.
        let reconnects = gateway.metrics().await.sum("tidings_store_reconnects_total", &[]);
        tidings_tests::wait::perhaps(std::time::Duration::from_secs(1), async || {
            let metrics = gateway.metrics().await;
            metrics.sum("tidings_partition_up", &[]) == 1.0
                && metrics.sum("tidings_store_reconnects_total", &[]) >= reconnects
        })
        .await;
    }
}

#[tokio::test]
async fn events_go_on_while_nobody_reads_the_log() {
    let (link, stage) = Stage::linked().await;
    let gateway = &stage.gateways[0];
    let client = Client::open("client", &[gateway.public()], &["a"]);
    client.ready().await;
    gateway.hold_log();
    lose_redis_often(gateway, &link).await;
    gateway.ready().await;
    stage.source.publish(&["a"]).await;
    stage.oracle.settle([client.record()], PATIENCE).await.assert_all_delivered();
    assert_eq!(gateway.admin_get("/livez").await.0, 200);

    gateway.release_log();
    let connected = |line: &String| line.contains("connected to the store");
    eventually("the log is whole again", PATIENCE, async || {
        gateway.log().iter().filter(|line| connected(line)).count() > LOSSES / 2
    })
    .await;
    for line in gateway.log() {
        let json: Result<Value, _> = serde_json::from_str(&line);
        assert!(json.is_ok(), "a line that was cut: {line}");
    }
}

#[tokio::test]
async fn a_gateway_ends_while_nobody_reads_its_log() {
    let (link, stage) = Stage::linked().await;
    let gateway = &stage.gateways[0];
    gateway.hold_log();
    lose_redis_often(gateway, &link).await;
    gateway.terminate();
    assert!(gateway.exit().await.success());
}
