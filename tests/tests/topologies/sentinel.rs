//! Sentinel: who is the primary, and what of the others.

use tidings_tests::wait::PATIENCE;
use tidings_tests::{Layout, Sentinel, Server, eventually};

use crate::on_each_server;

on_each_server!(comes_up, fails_over_by_crash, fails_over_on_command, loses_what_was_held_back, changes_its_password);

async fn comes_up(server: Server) {
    let topology = Sentinel::start(server).await;
    let primary = topology.primary().await;
    assert_eq!(primary.addr(), topology.nodes()[0].addr());
    assert_eq!(topology.replicas().await.len(), 2);
    primary.ask::<()>("SET", &["a", "1"]).await.unwrap();
    for replica in topology.replicas().await {
        eventually("it has the key", PATIENCE, async || replica.ask("GET", &["a"]).await == Ok("1".to_owned())).await;
        let refused = replica.ask::<()>("SET", &["a", "2"]).await.unwrap_err();
        assert_eq!(refused.code(), Some("READONLY"), "{refused}");
    }
}

async fn fails_over_by_crash(server: Server) {
    let topology = Sentinel::start(Layout::of(server).password("secret").proxied()).await;
    let old = topology.primary().await;
    let new = topology.crash_failover().await;
    assert!(!old.is_running() && new.addr() != old.addr());
    new.ask::<()>("SET", &["a", "1"]).await.unwrap();
    old.start().await;
    topology.settled().await;
    assert_eq!(topology.primary().await.addr(), new.addr());
    assert_eq!(old.ask("GET", &["a"]).await, Ok("1".to_owned()), "the old primary follows the new one");
}

async fn fails_over_on_command(server: Server) {
    let topology = Sentinel::start(server).await;
    let old = topology.primary().await;
    let new = topology.failover().await;
    assert!(old.is_running() && new.addr() != old.addr());
    topology.settled().await;
    assert_eq!(old.info("role").await.as_deref(), Some("slave"));
}

async fn loses_what_was_held_back(server: Server) {
    let topology = Sentinel::start(server).await;
    let old = topology.primary().await;
    let replicas = topology.replicas().await;
    for replica in &replicas {
        replica.hold_back().await;
    }
    old.ask::<()>("SET", &["a", "1"]).await.expect("the primary does not notice");
    let new = topology.crash_failover().await;
    assert_eq!(new.ask("GET", &["a"]).await, Ok(None::<String>), "the write is lost");
    for replica in &replicas {
        replica.let_through().await;
    }
    old.start().await;
    topology.settled().await;
    assert_eq!(old.ask("GET", &["a"]).await, Ok(None::<String>));
}

async fn changes_its_password(server: Server) {
    let topology = Sentinel::start(Layout::of(server).password("old")).await;
    topology.set_password("new").await;
    for node in topology.nodes() {
        node.kill_clients("normal").await;
        node.kill_clients("replica").await;
    }
    topology.settled().await;
    let old = topology.primary().await.addr();
    assert_ne!(topology.failover().await.addr(), old);
}
