//! The task that feeds a worker's hub.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidings_shared::Partitions;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::{Hub, SharedHub, Size};
use crate::control::Reason;
use crate::metrics::Metrics;
use crate::reader::delivery::{Batch, Delivery};
use crate::reader::{Parcel, ReaderHandle};

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
}

/// What a worker's handlers use.
#[derive(Debug, Clone)]
pub struct HubHandle {
    /// The hub.
    pub hub: SharedHub,
    /// What it was told.
    pub options: HubOptions,
}

/// Deliveries taken in one go.
const TURN: usize = 64;
/// Pushes into queues after which other tasks of the worker get their turn.
const PUSHES: usize = 512;
/// Heartbeats are spread over so many moments, so that they do not come all at once.
const SHARES: usize = 16;

/// Makes this thread's hub, and starts the task that feeds it. `drain` becomes true when its connections are to end.
pub fn spawn(
    reader: &ReaderHandle,
    partitions: Partitions,
    options: HubOptions,
    metrics: Metrics,
    drain: watch::Receiver<bool>,
) -> HubHandle {
    let (worker, deliveries) = reader.register();
    let hub = Hub::new(worker, reader.clone(), partitions, options.clone());
    let hub = Rc::new(RefCell::new(hub));
    let feed = actix_web::rt::spawn(feed(Rc::clone(&hub), deliveries, options.heartbeat, metrics));
    actix_web::rt::spawn(watch_feed(Rc::clone(&hub), feed));
    actix_web::rt::spawn(watch_drain(Rc::clone(&hub), drain));
    HubHandle { hub, options }
}

/// A hub that nothing feeds any more, as the reader is gone or a panic ended the task, would keep its connections in
/// silence: it ends them, and they come back to another.
async fn watch_feed(hub: SharedHub, feed: JoinHandle<()>) {
    if feed.await.is_err() {
        tracing::error!("a worker's hub is broken; its connections end");
    }
    hub.borrow_mut().drain();
}

async fn watch_drain(hub: SharedHub, mut drain: watch::Receiver<bool>) {
    if drain.wait_for(|drain| *drain).await.is_ok() {
        hub.borrow_mut().drain();
    }
}

async fn feed(hub: SharedHub, mut deliveries: mpsc::UnboundedReceiver<Parcel>, heartbeat: Duration, metrics: Metrics) {
    let mut taken = Vec::with_capacity(TURN);
    let mut beats = tokio::time::interval(heartbeat / SHARES as u32);
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    let mut share = 0;
    let mut counted = Size::default();
    loop {
        tokio::select! {
            count = deliveries.recv_many(&mut taken, TURN) => {
                if count == 0 {
                    return;
                }
                for Parcel { delivery, room } in taken.drain(..) {
                    take(&hub, delivery).await;
                    drop(room);
                }
            }
            _ = beats.tick() => {
                share = (share + 1) % SHARES;
                hub.borrow_mut().tick(share, SHARES);
            }
            _ = seconds.tick() => report(&hub, &metrics, &mut counted),
        }
    }
}

/// Takes a delivery, and lets other tasks run between its events if they are many.
async fn take(hub: &SharedHub, delivery: Delivery) {
    let Delivery::Batch(Batch { events, watermarks }) = delivery else {
        hub.borrow_mut().take(delivery);
        return;
    };
    let mut pushes = 0;
    let mut latencies = Vec::with_capacity(events.len());
    for event in &events {
        pushes += hub.borrow_mut().dispatch(event);
        latencies.push(Duration::from_millis(now_ms().saturating_sub(event.id.ms)));
        if pushes >= PUSHES {
            pushes = 0;
            tokio::task::yield_now().await;
        }
    }
    let mut hub = hub.borrow_mut();
    hub.lift(watermarks);
    hub.observe(latencies);
}

/// Adds what was counted to the metrics.
fn report(hub: &SharedHub, metrics: &Metrics, counted: &mut Size) {
    let mut hub = hub.borrow_mut();
    let stats = hub.take_stats();
    metrics.add_frames_dispatched(stats.dispatched);
    for (reason, count) in Reason::ALL.into_iter().zip(stats.resyncs).filter(|(_, count)| *count > 0) {
        metrics.add_resyncs(reason, count);
    }
    for latency in stats.latencies {
        metrics.observe_publish_to_dispatch(latency);
    }
    let size = hub.size();
    metrics.add_connections(size.connections - counted.connections);
    metrics.add_follows(size.follows - counted.follows);
    metrics.add_queue_bytes(size.queued_bytes - counted.queued_bytes);
    *counted = size;
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;

    use super::*;
    use crate::hub::Follow;
    use crate::reader::{Command, From, Status};

    #[actix_web::test]
    async fn connections_end_when_nothing_feeds_them_any_more() {
        let (reader, mut commands) = ReaderHandle::new(Status::new(Partitions::ONE));
        let second = Duration::from_secs(1);
        let options = HubOptions { gateway: "gw".into(), queue: 1_000, retry: second, heartbeat: second };
        let (_drain, draining) = watch::channel(false);
        let handle = spawn(&reader, Partitions::ONE, options, Metrics::new(), draining);
        let Some(Command::Register(_, sender)) = commands.recv().await else { panic!("no worker") };
        let follow = Follow { addresses: vec![Arc::new("a".parse().unwrap())].into(), types: Rc::from([]) };
        let connection = handle.hub.borrow_mut().join(follow, From::Now);
        drop(sender);
        let next = || poll_fn(|context| handle.hub.borrow_mut().poll(connection, context.waker()));
        let mut bytes = Vec::new();
        while let Some(chunk) = next().await {
            bytes.extend(chunk);
        }
        assert!(String::from_utf8(bytes).unwrap().contains("event: tidings.goodbye"));
    }
}
