//! Cluster: who serves a slot, and how it moves.

use tidings_tests::wait::PATIENCE;
use tidings_tests::{Cluster, Layout, Server, eventually};

use crate::on_each_server;

on_each_server!(comes_up, fails_over_by_crash, fails_over_on_command, moves_a_slot);

const KEY: &str = "{tidings:0}:j";

async fn comes_up(server: Server) {
    let cluster = Cluster::start(server).await;
    for slot in [0, 5_461, 16_383] {
        assert_eq!(cluster.replicas_of(slot).await.len(), 1, "{slot}");
    }
    let slot = cluster.slot_of(KEY).await;
    let (primary, replica) = (cluster.primary_of(slot).await, cluster.replicas_of(slot).await[0]);
    primary.ask::<()>("SET", &[KEY, "1"]).await.unwrap();
    eventually("its replica has it", PATIENCE, async || replica.ask("DBSIZE", &[]).await == Ok(1)).await;
    let moved = replica.ask::<()>("SET", &[KEY, "2"]).await.unwrap_err();
    assert_eq!(moved.redirect_node(), Some((primary.addr().to_string().as_str(), slot)));
}

async fn fails_over_by_crash(server: Server) {
    let cluster = Cluster::start(Layout::of(server).password("secret").proxied()).await;
    let slot = cluster.slot_of(KEY).await;
    let old = cluster.primary_of(slot).await;
    let new = cluster.crash_failover(slot).await;
    assert!(!old.is_running() && new.addr() != old.addr());
    eventually("it takes writes", PATIENCE, async || new.ask::<()>("SET", &[KEY, "1"]).await.is_ok()).await;
    old.start().await;
    cluster.settled().await;
    assert_eq!(cluster.primary_of(slot).await.addr(), new.addr());
    assert_eq!(cluster.replicas_of(slot).await[0].addr(), old.addr());
}

async fn fails_over_on_command(server: Server) {
    let cluster = Cluster::start(server).await;
    let old = cluster.primary_of(0).await;
    let new = cluster.failover(0).await;
    assert!(old.is_running() && new.addr() != old.addr());
    cluster.settled().await;
    assert_eq!(cluster.replicas_of(0).await[0].addr(), old.addr());
}

async fn moves_a_slot(server: Server) {
    let cluster = Cluster::start(server).await;
    let slot = cluster.slot_of(KEY).await;
    let from = cluster.primary_of(slot).await;
    let to = cluster.primary_of((slot + 8_192) % 16_384).await;
    from.ask::<()>("SET", &[KEY, "1"]).await.unwrap();
    let migration = cluster.migration(slot, to).await;
    assert_eq!(from.ask("GET", &[KEY]).await, Ok("1".to_owned()), "not yet moved");
    assert_eq!(migration.move_keys().await, 1);
    let asked = from.ask::<()>("GET", &[KEY]).await.unwrap_err();
    assert_eq!((asked.code(), asked.redirect_node().map(|(_, slot)| slot)), (Some("ASK"), Some(slot)));
    migration.finish().await;
    assert_eq!(cluster.primary_of(slot).await.addr(), to.addr());
    assert_eq!(to.ask("GET", &[KEY]).await, Ok("1".to_owned()));
}
