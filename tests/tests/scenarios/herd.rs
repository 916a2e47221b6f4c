//! What many must refetch they are told one by one, and nobody is forgotten meanwhile.

use std::time::Duration;

use tidings_tests::gateway::publics;
use tidings_tests::poller;
use tidings_tests::record::What;
use tidings_tests::wait::PATIENCE;
use tidings_tests::{Client, Gateway, Setup, Source, eventually};

use crate::{Stage, all_ready, memory};

const WINDOW: Duration = Duration::from_secs(3);

fn spread(setup: Setup) -> Setup {
    setup.with("stream.resync_spread", "3s")
}

fn herd(count: usize, gateways: &[std::net::SocketAddr]) -> Vec<Client> {
    (0..count).map(|n| Client::open(&format!("client {n}"), gateways, &["a", "b"])).collect()
}

/// Waits until each was told to refetch both addresses, and looks at when: once each, over the window, not in a heap.
async fn told_over_the_window(clients: &[Client]) {
    let mut moments = Vec::new();
    for client in clients {
        let record = client.record();
        record.until("is told of both addresses", PATIENCE, |record| record.resynced().len() == 2).await;
        assert_eq!(record.resyncs().len(), 2, "{record}");
        let first = |entries: &[tidings_tests::record::Entry]| {
            entries.iter().find(|entry| matches!(entry.what, What::Resync { .. })).map(|entry| entry.at)
        };
        moments.extend(record.look(first));
    }
    moments.sort_unstable();
    let after = |n: usize| Duration::from_micros(moments[n] - moments[0]);
    // Half of 50 random moments lie in a tenth of their time in no run that anybody will see.
    assert!(after(clients.len() / 2) > WINDOW / 10, "half of all after {:?}", after(clients.len() / 2));
    assert!(after(clients.len() - 1) < 2 * WINDOW, "the last after {:?}", after(clients.len() - 1));
}

async fn waiting(gateway: &Gateway) -> f64 {
    gateway.metrics().await.sum("tidings_delayed", &[])
}

#[tokio::test]
async fn when_redis_comes_back_without_its_data() {
    let stage = Stage::with(1, spread).await;
    let clients = herd(50, &publics(&stage.gateways));
    all_ready(&clients).await;
    stage.source.publish_many(&["a", "b"], 5).await;
    stage.redis.restart_empty().await;
    told_over_the_window(&clients).await;
    stage.source.publish_many(&["a", "b"], 5).await;
    stage.oracle.settle(clients.iter().map(Client::record), PATIENCE).await.assert_kept();
    assert!(clients.iter().all(|client| client.record().connections() == 1), "some lost their connection");
    eventually("nothing is held back any more", PATIENCE, async || waiting(&stage.gateways[0]).await == 0.0).await;
}

#[tokio::test]
async fn when_all_come_back_to_a_gateway_without_history() {
    let (gateway, oracle, source) = memory(spread).await;
    let clients = herd(50, &[gateway.public()]);
    all_ready(&clients).await;
    let last = source.publish_many(&["a", "b"], 5).await;
    for client in &clients {
        client.got(last).await;
    }
    let before = clients[0].record().cursor().unwrap();
    gateway.kill();
    gateway.start().await;
    for client in &clients {
        client.ready_times(2).await;
    }
    told_over_the_window(&clients).await;
    let source = Source::connect(&gateway.url(), &oracle).await;
    source.publish_many(&["a", "b"], 5).await;
    oracle.settle(clients.iter().map(Client::record), PATIENCE).await.assert_kept();
    // A poll is over before its moment would come, so it does not wait for one.
    let query = [("topic", "a"), ("cursor", &before), ("wait", "0s")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    let answer = poller::poll(&reqwest::Client::new(), gateway.public(), &query).await.unwrap();
    assert!(answer.events.iter().any(|event| event.get().contains("\"resync\":true")), "{:?}", answer.events);
}

/// All begin at a gateway that would tell them within an hour, and go on at one that tells them at once.
#[tokio::test]
async fn who_leaves_before_its_moment_is_told_elsewhere() {
    let mut stage = Stage::of(0).await;
    for spread in ["1h", "0s"] {
        stage.gateways.push(Setup::redis(&stage.redis.url()).with("stream.resync_spread", spread).start().await);
    }
    let clients = herd(10, &publics(&stage.gateways));
    all_ready(&clients).await;
    stage.redis.restart_empty().await;
    eventually("all resyncs wait", PATIENCE, async || waiting(&stage.gateways[0]).await == 20.0).await;
    // It moves nobody on: what comes under its id would be taken for all that there is.
    let live = stage.source.publish(&["a"]).await;
    for client in &clients {
        client.got(live).await;
        assert!(client.record().resyncs().is_empty(), "{}", client.record());
    }
    clients[..5].iter().for_each(Client::drop_connection);
    for client in &clients[..5] {
        client.record().until("is told", PATIENCE, |record| record.resynced().len() == 2).await;
    }
    eventually("those that left wait no more", PATIENCE, async || waiting(&stage.gateways[0]).await == 10.0).await;
    stage.gateways[0].terminate();
    for client in &clients[5..] {
        client.record().until("is told", PATIENCE, |record| record.resynced().len() == 2).await;
    }
    stage.source.publish_many(&["a", "b"], 5).await;
    stage.oracle.settle(clients.iter().map(Client::record), PATIENCE).await.assert_kept();
}
