//! `rollout`: three gateways on one Redis are replaced one by one while events are published.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use tidings_tests::client::Options;
use tidings_tests::gateway::publics;
use tidings_tests::{Client, Gateway, Setup, Standalone, eventually};
use tokio::time::{MissedTickBehavior, interval};

use crate::bench::Bench;
use crate::figure::Figure;
use crate::latency;
use crate::ledger::{Ledger, latencies};
use crate::options::Scenario;
use crate::plan::Plan;
use crate::row::Row;
use crate::server::tuned;

const GATEWAYS: usize = 3;
const PLAN: Plan = Plan::Mixed { topics: 100 };
/// The most clients: each is a strict one that records all it sees.
const CLIENTS: u32 = 1_500;
/// Over how long the streams of a gateway end.
const WINDOW: &str = "5s";
/// From one event to the next.
const PACE: Duration = Duration::from_millis(5);
/// How long a gateway may take to end, to be ready, and clients to be where they should be.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs it once.
pub async fn run(bench: &mut Bench) -> Vec<Row> {
    let redis = Standalone::volatile().await;
    let setup = Setup::redis(&redis.url()).with("server.workers", "1").with("drain.window", WINDOW);
    let setup = tuned(setup, &bench.options);
    let mut gateways = setup.start_many(GATEWAYS).await;
    let count = bench.options.connections.min(CLIENTS);
    let clients: Vec<Client> = (0..count).map(|n| client(n, &gateways)).collect();
    eventually("the clients are live", PATIENCE, async || {
        clients.iter().all(|client| client.record().first_ready().is_some())
    })
    .await;
    let ledger = Ledger::open(&redis.url()).await;
    let stop = Arc::new(AtomicBool::new(false));
    let publishing = tokio::spawn(publish(ledger.clone(), count, stop.clone()));
    let begun = Instant::now();
    for at in 0..GATEWAYS {
        bench.progress.say(&format!("rollout: gateway {} of {GATEWAYS}", at + 1));
        replace(&mut gateways[at]).await;
        back(&clients, &gateways).await;
    }
    let seconds = begun.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    publishing.await.expect("the publisher ends");
    vec![judge(&ledger, &clients, seconds).await]
}

/// Each begins at another gateway, and takes the next when it loses one, as behind a load balancer.
fn client(n: u32, gateways: &[Gateway]) -> Client {
    let mut publics = publics(gateways);
    publics.rotate_left(n as usize % GATEWAYS);
    Options::new(&format!("client {n}"), &publics, &PLAN.follows(n)).open()
}

async fn publish(ledger: Ledger, connections: u32, stop: Arc<AtomicBool>) {
    let (mut draw, mut pace) = (Rng::with_seed(5), interval(PACE));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !stop.load(Ordering::Relaxed) {
        pace.tick().await;
        ledger.publish(&PLAN.draw(connections, &mut draw), 200).await;
    }
}

async fn replace(gateway: &mut Gateway) {
    gateway.terminate();
    eventually("a gateway ends", PATIENCE, async || !gateway.is_up()).await;
    gateway.start().await;
    gateway.ready().await;
}

/// Waits until the gateways have all clients again, so that the next one may go.
async fn back(clients: &[Client], gateways: &[Gateway]) {
    eventually("all clients are back", PATIENCE, async || {
        let mut open = 0.0;
        for gateway in gateways {
            open += gateway.metrics().await.sum("tidings_connections", &[]);
        }
        open >= clients.len() as f64
    })
    .await;
}

async fn judge(ledger: &Ledger, clients: &[Client], seconds: f64) -> Row {
    let records = || clients.iter().map(Client::record);
    let verdict = ledger.oracle().settle(records(), PATIENCE).await;
    let mut histogram = latency::empty();
    records().flat_map(|record| latencies(record)).for_each(|micros| histogram.saturating_record(micros));
    let mut row = Row {
        scenario: Scenario::Rollout,
        server: format!("gateway, {GATEWAYS} replicas"),
        case: format!("{} clients, {} events", verdict.clients, verdict.events),
        ours: true,
        kept: verdict.is_kept() && verdict.pairs > 0,
        figures: Vec::new(),
        notes: Vec::new(),
        curve: latency::curve(&histogram),
    };
    let connections: usize = records().map(|record| record.connections()).sum();
    row.notes.push(format!("{connections} connections in all"));
    if !row.kept {
        row.notes.push(verdict.to_string().replace('\n', "; "));
    }
    row.add(Figure::Delivered, verdict.delivered as f64);
    row.add(Figure::Expected, verdict.pairs as f64);
    row.add(Figure::Resynced, verdict.resynced as f64);
    latency::add_figures(&mut row, &histogram);
    row.add(Figure::Seconds, seconds);
    row
}
