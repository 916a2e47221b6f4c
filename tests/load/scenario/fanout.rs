//! `idle`, `broadcast`, `keyed`, `mixed`: clients that stay and read, and the cost of each delivery to them.

use std::time::Duration;

use fastrand::Rng;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::bench::Bench;
use crate::crowd::Crowd;
use crate::figure::Figure;
use crate::latency;
use crate::options::Scenario;
use crate::plan::Plan;
use crate::row::Row;
use crate::server::{Event, Server};
use crate::verdict::Published;

/// Topics of `mixed`.
const TOPICS: u32 = 100;
/// Events of a burst.
const BURST: u32 = 8;
/// The least time from one broadcast to the next, which also waits until all clients have the one before.
const PACE: Duration = Duration::from_millis(200);

/// How events come.
enum Case {
    /// So many times so many at once, and the next when all clients have these.
    Goes { times: u32, events: u32, joined: bool },
    /// At a steady rate, some to a request, whether the ones before have arrived or not.
    Steady { events: u32, per_second: u32, together: u32 },
}

/// Measures one server.
pub async fn run(bench: &mut Bench, scenario: Scenario, server: Server) -> Vec<Row> {
    let plan = match scenario {
        Scenario::Keyed => Plan::Keyed,
        Scenario::Mixed => Plan::Mixed { topics: TOPICS },
        _ => Plan::Broadcast,
    };
    let connections = bench.options.connections;
    let mut crowd = Crowd::gather(bench, server, plan, connections, false).await;
    if scenario == Scenario::Idle {
        let mut row = Row::new(scenario, &crowd.server, "idle");
        row.kept = crowd.is_whole();
        crowd.add_memory(&mut row);
        crowd.add_empty(&mut row);
        return vec![row];
    }
    let mut rows = Vec::new();
    for (name, case) in cases(bench, scenario, crowd.server.is_raw()) {
        let mut row = Row::new(scenario, &crowd.server, &name);
        round(bench, &mut crowd, &case, &mut row).await;
        crowd.add_memory(&mut row);
        rows.push(row);
    }
    rows
}

fn cases(bench: &Bench, scenario: Scenario, raw: bool) -> Vec<(String, Case)> {
    let goes = |times, events, joined| Case::Goes { times, events, joined };
    let steady = |events, per_second, together| {
        let name = match together {
            1 => format!("{per_second} a second"),
            _ => format!("{per_second} a second, {together} to a request"),
        };
        (name, Case::Steady { events: bench.options.amount(events, events / 10), per_second, together })
    };
    match scenario {
        Scenario::Keyed => vec![steady(5_000, 500, 1), steady(2_500, 500, 10), steady(10_000, 5_000, 1)],
        Scenario::Mixed => vec![steady(2_000, 200, 1)],
        _ => {
            let (singles, bursts) = (bench.options.amount(48, 4), bench.options.amount(12, 2));
            let mut cases = vec![
                ("one at a time".to_owned(), goes(singles, 1, false)),
                (format!("{BURST} at once"), goes(bursts, BURST, true)),
            ];
            if raw {
                cases.push((format!("{BURST} at once, a write each"), goes(bursts, BURST, false)));
            }
            cases
        }
    }
}

async fn round(bench: &mut Bench, crowd: &mut Crowd, case: &Case, row: &mut Row) {
    let warm = warm_up(bench, crowd).await;
    let (before, redis) = (crowd.server.usage(), crowd.redis().await);
    let published = match *case {
        Case::Goes { times, events, joined } => goes(bench, crowd, times, events, joined).await,
        Case::Steady { events, per_second, together } => steady(bench, crowd, events, per_second, together).await,
    };
    let seconds = crowd.server.usage().seconds_since(before);
    let (verdict, _, histogram) = crowd.judge(&published);
    row.kept = warm && verdict.is_kept() && verdict.resynced == 0 && crowd.is_whole();
    if !warm {
        row.notes.push("an event was lost before anything was measured".to_owned());
    }
    if !row.kept {
        row.notes.push(format!("{} connections did not get what they were owed", verdict.wrong.max(verdict.resynced)));
    }
    row.add(Figure::Delivered, verdict.delivered as f64);
    row.add(Figure::Expected, verdict.expected as f64);
    row.add(Figure::Cpu, seconds * 1e6 / verdict.delivered.max(1) as f64);
    if let Some((before, after)) = redis.zip(crowd.redis().await) {
        row.add(Figure::RedisCpu, after.since(&before).cpu * 1e6 / verdict.delivered.max(1) as f64);
    }
    latency::add_figures(row, &histogram);
}

/// One event to each topic, and to one user, which nobody measures. Whether all came.
async fn warm_up(bench: &mut Bench, crowd: &mut Crowd) -> bool {
    let (mut published, mut warm) = (Published::default(), true);
    let draw = crowd.plan.draw(crowd.connections, &mut Rng::with_seed(1));
    for address in crowd.plan.topics().into_iter().chain([draw]) {
        warm = send(bench, crowd, &mut published, &[address], false).await;
        if !warm {
            break;
        }
    }
    crowd.swarm.tell();
    warm
}

async fn goes(bench: &mut Bench, crowd: &mut Crowd, times: u32, events: u32, joined: bool) -> Published {
    let (mut published, mut pace) = (Published::default(), interval(PACE));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut draw = Rng::with_seed(2);
    for _ in 0..times {
        pace.tick().await;
        let to: Vec<_> = (0..events).map(|_| crowd.plan.draw(crowd.connections, &mut draw)).collect();
        // Once one is missing, every further wait would take all of the clients' patience.
        if !send(bench, crowd, &mut published, &to, joined).await {
            break;
        }
    }
    published
}

/// Sends one go, and waits until all who are owed it have it. Whether they have.
async fn send(bench: &mut Bench, crowd: &mut Crowd, published: &mut Published, to: &[String], joined: bool) -> bool {
    let events: Vec<Event> = to.iter().map(|address| (address.clone(), bench.serial())).collect();
    events.iter().for_each(|(address, serial)| published.add(address, *serial));
    let owed = crowd.swarm.expect(published);
    crowd.server.send(events, joined).await.expect("it publishes");
    crowd.swarm.count().events == owed
}

async fn steady(bench: &mut Bench, crowd: &mut Crowd, events: u32, per_second: u32, together: u32) -> Published {
    let (mut published, mut draw) = (Published::default(), Rng::with_seed(3));
    let drawn = (0..events).map(|_| (crowd.plan.draw(crowd.connections, &mut draw), bench.serial()));
    let events: Vec<Event> = drawn.collect();
    events.iter().for_each(|(address, serial)| published.add(address, *serial));
    crowd.swarm.expect(&published);
    let mut pace = interval(Duration::from_secs(1) * together / per_second);
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut sending = JoinSet::new();
    for events in events.chunks(together as usize) {
        pace.tick().await;
        sending.spawn(crowd.server.send(events.to_vec(), false));
    }
    while let Some(sent) = sending.join_next().await {
        sent.expect("a task ends").expect("it publishes");
    }
    crowd.swarm.count();
    published
}
