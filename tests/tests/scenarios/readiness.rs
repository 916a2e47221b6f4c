//! What probes and new clients are told while Redis is away.

use std::time::{Duration, Instant};

use tidings_tests::client::Options;
use tidings_tests::record::What;
use tidings_tests::wait::PATIENCE;
use tidings_tests::{Client, Proxy, Setup, Standalone, eventually, http};

use crate::{Stage, memory};

/// Longer than the 30 s after which a reader that has no turn counts as dead.
const OUTAGE: Duration = Duration::from_secs(32);
/// Longer than the 5 s after which a gateway is not ready if its reader has no turn.
const STOPPED: Duration = Duration::from_secs(6);

#[tokio::test]
async fn alive_and_degraded_while_redis_is_away() {
    let mut stage = Stage::of(1).await;
    let Stage { redis, gateways, source, oracle } = &mut stage;
    let gateway = &gateways[0];
    let client = Client::open("client", &[gateway.public()], &["a"]);
    client.ready().await;
    assert_eq!(gateway.metrics().await.sum("tidings_partition_up", &[("partition", "0")]), 1.0);
    redis.kill();
    gateway.degraded().await;
    let (status, detail) = gateway.admin_get("/readyz").await;
    let json: serde_json::Value = serde_json::from_str(&detail).unwrap();
    assert_eq!((status, &json["ready"], &json["degraded"]), (200, &true.into(), &true.into()), "{detail}");
    assert!(json["reasons"][0].as_str().unwrap().starts_with("partition 0: "), "{detail}");
    assert_eq!(gateway.admin_get("/livez").await.0, 200);
    assert_eq!(gateway.metrics().await.sum("tidings_partition_up", &[("partition", "0")]), 0.0);
    assert_eq!(gateway.metrics().await.sum("tidings_degraded", &[]), 1.0);
    assert_eq!(client.record().count(|what| matches!(what, What::Lost { .. })), 0, "its stream goes on");
    redis.start().await;
    gateway.ready().await;
    let (_, detail) = gateway.admin_get("/readyz").await;
    assert!(detail.contains(r#""degraded":false"#) && !detail.contains("reasons"), "{detail}");
    assert_eq!(gateway.metrics().await.sum("tidings_degraded", &[]), 0.0);
    source.publish(&["a"]).await;
    oracle.settle([client.record()], PATIENCE).await.assert_kept();
}

/// Longer than any threshold of readiness and liveness. A restart mends no outage.
#[tokio::test]
async fn an_outage_longer_than_every_threshold_fails_strict_readiness_alone() {
    let stage = Stage::of(1).await;
    let gateway = &stage.gateways[0];
    stage.redis.kill();
    gateway.degraded().await;
    let started = Instant::now();
    eventually("the outage is long", OUTAGE + PATIENCE, async || {
        assert_eq!(gateway.admin_get("/livez").await, (200, "ok\n".to_owned()));
        assert_eq!(gateway.admin_get("/readyz").await.0, 200);
        assert_eq!(gateway.strict_readiness().await.0, 503);
        started.elapsed() > OUTAGE
    })
    .await;
}

/// The clocks of a process that was stopped are ahead of its last turns when it goes on.
#[tokio::test]
async fn a_process_that_was_stopped_is_alive_and_ready_when_it_goes_on() {
    let stage = Stage::of(1).await;
    let gateway = &stage.gateways[0];
    gateway.freeze();
    tokio::time::sleep(STOPPED).await;
    gateway.thaw();
    assert_eq!(gateway.admin_get("/livez").await.0, 200);
    assert_eq!(gateway.admin_get("/readyz").await.0, 200);
}

#[tokio::test]
async fn strict_takes_one_or_nothing() {
    let (gateway, _, _) = memory(|setup| setup).await;
    for (query, status) in [("strict=1", 200), ("strict=0", 200), ("cache=7", 200), ("strict=yes", 400)] {
        let (got, body) = gateway.admin_get(&format!("/readyz?{query}")).await;
        assert_eq!(got, status, "{query}: {body}");
        assert!(status == 200 || body.contains("expected 1 or 0"), "{body}");
    }
}

#[tokio::test]
async fn a_connection_in_an_outage_is_told_to_come_again() {
    let mut stage = Stage::of(1).await;
    let Stage { redis, gateways, source, oracle } = &mut stage;
    let gateway = &gateways[0];
    redis.kill();
    gateway.degraded().await;
    let transport = http::Transport::of_environment();
    let mut response = transport.get(gateway.public(), None, "/v1/events?topic=new", &[]).await.unwrap();
    assert_eq!((response.status, response.header("content-type").unwrap_or_default()), (200, "text/event-stream"));
    let (body, end) = response.body.all().await.unwrap_or((Vec::new(), http::Part::Cut));
    let text = String::from_utf8(body).unwrap();
    assert!(text.starts_with("retry: ") && text.ends_with("data: {\"reason\":\"store\"}\n\n"), "{text:?}");
    assert_eq!(end, http::Part::Cut);
    let client = Options::new("patient", &[gateway.public()], &["new"]).open();
    redis.start().await;
    client.ready().await;
    source.publish(&["new"]).await;
    oracle.settle([client.record()], PATIENCE).await.assert_all_delivered();
}

#[tokio::test]
async fn publishing_in_an_outage_fails_and_says_when_to_try_again() {
    let stage = Stage::of(1).await;
    stage.redis.kill();
    let gateway = &stage.gateways[0];
    gateway.degraded().await;
    let request = reqwest::Client::new().post(format!("{}/v1/publish", gateway.url())).body("{\"to\":\"a\"}");
    let response = request.header("content-type", "application/json").send().await.unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!(response.headers()["content-type"], "application/problem+json");
}

#[tokio::test]
async fn a_gateway_that_starts_before_redis_becomes_ready_with_it() {
    let redis = Standalone::volatile().await;
    redis.kill();
    let gateway = Setup::redis(&redis.url()).start_unready().await;
    let (status, _) = gateway.admin_get("/readyz").await;
    assert_eq!(status, 503);
    let client = Client::open("early", &[gateway.public()], &["a"]);
    redis.start().await;
    gateway.ready().await;
    client.ready().await;
    assert_eq!(client.record().faults(), [""; 0]);
}

#[tokio::test]
async fn one_deaf_gateway_does_not_make_the_others_unready() {
    let stage = Stage::of(1).await;
    let link = Proxy::start(stage.redis.addr()).await;
    let deaf = Setup::redis(&format!("redis://{}", link.addr())).start().await;
    link.freeze(tidings_tests::proxy::Way::Down);
    deaf.degraded().await;
    assert_eq!(stage.gateways[0].admin_get("/readyz").await.0, 200);
    // A client that asks the deaf one first ends up at the other.
    let client = Client::open("client", &[deaf.public(), stage.gateways[0].public()], &["a"]);
    client.ready().await;
    stage.source.publish(&["a"]).await;
    stage.oracle.settle([client.record()], PATIENCE).await.assert_all_delivered();
}

#[tokio::test]
async fn the_embedded_store_is_ready_at_once() {
    let (gateway, _, _) = memory(|setup| setup).await;
    assert_eq!(gateway.admin_get("/livez").await.0, 200);
    assert_eq!(gateway.admin_get("/readyz").await.0, 200);
}

#[tokio::test]
async fn a_policy_that_changes_is_told_without_a_new_connection() {
    let stage = Stage::of(1).await;
    let gateway = &stage.gateways[0];
    for (policy, keeps) in [("allkeys-lru", 0.0), ("noeviction", 1.0)] {
        stage.redis.ask::<()>("CONFIG", &["SET", "maxmemory-policy", policy]).await.unwrap();
        eventually("readiness and the metric tell it", PATIENCE, async || {
            let told = gateway.admin_get("/readyz").await.1.contains(&format!(r#""policy":"{policy}""#));
            told && gateway.metrics().await.sum("tidings_noeviction", &[]) == keeps
        })
        .await;
    }
    assert_eq!(gateway.metrics().await.sum("tidings_store_reconnects_total", &[]), 0.0);
}
