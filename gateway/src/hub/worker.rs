//! The task that feeds a worker's hub.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tidings_shared::Partitions;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::wheel::TICK;
use super::{Hub, SharedHub, Size, Stats, Told, drain, staleness, turn};
use crate::control::{Goodbye, Reason};
use crate::metrics::Metrics;
use crate::reader::{Parcel, ReaderHandle};
use crate::supervision::FailureReports;
use crate::without::{Mechanism, Without};

/// What a hub is told at its start.
#[derive(Debug, Clone)]
pub struct HubOptions {
    /// This gateway's id, the first part of its connections' names.
    pub gateway: String,
    /// The most bytes of live frames that wait for a connection.
    pub queue: usize,
    /// The least delay after which a connection that was ended comes back.
    pub retry: Duration,
    /// The time between two heartbeats of a connection.
    pub heartbeat: Duration,
    /// About how long a stream lives; zero is for ever.
    pub max_age: Duration,
    /// The time over which connections are told of what many must refetch; zero is at once.
    pub resync_spread: Duration,
    /// How stale a stream may be.
    pub stale: StaleBound,
}

/// How stale a stream may be before it is ended.
#[derive(Debug, Clone, Copy, Default)]
pub struct StaleBound {
    /// The time that may pass without a sign of life from all partitions that it follows; zero is for ever.
    pub most: Duration,
    /// The time that may pass without a turn of the reader; zero is for ever.
    pub reader: Duration,
    /// The time over which streams end that have been stale for so long, one by one.
    pub window: Duration,
}

/// What a hub works with.
#[derive(Debug, Clone)]
pub struct HubLinks {
    /// Feeds it.
    pub reader: ReaderHandle,
    /// Where it counts.
    pub metrics: Metrics,
    /// Tells when its connections are to end.
    pub drain: Told,
    /// Where it reports that it cannot go on.
    pub failures: FailureReports,
    /// What tests switch off.
    pub without: Without,
}

/// What a worker's handlers use.
#[derive(Debug, Clone)]
pub struct HubHandle {
    /// The hub.
    pub hub: SharedHub,
    /// What it was told.
    pub options: HubOptions,
}

/// Heartbeats are spread over so many moments, so that they do not come all at once.
const SHARES: usize = 16;

/// Makes this thread's hub, and starts the tasks that feed and watch it.
pub fn spawn(links: HubLinks, partitions: Partitions, options: HubOptions) -> HubHandle {
    let (worker, deliveries) = links.reader.register();
    let hub = Hub::new(worker, links.reader.clone(), partitions, options.clone(), Instant::now());
    let hub = Rc::new(RefCell::new(hub));
    let (drain, failures) = (links.drain.clone(), links.failures.clone());
    let tasks = [
        actix_web::rt::spawn(feed(Rc::clone(&hub), deliveries, links)),
        actix_web::rt::spawn(drain::watch(Rc::clone(&hub), drain)),
        actix_web::rt::spawn(staleness::watch(Rc::clone(&hub), options.stale)),
    ];
    for task in tasks {
        actix_web::rt::spawn(report_panic(task, failures.clone()));
    }
    HubHandle { hub, options }
}

/// Ends the process if a task of the hub panics. The worker cannot go on without it: it would keep
/// its connections in silence, or refuse new ones for good while the gateway looks healthy.
async fn report_panic(task: JoinHandle<()>, failures: FailureReports) {
    if task.await.is_err_and(|error| error.is_panic()) {
        failures.report("a worker's hub");
    }
}

/// Feeds a hub until the reader has gone. Its connections would hear nothing more, so they end.
async fn feed(hub: SharedHub, mut deliveries: mpsc::UnboundedReceiver<Parcel>, links: HubLinks) {
    let HubLinks { metrics, without, .. } = links;
    let heartbeat = hub.borrow().options.heartbeat;
    let mut beats = tokio::time::interval(heartbeat / SHARES as u32);
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut share = 0;
    let (mut counted, mut stats) = (Size::default(), Stats::default());
    loop {
        let has_timers = hub.borrow().has_timers();
        tokio::select! {
            parcel = deliveries.recv() => {
                let Some(parcel) = parcel else { break };
                without.panic_if_lacking(Mechanism::Hub);
                turn::take(&hub, parcel, &mut deliveries).await;
            }
            _ = beats.tick() => {
                share = (share + 1) % SHARES;
                hub.borrow_mut().tick(share, SHARES);
            }
            _ = ticks.tick(), if has_timers => hub.borrow_mut().advance(Instant::now()),
            _ = seconds.tick() => {
                hub.borrow_mut().greet();
                report(&hub, &metrics, &mut counted, &mut stats);
            }
        }
    }
    hub.borrow_mut().drain();
}

/// Adds what was counted to the metrics.
fn report(hub: &SharedHub, metrics: &Metrics, counted: &mut Size, stats: &mut Stats) {
    let mut hub = hub.borrow_mut();
    stats.clear();
    hub.swap_stats(stats);
    metrics.add_frames_dispatched(stats.dispatched);
    metrics.add_frames_coalesced(stats.coalesced);
    for (reason, count) in Reason::ALL.into_iter().zip(stats.resyncs).filter(|(_, count)| *count > 0) {
        metrics.add_resyncs(reason, count);
    }
    for (why, count) in Goodbye::ALL.into_iter().zip(stats.ended).filter(|(_, count)| *count > 0) {
        metrics.add_ended(why, count);
    }
    for latency in &stats.latencies {
        metrics.observe_publish_to_dispatch(*latency);
    }
    let size = hub.size();
    metrics.add_connections(size.connections - counted.connections);
    metrics.add_follows(size.follows - counted.follows);
    metrics.add_queue_bytes(size.queued_bytes - counted.queued_bytes);
    metrics.add_delayed(size.delayed - counted.delayed);
    *counted = size;
}

#[cfg(test)]
mod tests;
