//! `churn`: millions of short streams. Afterwards nothing of them may be left in the gateway, nor in its Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use tidings_publisher::Publisher;
use tidings_shared::Event;
use tokio::time::sleep;

use crate::bench::{Bench, Entrant};
use crate::child::Child;
use crate::figure::Figure;
use crate::options::Scenario;
use crate::plan::topic;
use crate::row::Row;
use crate::server::Server;
use crate::usage::Usage;
use crate::visitors::{Task, Visits};

/// Processes of visitors.
const CHILDREN: u8 = 2;
/// Visitors of a process that are there at a time.
const AT_ONCE: u32 = 200;
/// Addresses that they follow, three each.
const ADDRESSES: u32 = 20_000;
/// Parts in which they come; memory counts as warm after the first.
const PARTS: u32 = 10;
/// By how much memory may differ from that in the end.
const GROWTH: f64 = 1.10;
/// Addresses are let go of and followed anew all the time, and connections come as fast as they can.
const SETTINGS: [(&str, &str); 2] = [("replay.linger", "1s"), ("limits.rate", "0")];
/// From one publish to the next: streams carry something.
const PACE: Duration = Duration::from_millis(10);
/// How long the gateway may take to let go of all.
const PATIENCE: Duration = Duration::from_secs(60);
/// What must be nothing in the end.
const GAUGES: [&str; 5] = [
    "tidings_connections",
    "tidings_follows",
    "tidings_addresses_followed",
    "tidings_addresses_lingering",
    "tidings_queue_bytes",
];

/// Runs it once, on Redis, with one gateway.
pub async fn run(bench: &mut Bench, entrant: &Entrant) -> Vec<Row> {
    let asked = bench.options.set.clone();
    bench.options.set.extend(SETTINGS.map(|(key, value)| (key.to_owned(), value.to_owned())));
    let server = bench.start_on_redis(entrant).await;
    bench.options.set = asked;
    let Some(server) = server else { return Vec::new() };
    let count = if bench.options.quick { 2_000 } else { bench.options.connects };
    let mut row = Row::new(Scenario::Churn, &server, &format!("{AT_ONCE} × {CHILDREN} at a time"));
    let empty = channels(&server).await;
    let mut children: Vec<Child> = (1..=CHILDREN).map(|seed| child(&server, seed)).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let redis = server.redis().expect("a Redis").url();
    let publishing = tokio::spawn(publish(redis, stop.clone()));
    let (begun, usage) = (Instant::now(), server.usage());
    let (mut visits, mut warm, mut resting) = (Visits::default(), Usage::default(), Duration::ZERO);
    for part in 0..PARTS {
        bench.progress.say(&format!("churn: {} of {count} connects", count / PARTS * part));
        add(&mut visits, visit(&mut children, count / PARTS));
        row.curve.push((f64::from(visits.live + visits.abandoned), mib(server.usage())));
        if part == 0 {
            let rest = Instant::now();
            left(&server, empty).await;
            warm = Usage::settled(&server.spec.pids).await;
            resting = rest.elapsed();
        }
    }
    let (seconds, cpu) = ((begun.elapsed() - resting).as_secs_f64(), server.usage().seconds_since(usage));
    stop.store(true, Ordering::Relaxed);
    publishing.await.expect("the publisher ends");
    drop(children);
    let left = left(&server, empty).await;
    let end = Usage::settled(&server.spec.pids).await;
    let growth = end.rss as f64 / warm.rss as f64;
    // After few connects nothing is warm yet.
    row.kept = visits.failed == 0 && left.is_empty() && (bench.options.quick || growth <= GROWTH);
    row.add(Figure::Connects, f64::from(visits.live + visits.abandoned));
    row.add(Figure::Rate, f64::from(visits.live + visits.abandoned) / seconds);
    row.add(Figure::Seconds, seconds);
    row.add(Figure::CpuSeconds, cpu);
    row.add(Figure::RssNow, mib(end));
    row.add(Figure::Growth, growth);
    let Visits { live, abandoned, failed } = visits;
    row.notes.push(format!("{live} streams were live, {abandoned} were left before that, {failed} failed"));
    row.notes.push(if left.is_empty() { "nothing is left of them".to_owned() } else { format!("left: {left}") });
    vec![row]
}

fn mib(usage: Usage) -> f64 {
    usage.rss as f64 / 1024.0 / 1024.0
}

fn child(server: &Server, seed: u8) -> Child {
    let mut child = Child::start("visitors");
    let (address, stream) = (server.spec.address, server.spec.stream.clone());
    child.tell(&Task { server: address, stream, at_once: AT_ONCE, addresses: ADDRESSES, seed });
    child
}

fn visit(children: &mut [Child], count: u32) -> Visits {
    let share = count / children.len() as u32;
    children.iter_mut().for_each(|child| child.tell(&share));
    let mut sum = Visits::default();
    children.iter_mut().for_each(|child| add(&mut sum, child.answer()));
    sum
}

fn add(sum: &mut Visits, visits: Visits) {
    sum.live += visits.live;
    sum.abandoned += visits.abandoned;
    sum.failed += visits.failed;
}

async fn publish(redis: String, stop: Arc<AtomicBool>) {
    let publisher = Publisher::connect(redis).await.expect("Redis answers");
    let mut draw = Rng::with_seed(6);
    while !stop.load(Ordering::Relaxed) {
        publisher.publish(Event::refresh(topic(draw.u32(..ADDRESSES)))).await.expect("Redis stores it");
        sleep(PACE).await;
    }
}

/// Channels that the gateway is subscribed to.
async fn channels(server: &Server) -> usize {
    let redis = server.redis().expect("a Redis");
    redis.ask::<Vec<String>>("PUBSUB", &["CHANNELS"]).await.expect("PUBSUB").len()
}

/// What does not go back to nothing, by name; empty if all does.
async fn left(server: &Server, empty: usize) -> String {
    let gateway = server.as_gateway().expect("a gateway");
    let begun = Instant::now();
    loop {
        let metrics = gateway.metrics().await;
        let mut left: Vec<String> = Vec::new();
        for gauge in GAUGES {
            let value = metrics.sum(gauge, &[]);
            if !metrics.has(gauge) || value != 0.0 {
                left.push(format!("{gauge} {value}"));
            }
        }
        let more = channels(server).await.saturating_sub(empty);
        if more > 0 {
            left.push(format!("{more} channels"));
        }
        if left.is_empty() || begun.elapsed() > PATIENCE {
            return left.join(", ");
        }
        sleep(Duration::from_millis(200)).await;
    }
}
