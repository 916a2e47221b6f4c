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
pub(super) const CONNECTIONS: usize = 256;

/// Takes a delivery and what waits behind it, and only then lets the connections that got events write them: what came
/// close together goes out in one write. Other tasks run meanwhile if it takes long.
pub async fn take(hub: &SharedHub, first: Parcel, deliveries: &mut mpsc::UnboundedReceiver<Parcel>) {
    hub.borrow_mut().advance(Instant::now());
    let mut turn = Turn::new(hub, deliveries);
    let mut parcel = first;
    for _ in 1..DELIVERIES {
        turn.take(parcel).await;
        parcel = match turn.next().await {
            Some(parcel) => parcel,
            None => return,
        };
    }
    turn.take(parcel).await;
    turn.write().await;
}

struct Turn<'a> {
    hub: &'a SharedHub,
    deliveries: &'a mut mpsc::UnboundedReceiver<Parcel>,
    /// Pushes since other tasks ran.
    pushes: usize,
    /// Bytes of events since connections wrote.
    bytes: usize,
    /// Bytes at which they do: their queues hold twice as much, so one that reads is never overrun.
    enough: usize,
}

impl<'a> Turn<'a> {
    fn new(hub: &'a SharedHub, deliveries: &'a mut mpsc::UnboundedReceiver<Parcel>) -> Self {
        Self { hub, deliveries, pushes: 0, bytes: 0, enough: WRITE.min(hub.borrow().options.queue / 2) }
    }

    /// The next delivery that waits. While none does, connections write, some at a time: what comes meanwhile goes out
    /// with the first for all the others. `None` when nothing is left to take or to write.
    async fn next(&mut self) -> Option<Parcel> {
        loop {
            if let Ok(parcel) = self.deliveries.try_recv() {
                return Some(parcel);
            }
            if !self.hub.borrow_mut().write(CONNECTIONS) {
                return None;
            }
            yield_now().await;
        }
    }

    async fn take(&mut self, parcel: Parcel) {
        // Its room is free again only when it has been taken.
        let Parcel { delivery, room: _room } = parcel;
        if let Delivery::Batch(batch) = delivery {
            return self.batch(&batch).await;
        }
        let pushes = delivery.pushes();
        self.hub.borrow_mut().take(delivery);
        self.rest(pushes, 0).await;
    }

    async fn batch(&mut self, batch: &Batch) {
        let mut events = batch.events.as_slice();
        while !events.is_empty() {
            let (run, behind) = events.split_at(run_length(events, self.enough - self.bytes));
            events = behind;
            match run {
                [several] if several.frames.len() != 1 => {
                    let pushes = self.hub.borrow_mut().dispatch(several);
                    self.rest(pushes, 0).await;
                }
                run => self.run(run, events.is_empty()).await,
            }
            run.iter().for_each(|event| self.hub.borrow_mut().observe(clock::age(event.id)));
            self.rest(0, run.iter().map(bytes).sum()).await;
        }
        self.hub.borrow_mut().lift(&batch.watermarks);
    }

    /// Gives a run to the followers of its address. While nothing came before it in this turn, and nothing comes behind
    /// it, they write at once: what that needs is at hand then.
    async fn run(&mut self, run: &[Dispatch], last: bool) {
        let mut places = 0..CONNECTIONS;
        loop {
            let (pushes, more) = {
                let mut hub = self.hub.borrow_mut();
                let alone = last && !hub.has_due() && self.deliveries.is_empty();
                let given = hub.dispatch_run(run, places.clone(), alone);
                if alone {
                    hub.write(CONNECTIONS);
                }
                given
            };
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
