//! Installations of one namespace on several databases of one server: Redis brings each of them the messages of all.

use tidings_publisher::Publisher;
use tidings_tests::wait::PATIENCE;
use tidings_tests::{Client, Gateway, Oracle, Setup, Source, Standalone, eventually};

async fn dropped(gateway: &Gateway) -> f64 {
    gateway.metrics().await.sum("tidings_events_foreign_total", &[])
}

#[tokio::test]
async fn installations_on_two_databases_leave_each_other_alone() {
    let redis = Standalone::volatile().await;
    let urls = [0, 1].map(|database| format!("{}/{database}", redis.url()));
    let oracle = Oracle::new();
    let (mut gateways, mut sources) = (Vec::new(), Vec::new());
    for url in &urls {
        gateways.push(Setup::redis(url).start().await);
        sources.push(Source::new(Publisher::builder(url).connect().await.unwrap(), &oracle));
    }
    let open = |n: usize| Client::open(&format!("client {n}"), &[gateways[n].public()], &["a", "b"]);
    let clients = [0, 1].map(open);
    for client in &clients {
        client.ready().await;
    }
    // Until each gateway has asked its server about the other installation, it resyncs what comes from there.
    for (n, gateway) in gateways.iter().enumerate() {
        eventually("the other installation is known", PATIENCE, async || {
            sources[1 - n].publish(&["a", "b"]).await;
            dropped(gateway).await > 0.0
        })
        .await;
    }
    let before = clients.each_ref().map(|client| client.record().resyncs().len());
    for _ in 0..100 {
        for (n, source) in sources.iter().enumerate() {
            let serial = source.publish(&["a", "b"]).await;
            clients[n].got(serial).await;
        }
    }
    // A reconnect to the same server forgets nothing of this.
    redis.kill_clients("pubsub").await;
    for (n, source) in sources.iter().enumerate() {
        gateways[n].ready().await;
        let serial = source.publish(&["a", "b"]).await;
        clients[n].got(serial).await;
    }
    assert_eq!(clients.each_ref().map(|client| client.record().resyncs().len()), before);
    for gateway in &gateways {
        assert!(dropped(gateway).await >= 200.0, "all of it came");
    }
}
