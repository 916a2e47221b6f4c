//! A namespace that gets another count of partitions: who comes with a cursor of the count before fetches all again.

use std::collections::HashSet;

use tidings_publisher::{Partitions, Publisher};
use tidings_tests::wait::PATIENCE;
use tidings_tests::{Client, Cluster, Gateway, Oracle, Server, Setup, Source};

use super::TOPICS;
use crate::on_each_server;

on_each_server!(count_changed_and_back);

async fn count_changed_and_back(server: Server) {
    let cluster = Cluster::start(server).await;
    let counts = [Partitions::CLUSTER, Partitions::new(32).unwrap()];
    let mut gateways: Vec<Gateway> = Vec::new();
    let mut sources: Vec<Source> = Vec::new();
    let oracle = Oracle::of(Partitions::CLUSTER);
    for count in counts {
        let setup = Setup::redis(&cluster.url()).with("store.partitions", &count.count().to_string());
        gateways.push(setup.start().await);
        let publisher = Publisher::builder(cluster.url()).partitions(count).connect().await.unwrap();
        sources.push(Source::new(publisher, &oracle));
    }
    gateways[1].kill();
    let topics: Vec<String> = (0..TOPICS).map(|n| format!("o/{n}")).collect();
    let everywhere = [gateways[0].public(), gateways[1].public()];
    let client = Client::open("client", &everywhere, &topics);
    client.ready().await;
    publish_to_all(&sources[0], &topics, &client).await;
    assert_eq!(client.record().resyncs(), []);
    for (round, (from, to)) in [(0, 1), (1, 0)].into_iter().enumerate() {
        let before = client.record().resyncs().len();
        gateways[from].kill();
        gateways[to].start().await;
        gateways[to].ready().await;
        client.ready_times(round + 2).await;
        let told = |resyncs: &[(String, String)]| resyncs[before..].iter().cloned().collect::<HashSet<_>>();
        let all: HashSet<_> = topics.iter().map(|topic| (topic.clone(), "cursor".to_owned())).collect();
        client.record().until("all is resynced", PATIENCE, |record| told(&record.resyncs()) == all).await;
        publish_to_all(&sources[to], &topics, &client).await;
    }
}

async fn publish_to_all(source: &Source, topics: &[String], client: &Client) {
    let mut serials = Vec::new();
    for topic in topics {
        serials.push(source.publish(&[topic]).await);
    }
    for serial in serials {
        client.got(serial).await;
    }
}
