//! Gateways and publishers that must show a certificate to all servers, and trust only one authority.

use std::sync::Arc;

use tidings_publisher::{Partitions, Publisher};
use tidings_tests::{Authority, Cluster, Layout, Sentinel, Server, Setup};

use super::Stage;
use super::cluster::slot_of;
use crate::on_each_server;

on_each_server!(behind_sentinel, over_a_cluster);

async fn stage(url: &str, authority: &Authority, partitions: Partitions) -> Stage {
    assert!(url.starts_with("rediss+"), "{url}");
    let (ca, (cert, key)) = (authority.ca(), authority.client());
    let text = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let gateways = Setup::redis(url).with("store.tls.ca", &text(ca.as_ref()));
    let gateways = gateways.with("store.tls.cert", &text(cert.as_ref())).with("store.tls.key", &text(key.as_ref()));
    let publisher = Publisher::builder(url).tls_ca(ca).tls_certificate(cert, key);
    Stage::of(gateways, publisher, partitions).await
}

async fn behind_sentinel(server: Server) {
    let authority = Arc::new(Authority::new());
    let topology = Sentinel::start(Layout::of(server).mutual_tls(&authority).password("secret")).await;
    let mut stage = stage(&topology.url(), &authority, Partitions::ONE).await;
    let cursor = stage.cursor();
    stage.publish_through(topology.crash_failover()).await;
    stage.come_back(&cursor).await;
    stage.assert_converged().await;
}

async fn over_a_cluster(server: Server) {
    let authority = Arc::new(Authority::new());
    let cluster = Cluster::start(Layout::of(server).mutual_tls(&authority).password("secret")).await;
    let mut stage = stage(&cluster.url(), &authority, Partitions::CLUSTER).await;
    let cursor = stage.cursor();
    stage.publish_through(cluster.crash_failover(slot_of("o/0"))).await;
    stage.come_back(&cursor).await;
    stage.assert_converged().await;
}
