//! Cluster: who serves a slot, and how it moves.

use std::cell::Cell;

use tidings_tests::proxy::Way;
use tidings_tests::wait::PATIENCE;
use tidings_tests::{Cluster, Layout, Server, eventually};

use crate::on_each_server;

on_each_server!(
    comes_up,
    fails_over_by_crash,
    fails_over_on_command,
    fails_over_from_a_frozen_primary,
    hides_behind_its_proxies,
    loses_what_was_held_back,
    moves_a_slot,
    moves_a_slot_under_load,
    grows_and_shrinks,
);

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

async fn fails_over_from_a_frozen_primary(server: Server) {
    let cluster = Cluster::start(server).await;
    let old = cluster.primary_of(0).await;
    old.freeze();
    assert_ne!(cluster.primary_of(0).await.addr(), old.addr());
    old.thaw();
    cluster.settled().await;
    assert_eq!(cluster.replicas_of(0).await[0].addr(), old.addr());
}

async fn hides_behind_its_proxies(server: Server) {
    let cluster = Cluster::start(Layout::of(server).proxied()).await;
    let (primary, replica) = (cluster.primary_of(0).await, cluster.replicas_of(0).await[0]);
    let ping = async || {
        let client = redis::Client::open(format!("redis://{}", primary.addr())).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await?;
        redis::cmd("PING").query_async::<String>(&mut connection).await
    };
    ping().await.unwrap();
    let writes = async || {
        primary.ask::<()>("SET", &["{06S}", "1"]).await.unwrap();
        replica.ask::<i64>("DBSIZE", &[]).await
    };
    primary.proxy().freeze(Way::Down);
    assert!(ping().await.is_err());
    assert_eq!(writes().await, Ok(0), "its replica comes through the proxy too");
    primary.proxy().thaw();
    eventually("its replica goes on", PATIENCE, async || writes().await == Ok(1)).await;
    ping().await.unwrap();
    assert_eq!(cluster.primary_of(0).await.addr(), primary.addr());
}

async fn loses_what_was_held_back(server: Server) {
    let cluster = Cluster::start(server).await;
    let slot = cluster.slot_of(KEY).await;
    let (old, replica) = (cluster.primary_of(slot).await, cluster.replicas_of(slot).await[0]);
    replica.hold_back().await;
    old.ask::<()>("SET", &[KEY, "1"]).await.expect("the primary does not notice");
    let new = cluster.crash_failover(slot).await;
    assert_eq!(new.addr(), replica.addr());
    let get = async || new.ask::<Option<String>>("GET", &[KEY]).await;
    eventually("the write is lost", PATIENCE, async || get().await == Ok(None)).await;
    new.let_through().await;
    old.start().await;
    cluster.settled().await;
    assert_eq!(old.ask("DBSIZE", &[]).await, Ok(0));
}

async fn moves_a_slot_under_load(server: Server) {
    let cluster = Cluster::start(server).await;
    let slot = cluster.slot_of(KEY).await;
    let (from, to) = (cluster.primary_of(slot).await, cluster.primary_of((slot + 8_192) % 16_384).await);
    let written = Cell::new(0);
    let write = async {
        loop {
            let args = [&format!("{KEY}:{}", written.get()), "1"];
            match from.ask::<()>("SET", &args).await {
                Ok(()) => {}
                Err(e) if e.code() == Some("ASK") => {
                    let mut asking = redis::pipe();
                    asking.cmd("ASKING").ignore().cmd("SET").arg(&args).ignore();
                    asking.query_async::<()>(&mut to.connection().await.unwrap()).await.unwrap();
                }
                Err(e) if e.code() == Some("MOVED") => to.ask::<()>("SET", &args).await.unwrap(),
                Err(e) => panic!("{e}"),
            }
            written.set(written.get() + 1);
        }
    };
    let some_more = async || {
        let least = written.get() + 50;
        eventually("more is written", PATIENCE, async || written.get() >= least).await;
    };
    let moves = async {
        some_more().await;
        let migration = cluster.migration(slot, to).await;
        some_more().await;
        assert!(migration.move_keys().await >= 50);
        some_more().await;
        migration.finish().await;
        some_more().await;
    };
    tokio::select! {
        () = write => unreachable!(),
        () = moves => {}
    }
    let count: i64 = to.ask("CLUSTER", &["COUNTKEYSINSLOT", &slot.to_string()]).await.unwrap();
    // The last one may have been on its way.
    assert!([written.get(), written.get() + 1].contains(&count), "{count} of {}", written.get());
    assert_eq!(from.ask("DBSIZE", &[]).await, Ok(0));
}

async fn grows_and_shrinks(server: Server) {
    let mut cluster = Cluster::start(server).await;
    let added = cluster.add().await.addr();
    let numbered = |cluster: &Cluster| cluster.nodes().iter().position(|node| node.addr() == added).unwrap();
    cluster.migrate(0, &cluster.nodes()[numbered(&cluster)]).await;
    assert_eq!(cluster.primary_of(0).await.addr(), added);
    let replica = cluster.add_replica(0).await.addr();
    assert_eq!(cluster.crash_failover(0).await.addr(), replica);
    cluster.nodes()[numbered(&cluster)].start().await;
    cluster.settled().await;
    let old = cluster.remove(numbered(&cluster)).await;
    cluster.settled().await;
    assert!(old.is_up() && cluster.replicas_of(0).await.is_empty());
}
