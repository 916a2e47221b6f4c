//! `hostile`: honest streams while a client without rights attacks in all ways at once, and
//! while as many harmless requests come instead.

use std::time::{Duration, Instant};

use fastrand::Rng;
use tidings_publisher::{Event, Publisher};
use tidings_tests::metrics::Metrics;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::attackers::{AttackPhase, AttackTally, AttackTask, FILES};
use crate::bench::{Bench, Entrant};
use crate::child::Child;
use crate::cores::CoreSplit;
use crate::crowd::Crowd;
use crate::figure::Figure;
use crate::latency;
use crate::options::Scenario;
use crate::plan::Plan;
use crate::resumes::{ResumeProbe, ResumeTimes, resumed_address};
use crate::row::Row;
use crate::verdict::Published;

/// Honest streams, if so many connections are asked for.
const HONEST: u32 = 2_000;
/// Topics that they follow.
const TOPICS: u32 = 100;
/// Honest events a second.
const RATE: u32 = 100;
/// How long a phase is.
const LASTS: Duration = Duration::from_secs(10);
/// The same where figures are worth nothing.
const LASTS_QUICK: Duration = Duration::from_secs(2);
/// Divides all rates then.
const QUICK: u32 = 10;
/// Clients that come back in a second.
const RESUMES: u32 = 10;
/// Events that each of them missed.
const MISSED: usize = 3;
/// From one look at the memory to the next.
const LOOK: Duration = Duration::from_millis(100);
/// Sockets that may be open besides honest streams.
const SPARE: f64 = 10.0;
/// How long the gateway may take to let go of a phase.
const PATIENCE: Duration = Duration::from_secs(20);

/// A gateway on a core of its own, with honest streams, and attackers elsewhere.
struct Hostile {
    crowd: Crowd,
    attackers: Child,
    probe: ResumeProbe,
    publisher: Publisher,
    lasts: Duration,
    divisor: u32,
}

/// The figures of one phase.
struct PhaseFigures {
    row: Row,
    delivery_p99: f64,
    resume_p50: f64,
    resume_p99: f64,
    most_rss: f64,
}

/// Measures one gateway: with harmless requests, then with attacks.
pub async fn run(bench: &mut Bench, entrant: &Entrant) -> Vec<Row> {
    let cores = CoreSplit::begin();
    let hostile = Hostile::begin(bench, entrant, cores.as_ref()).await;
    let Some(mut hostile) = hostile else { return Vec::new() };
    let mut harmless = hostile.run_phase(bench, false).await;
    hostile.rest(&mut harmless.row).await;
    let mut harmful = hostile.run_phase(bench, true).await;
    hostile.rest(&mut harmful.row).await;
    if !bench.options.quick {
        let ratio = |harmful: f64, harmless: f64| harmful / harmless.max(0.001);
        let row = &mut harmful.row;
        row.add(Figure::P99ToHarmless, ratio(harmful.delivery_p99, harmless.delivery_p99));
        row.add(Figure::ResumeP50ToHarmless, ratio(harmful.resume_p50, harmless.resume_p50));
        row.add(Figure::ResumeP99ToHarmless, ratio(harmful.resume_p99, harmless.resume_p99));
        row.add(Figure::RssOverHarmless, harmful.most_rss - harmless.most_rss);
    }
    if cores.is_none() {
        harmful.row.notes.push("the gateway shares the only core with all others".to_owned());
    }
    vec![harmless.row, harmful.row]
}

impl Hostile {
    async fn begin(bench: &mut Bench, entrant: &Entrant, cores: Option<&CoreSplit>) -> Option<Self> {
        let server = bench.start_limited(entrant, FILES).await?;
        if let Some(cores) = cores {
            server.spec.pids.iter().for_each(|pid| cores.give_first(*pid));
        }
        let gateway = server.as_gateway()?;
        let (public, admin) = (gateway.public(), gateway.admin());
        let publisher = Publisher::connect(server.redis()?.url()).await.expect("Redis answers");
        let honest = HONEST.min(bench.options.connections);
        let crowd = Crowd::gather(bench, server, Plan::Mixed { topics: TOPICS }, honest, false).await;
        let probe = ResumeProbe::begin(public).await;
        let mut attackers = Child::start("attackers");
        attackers.tell(&AttackTask { public, admin, cursor: probe.cursor.clone() });
        let quick = bench.options.quick;
        Some(Self {
            crowd,
            attackers,
            probe,
            publisher,
            lasts: if quick { LASTS_QUICK } else { LASTS },
            divisor: if quick { QUICK } else { 1 },
        })
    }

    async fn run_phase(&mut self, bench: &mut Bench, is_harmful: bool) -> PhaseFigures {
        let case = if is_harmful { "all attacks" } else { "as many harmless requests" };
        bench.progress.say(&format!("hostile: {}: {case}", self.crowd.server.spec.name));
        let mut row = Row::new(Scenario::Hostile, &self.crowd.server, case);
        let seconds = self.lasts.as_secs() as u32;
        let (first, count) = (if is_harmful { 50_000 } else { 0 }, RESUMES * seconds);
        self.prepare_resumes(first, count).await;
        let before = self.metrics().await;
        let usage = self.crowd.server.usage();
        let events = self.draw_events(bench, RATE * seconds);
        let mut published = Published::default();
        events.iter().for_each(|(address, serial)| published.add(address, *serial));
        let owed = self.crowd.swarm.expect(&published);
        let millis = self.lasts.as_millis() as u64;
        self.attackers.tell(&AttackPhase { is_harmful, millis, divisor: self.divisor });
        let resumes = tokio::spawn(self.probe.clone().run(first, count, MISSED));
        let most = self.publish_evenly(events).await;
        let resumes = resumes.await.expect("the probe ends");
        let tallies: Vec<AttackTally> = self.attackers.answer();
        let counted = self.crowd.swarm.count();
        let cpu = self.crowd.server.usage().seconds_since(usage);
        let (verdict, _, latencies) = self.crowd.judge(&published);
        let after = self.metrics().await;
        let more = |metric| after.sum(metric, &[]) - before.sum(metric, &[]);
        let reconnects = more("tidings_store_reconnects_total");
        let honest = self.crowd.connections;
        let is_whole = counted.live == honest && counted.lost == 0 && counted.events == owed;
        row.kept = verdict.is_kept() && is_whole && reconnects == 0.0 && resumes.failed == 0;
        row.notes
            .push(format!("{} of {honest} honest streams are live, {} lack something", counted.live, verdict.wrong));
        row.notes.push(format!("{} of {} resumes failed", resumes.failed, resumes.begun));
        row.notes.push(format!("{reconnects} reconnects to Redis"));
        row.notes.extend(tallies.iter().map(|tally| describe(tally, seconds)));
        row.add(Figure::Delivered, verdict.delivered as f64);
        row.add(Figure::Expected, verdict.expected as f64);
        latency::add_figures(&mut row, &latencies);
        let (resume_p50, resume_p99) = resume_figures(&mut row, &resumes);
        row.add(Figure::CpuSeconds, cpu);
        row.add(Figure::RssNow, most);
        let delivery_p99 = row.get(Figure::P99).unwrap_or_default();
        PhaseFigures { row, delivery_p99, resume_p50, resume_p99, most_rss: most }
    }

    /// Publishes what those miss that come back.
    async fn prepare_resumes(&self, first: u32, count: u32) {
        for number in first..first + count {
            let event = Event::refresh(resumed_address(number)).coalesce(false);
            let events = vec![event; MISSED];
            for receipt in self.publisher.publish_all(events).await {
                receipt.expect("Redis takes it");
            }
        }
    }

    /// Honest events by chance, and at last one to each topic, so that each stream is seen to live.
    fn draw_events(&self, bench: &mut Bench, count: u32) -> Vec<(String, u32)> {
        let (plan, connections) = (self.crowd.plan, self.crowd.connections);
        let mut draw = Rng::with_seed(8);
        let drawn: Vec<String> = (0..count).map(|_| plan.draw(connections, &mut draw)).collect();
        drawn.into_iter().chain(plan.topics()).map(|address| (address, bench.serial())).collect()
    }

    /// Publishes all at a steady rate, straight to Redis. Answers the most memory that the gateway
    /// had, in MiB.
    async fn publish_evenly(&mut self, events: Vec<(String, u32)>) -> f64 {
        let mut pace = interval(self.lasts / events.len() as u32);
        pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let (mut sending, mut most, mut looked) = (Vec::new(), 0, Instant::now());
        for event in events {
            pace.tick().await;
            sending.push(self.crowd.server.send(vec![event], false));
            if looked.elapsed() > LOOK {
                looked = Instant::now();
                most = most.max(self.crowd.server.usage().rss);
            }
        }
        wait_for(sending).await;
        most.max(self.crowd.server.usage().rss) as f64 / 1024.0 / 1024.0
    }

    /// Waits until nothing is left of a phase but the honest streams. The row is not kept if
    /// anything stays for long.
    async fn rest(&self, row: &mut Row) {
        let begun = Instant::now();
        let (connections, sockets) = loop {
            let metrics = self.metrics().await;
            let honest = f64::from(self.crowd.connections);
            let left = |gauge| (metrics.sum(gauge, &[]) - honest).max(0.0);
            let left = (left("tidings_connections"), left("tidings_sockets"));
            // A few sockets are those of the scrape and of publishers.
            if left.0 == 0.0 && left.1 <= SPARE || begun.elapsed() > PATIENCE {
                break left;
            }
            sleep(LOOK).await;
        };
        let seconds = begun.elapsed().as_secs_f64();
        row.kept &= connections == 0.0 && sockets <= SPARE;
        row.notes.push(format!("{connections} connections and {sockets} sockets are left after {seconds:.1} s"));
    }

    async fn metrics(&self) -> Metrics {
        self.crowd.server.as_gateway().expect("a gateway").metrics().await
    }
}

async fn wait_for(sending: Vec<JoinHandle<()>>) {
    for sent in sending {
        sent.await.expect("it publishes");
    }
}

/// Adds half and nearly all of the resumes, in milliseconds, and answers both.
fn resume_figures(row: &mut Row, resumes: &ResumeTimes) -> (f64, f64) {
    let millis = |share| resumes.times.value_at_quantile(share) as f64 / 1_000.0;
    let (half, most) = (millis(0.5), millis(0.99));
    row.add(Figure::ResumeP50, half);
    row.add(Figure::ResumeP99, most);
    (half, most)
}

fn describe(tally: &AttackTally, seconds: u32) -> String {
    let AttackTally { name, begun, answers } = tally;
    let counts = answers.iter().map(|(answer, count)| format!("{answer} {count}"));
    let counts = counts.collect::<Vec<_>>().join(", ");
    let counts = if counts.is_empty() { "no answer" } else { &counts };
    format!("{name}: {begun} ({} a second): {counts}", begun / seconds)
}
