//! Promise 1 under fire: 10,000 events and more, 200 clients, three gateways, one Redis, twenty faults.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tidings_publisher::Publisher;
use tidings_shared::Partitions;
use tidings_tests::client::Options;
use tidings_tests::proxy::{Cut, Way};
use tidings_tests::wait::PATIENCE;
use tidings_tests::{Client, Gateway, Oracle, Poller, Proxy, Setup, Source, Standalone, eventually};

/// The order of faults of every ordinary run. To hunt, `TIDINGS_SOAK_SEED` sets another, and `TIDINGS_SOAK_PARTITIONS`
/// more partitions than one.
const SEED: u64 = 20_261_121;
const EVENTS: usize = 10_000;
const CLIENTS: usize = 200;
const TOPICS: usize = 40;
const FOLLOWED: usize = 6;
/// Clients that are slow at times. They follow one topic more, whose events fill their queues.
const SLOW: usize = 10;
const BULK: &str = "bulk";
const PUBLISHERS: usize = 4;
/// Events of each publisher in a second: about 200 in all.
const PACE: Duration = Duration::from_millis(20);

/// Each kind strikes twice, in an order drawn from the seed.
const FAULTS: [Fault; 20] = [
    Fault::ClientsLost,
    Fault::ClientsLost,
    Fault::ClientsSlow,
    Fault::ClientsSlow,
    Fault::GatewayKilled,
    Fault::GatewayKilled,
    Fault::GatewayTerminated,
    Fault::GatewayTerminated,
    Fault::StoreLinkReset,
    Fault::StoreLinkReset,
    Fault::StoreLinkFrozen,
    Fault::StoreLinkFrozen,
    Fault::StoreLinkCutMidway,
    Fault::StoreLinkCutMidway,
    Fault::SubscriptionsClosed,
    Fault::SubscriptionsClosed,
    Fault::RedisRestarted,
    Fault::RedisRestarted,
    Fault::RedisEmptied,
    Fault::RedisEmptied,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    ClientsLost,
    ClientsSlow,
    GatewayKilled,
    GatewayTerminated,
    StoreLinkReset,
    StoreLinkFrozen,
    StoreLinkCutMidway,
    SubscriptionsClosed,
    RedisRestarted,
    RedisEmptied,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ClientsLost => "a third of the clients lose their connection",
            Self::ClientsSlow => "ten clients stop reading until their queue has overflowed",
            Self::GatewayKilled => "a gateway is killed and comes back",
            Self::GatewayTerminated => "a gateway is told to end and comes back",
            Self::StoreLinkReset => "a gateway's link to Redis is reset and refused for a while",
            Self::StoreLinkFrozen => "a gateway's link to Redis falls silent until it notices",
            Self::StoreLinkCutMidway => "a gateway's link to Redis breaks within a message, again and again",
            Self::SubscriptionsClosed => "Redis closes all subscriptions",
            Self::RedisRestarted => "Redis is killed and comes back with its data",
            Self::RedisEmptied => "Redis is killed and comes back empty",
        })
    }
}

struct Fire {
    redis: Standalone,
    links: Vec<Proxy>,
    gateways: Vec<Gateway>,
    clients: Vec<Client>,
    source: Source,
    draw: fastrand::Rng,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_left_stale() {
    let begun = Instant::now();
    let given = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let seed = given("TIDINGS_SOAK_SEED").unwrap_or(SEED);
    let partitions = given("TIDINGS_SOAK_PARTITIONS").map_or(Partitions::ONE, |n| Partitions::new(n as u16).unwrap());
    let oracle = Oracle::of(partitions);
    let mut fire = Fire::start(&oracle, seed, partitions).await;
    let pollers = fire.pollers();
    for poller in &pollers {
        poller.ready().await;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let publishing: Vec<_> =
        (0..PUBLISHERS).map(|n| tokio::spawn(publish(fire.source.clone(), seed + n as u64, stop.clone()))).collect();
    let mut faults = FAULTS;
    fire.draw.shuffle(&mut faults);
    for (at, fault) in faults.iter().enumerate() {
        let due = EVENTS * (at + 1) / (FAULTS.len() + 1);
        eventually("publishing goes on", Duration::from_secs(60), async || oracle.stored() >= due).await;
        println!("{:>5.1} s, event {:>6}: {fault}", begun.elapsed().as_secs_f64(), oracle.stored());
        fire.strike(*fault).await;
        fire.whole().await;
    }
    eventually("all is published", Duration::from_secs(60), async || oracle.stored() >= EVENTS).await;
    stop.store(true, Ordering::Relaxed);
    for task in publishing {
        task.await.unwrap();
    }
    let records = || fire.clients.iter().map(Client::record).chain(pollers.iter().map(Poller::record));
    let verdict = oracle.settle(records(), PATIENCE).await;
    let connections: usize = fire.clients.iter().map(|client| client.record().connections()).sum();
    let faults = FAULTS.len();
    let count = partitions.count();
    println!(
        "{:.1} s, seed {seed}, partitions {count}, faults {faults}, connections {connections}\n{verdict}",
        begun.elapsed().as_secs_f64()
    );
    verdict.assert_kept();
    assert!(verdict.events >= EVENTS && verdict.clients >= CLIENTS);
    // Both ways out were taken: a run that only ever resyncs, or never has to, would show nothing.
    assert!(verdict.delivered > verdict.pairs / 2 && verdict.resynced > 0);
}

fn topic(n: usize) -> String {
    match n % 4 {
        3 => format!("@user-{n}"),
        _ => format!("orders/{n}"),
    }
}

/// Publishes at its pace, one in ten to two addresses, until it is stopped.
async fn publish(source: Source, seed: u64, stop: Arc<AtomicBool>) {
    let mut draw = fastrand::Rng::with_seed(seed);
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    while !stop.load(Ordering::Relaxed) {
        pace.tick().await;
        let (a, b) = (topic(draw.usize(..TOPICS)), topic(draw.usize(..TOPICS)));
        if draw.u8(..10) == 0 && a != b {
            source.publish(&[&a, &b]).await;
        } else {
            source.publish(&[&a]).await;
        }
    }
}

impl Fire {
    async fn start(oracle: &Arc<Oracle>, seed: u64, partitions: Partitions) -> Self {
        let redis = Standalone::durable().await;
        let (mut links, mut gateways) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let link = Proxy::start(redis.addr()).await;
            let setup = Setup::redis(&format!("redis://{}", link.addr()));
            let setup = setup.with("store.partitions", &partitions.count().to_string());
            // Addresses are forgotten and followed anew all the time. A slow client is slow, not dead.
            gateways.push(
                setup
                    .with("stream.queue", "16KiB")
                    .with("replay.linger", "1s")
                    .with("stream.heartbeat", "10s")
                    .with("stream.resync_spread", "2s")
                    .start()
                    .await,
            );
            links.push(link);
        }
        let publisher = Publisher::builder(redis.url()).partitions(partitions).connect().await.expect("Redis answers");
        let source = Source::new(publisher, oracle);
        let mut fire =
            Self { redis, links, gateways, clients: Vec::new(), source, draw: fastrand::Rng::with_seed(seed) };
        fire.clients = (0..CLIENTS).map(|n| fire.client(n)).collect();
        for client in &fire.clients {
            client.ready().await;
        }
        fire
    }

    /// The gateways, beginning with another one for each client.
    fn turned(&self, n: usize) -> Vec<SocketAddr> {
        let mut publics = tidings_tests::gateway::publics(&self.gateways);
        let turn = n % publics.len();
        publics.rotate_left(turn);
        publics
    }

    fn client(&self, n: usize) -> Client {
        let topics: Vec<String> = (0..FOLLOWED).map(|k| topic((n + k * 7) % TOPICS)).collect();
        let mut options = Options::new(&format!("client {n}"), &self.turned(n), &topics);
        if n < SLOW {
            options = options.with("topic", BULK).receive_buffer(4 * 1024);
        }
        options.retry_at_most(Duration::from_millis(300 + n as u64 % 100)).open()
    }

    fn pollers(&self) -> Vec<Poller> {
        let open = |n: usize| Poller::open(&format!("poller {n}"), &self.turned(n), &[topic(n), topic(n + 10)]);
        (0..5).map(open).collect()
    }
}

impl Fire {
    async fn strike(&mut self, fault: Fault) {
        let hit = self.draw.usize(..self.gateways.len());
        match fault {
            Fault::ClientsLost => self.clients.iter().skip(hit).step_by(3).for_each(Client::drop_connection),
            Fault::ClientsSlow => self.slow_clients().await,
            Fault::GatewayKilled => {
                self.gateways[hit].kill();
                self.more_events(150).await;
                self.gateways[hit].start().await;
            }
            Fault::GatewayTerminated => {
                self.gateways[hit].terminate();
                assert_eq!(self.gateways[hit].exit().await.code(), Some(0));
                self.gateways[hit].start().await;
            }
            Fault::StoreLinkReset => {
                self.links[hit].refuse();
                self.links[hit].cut(Cut::Reset);
                self.more_events(150).await;
                self.links[hit].accept();
            }
            Fault::StoreLinkFrozen => {
                self.links[hit].freeze(if self.draw.bool() { Way::Up } else { Way::Down });
                let gateway = &self.gateways[hit];
                gateway.degraded().await;
                self.links[hit].thaw();
            }
            Fault::StoreLinkCutMidway => {
                self.links[hit].cut_after(Way::Down, Some(self.draw.u64(2_000..6_000)));
                self.more_events(150).await;
                self.links[hit].cut_after(Way::Down, None);
                self.links[hit].cut(Cut::Fin);
            }
            Fault::SubscriptionsClosed => self.redis.kill_clients("pubsub").await,
            Fault::RedisRestarted => self.redis.restart().await,
            Fault::RedisEmptied => self.redis.restart_empty().await,
        }
    }

    async fn slow_clients(&self) {
        let overflows = async || {
            let mut sum = 0.0;
            for gateway in &self.gateways {
                sum += gateway.metrics().await.sum("tidings_resyncs_total", &[("reason", "slow")]);
            }
            sum
        };
        let before = overflows().await;
        let slow = &self.clients[..SLOW];
        slow.iter().for_each(Client::pause);
        eventually("queues overflow", PATIENCE, async || {
            for _ in 0..20 {
                self.source.publish_sized(&[BULK], 16 * 1024).await;
            }
            overflows().await > before
        })
        .await;
        slow.iter().for_each(Client::resume);
    }

    /// Lets publishing go on for so many events.
    async fn more_events(&self, count: usize) {
        let due = self.source.oracle().stored() + count;
        eventually("publishing goes on", PATIENCE, async || self.source.oracle().stored() >= due).await;
    }

    /// Waits until every gateway is ready again.
    async fn whole(&self) {
        for gateway in &self.gateways {
            gateway.ready().await;
        }
    }
}
