//! `storm`: all connections are lost, miss events over many topics, and come back at once with their cursors.

use fastrand::Rng;

use crate::bench::{Bench, Entrant};
use crate::crowd::Crowd;
use crate::figure::Figure;
use crate::mark::now;
use crate::options::Scenario;
use crate::order::Seen;
use crate::plan::Plan;
use crate::row::Row;
use crate::server::Event;
use crate::verdict::Published;

/// Events of one request.
const BATCH: usize = 50;

/// A storm of some size: from one to the next it is seen how work grows.
#[derive(Debug, Clone, Copy)]
struct Storm {
    connections: u32,
    topics: u32,
    /// They come back to a new process, which remembers nothing.
    replaced: bool,
}

/// Measures one server, started anew for each storm.
pub async fn run(bench: &mut Bench, entrant: &Entrant) -> Vec<Row> {
    let all = bench.options.connections;
    let storm = |connections, topics| Storm { connections, topics, replaced: false };
    let mut storms = vec![storm(all / 4, 100), storm(all, 100), storm(all, 1_000)];
    if matches!(entrant, Entrant::Gateway(_)) {
        storms.push(Storm { replaced: true, ..storm(all, 100) });
    }
    let mut rows = Vec::new();
    for storm in storms {
        rows.extend(one(bench, entrant, storm).await);
    }
    rows
}

async fn one(bench: &mut Bench, entrant: &Entrant, storm: Storm) -> Option<Row> {
    let Storm { connections, topics, replaced } = storm;
    let server = bench.start_on_redis(entrant).await?;
    let end = if replaced { ", gateway replaced" } else { "" };
    let case = format!("{connections} clients, {topics} topics{end}");
    bench.progress.say(&format!("storm: {}: {case}", server.spec.name));
    let mut row = Row::new(Scenario::Storm, &server, &case);
    let plan = Plan::Mixed { topics };
    let mut crowd = Crowd::gather(bench, server, plan, connections, true).await;
    // Once to each topic, so that all have a cursor of every server.
    let all = publish(bench, &mut crowd, plan.topics()).await;
    crowd.wait_for(&all);
    crowd.swarm.tell();
    crowd.swarm.drop_all();
    let mut draw = Rng::with_seed(4);
    let missed = (0..bench.options.amount(1_000, 50)).map(|_| plan.draw_topic(&mut draw)).collect();
    let missed = publish(bench, &mut crowd, missed).await;
    if replaced {
        crowd.server.replace().await;
    }
    come_back(&mut crowd, &missed, &mut row).await;
    Some(row)
}

async fn publish(bench: &mut Bench, crowd: &mut Crowd, to: Vec<String>) -> Published {
    let mut published = Published::default();
    for addresses in to.chunks(BATCH) {
        let events: Vec<Event> = addresses.iter().map(|address| (address.clone(), bench.serial())).collect();
        events.iter().for_each(|(address, serial)| published.add(address, *serial));
        crowd.server.send(events, false).await.expect("it publishes");
    }
    published
}

async fn come_back(crowd: &mut Crowd, missed: &Published, row: &mut Row) {
    let redis = crowd.redis().await;
    let (usage, begun) = (crowd.server.usage(), now());
    let live = crowd.swarm.open().live;
    crowd.wait_for(missed);
    let cpu = crowd.server.usage().seconds_since(usage);
    let redis = redis.zip(crowd.redis().await).map(|(before, after)| after.since(&before));
    let (verdict, seen, _) = crowd.judge(missed);
    row.kept = verdict.is_kept() && live == crowd.connections;
    if !row.kept {
        row.notes.push(format!("{live} came back, {} lack something and were not told", verdict.wrong));
    }
    let back = seconds_back(&seen, begun);
    row.curve = back.iter().step_by((back.len() / 100).max(1)).chain(back.last()).copied().collect();
    row.add(Figure::Delivered, verdict.delivered as f64);
    row.add(Figure::Expected, verdict.expected as f64);
    row.add(Figure::Resynced, verdict.resynced as f64);
    row.add(Figure::HalfSeconds, back[back.len() / 2].0);
    row.add(Figure::Seconds, back[back.len() - 1].0);
    row.add(Figure::CpuSeconds, cpu);
    if let Some(redis) = redis {
        row.add(Figure::RedisSeconds, redis.cpu);
        row.add(Figure::Commands, redis.commands() as f64);
        if redis.commands() > 0 {
            row.notes.push(format!("Redis commands: {}", redis.most()));
        }
    }
}

/// When each had all that it missed, in seconds, with the percentage of those that had by then.
fn seconds_back(seen: &[Seen], begun: u64) -> Vec<(f64, f64)> {
    let mut back: Vec<f64> = seen.iter().map(|seen| seen.last.saturating_sub(begun) as f64 / 1e6).collect();
    back.sort_by(f64::total_cmp);
    let percent = |at: usize| (at + 1) as f64 * 100.0 / back.len() as f64;
    back.iter().enumerate().map(|(at, seconds)| (*seconds, percent(at))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_is_over_when_the_last_is_back() {
        let seen = [4_000_000, 2_000_000].map(|last| Seen { last, ..Seen::default() });
        assert_eq!(seconds_back(&seen, 1_000_000), [(1.0, 50.0), (3.0, 100.0)]);
    }
}
