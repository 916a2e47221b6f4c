//! A turn: what a worker does with deliveries that came close together.

use std::time::Instant;

use tokio::sync::mpsc;
use tokio::task::yield_now;

use super::SharedHub;
use super::connection::WRITE;
use crate::clock;
use crate::reader::Parcel;
use crate::reader::delivery::{Batch, Delivery, Dispatch};

/// Deliveries taken in one turn, between which there may be heartbeats.
const DELIVERIES: usize = 64;
/// Pushes into queues after which other tasks of the worker run.
pub(super) const PUSHES: usize = 512;
/// Connections after which they run too: writing to so many takes about a millisecond.
const CONNECTIONS: usize = 256;

/// Takes a delivery and what waits behind it, and only then lets the connections that got events write them: what came
/// close together goes out in one write. Other tasks run meanwhile if it takes long.
pub async fn take(hub: &SharedHub, first: Parcel, deliveries: &mut mpsc::UnboundedReceiver<Parcel>) {
    hub.borrow_mut().advance(Instant::now());
    let mut turn = Turn::new(hub);
    let mut parcel = Some(first);
    for _ in 0..DELIVERIES {
        let Some(Parcel { delivery, room }) = parcel.take().or_else(|| deliveries.try_recv().ok()) else { break };
        turn.take(delivery, deliveries.is_empty()).await;
        drop(room);
    }
    turn.write().await;
}

struct Turn<'a> {
    hub: &'a SharedHub,
    /// Pushes since other tasks ran.
    pushes: usize,
    /// Bytes of events since connections wrote.
    bytes: usize,
    /// Bytes at which they do: their queues hold twice as much, so one that reads is never overrun.
    enough: usize,
}

impl<'a> Turn<'a> {
    fn new(hub: &'a SharedHub) -> Self {
        Self { hub, pushes: 0, bytes: 0, enough: WRITE.min(hub.borrow().options.queue / 2) }
    }

    /// Takes a delivery, which may be the last one.
    async fn take(&mut self, delivery: Delivery, last: bool) {
        if let Delivery::Batch(batch) = delivery {
            return self.batch(&batch, last).await;
        }
        let pushes = delivery.pushes();
        self.hub.borrow_mut().take(delivery);
        self.rest(pushes, 0).await;
    }

    async fn batch(&mut self, batch: &Batch, last: bool) {
        let mut events = batch.events.as_slice();
        while !events.is_empty() {
            let (run, behind) = events.split_at(run_length(events, self.enough - self.bytes));
            events = behind;
            match run {
                [several] if several.frames.len() != 1 => {
                    let pushes = self.hub.borrow_mut().dispatch(several);
                    self.rest(pushes, 0).await;
                }
                run => self.run(run, last && events.is_empty()).await,
            }
            run.iter().for_each(|event| self.hub.borrow_mut().observe(clock::age(event.id)));
            self.rest(0, run.iter().map(bytes).sum()).await;
        }
        self.hub.borrow_mut().lift(&batch.watermarks);
    }

    /// Gives a run to the followers of its address. If nothing comes behind it, they write at once: what that needs is
    /// at hand then.
    async fn run(&mut self, run: &[Dispatch], last: bool) {
        let mut places = 0..CONNECTIONS;
        loop {
            let (pushes, more) = self.hub.borrow_mut().dispatch_run(run, places.clone());
            if last {
                self.hub.borrow_mut().write(CONNECTIONS);
            }
            if !more {
                return self.rest(pushes, 0).await;
            }
            self.rest(pushes.max(PUSHES), 0).await;
            places = places.end..places.end + CONNECTIONS;
        }
    }

    /// Lets other tasks run after some hundred pushes, and connections write when there is enough to write.
    async fn rest(&mut self, pushes: usize, bytes: usize) {
        self.pushes += pushes;
        self.bytes += bytes;
        if self.bytes >= self.enough {
            self.write().await;
        }
        if self.pushes >= PUSHES {
            self.pushes = 0;
            yield_now().await;
        }
    }

    /// Lets all connections that got events write them, by an outlet or in their tasks.
    async fn write(&mut self) {
        self.bytes = 0;
        while self.hub.borrow_mut().write(CONNECTIONS) {
            yield_now().await;
        }
        self.pushes = PUSHES;
    }
}

/// How many events at the beginning are to the same one address, and not much more than `most` bytes.
fn run_length(events: &[Dispatch], most: usize) -> usize {
    let mut left = most;
    let run = events.windows(2).take_while(|pair| {
        left = left.saturating_sub(bytes(&pair[0]));
        left > 0 && is_one_run(&pair[0], &pair[1])
    });
    1 + run.count()
}

fn is_one_run(one: &Dispatch, next: &Dispatch) -> bool {
    matches!((one.frames.as_slice(), next.frames.as_slice()), ([(one, _)], [(next, _)]) if one == next)
}

fn bytes(event: &Dispatch) -> usize {
    event.frames.iter().map(|(_, frame)| frame.bytes().len()).sum()
}
