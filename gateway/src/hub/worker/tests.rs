use std::cell::Cell;
use std::future::poll_fn;
use std::iter;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Poll, Waker};

use tidings_shared::cursor::Place;
use tidings_shared::{Address, Epoch, Id, Message};
use tokio::sync::watch;

use super::*;
use crate::frame::Encoder;
use crate::hub::tests::rig::Woken;
use crate::hub::turn::PUSHES;
use crate::hub::{Filled, Follow, Outlet};
use crate::reader::delivery::{Batch, Delivery};
use crate::reader::delivery::{ConnectionKey, Dispatch, Frames, Joined, Start};
use crate::reader::{Command, From, Status};
use crate::supervision::RunningServers;

fn options() -> HubOptions {
    let second = Duration::from_secs(1);
    let never = Duration::ZERO;
    let (gateway, queue) = ("gw".into(), 1_000);
    let stale = StaleBound::default();
    HubOptions { gateway, queue, retry: second, heartbeat: second, max_age: never, resync_spread: never, stale }
}

fn follow(address: &Arc<Address>) -> Follow {
    Follow::all([Arc::clone(address)])
}

fn address() -> Arc<Address> {
    Arc::new("a".parse().unwrap())
}

#[actix_web::test]
async fn connections_end_when_nothing_feeds_them_any_more() {
    let (reader, mut commands) = ReaderHandle::new(Status::new(Partitions::ONE));
    let (_drain, drain) = watch::channel(None);
    let (_, failures) = RunningServers::new();
    let (metrics, without) = (Metrics::new(), Without::default());
    let links = HubLinks { reader: reader.clone(), metrics, drain, failures, without };
    let handle = spawn(links, Partitions::ONE, options());
    let Some(Command::Register(_, sender)) = commands.recv().await else { panic!("no worker") };
    let connection = handle.hub.borrow_mut().join(follow(&address()), From::Now);
    drop(sender);
    let next = || poll_fn(|context| handle.hub.borrow_mut().poll(connection, context.waker()));
    let mut bytes = Vec::new();
    while let Some(chunk) = next().await {
        bytes.extend(chunk);
    }
    assert!(String::from_utf8(bytes).unwrap().contains("event: tidings.goodbye"));
}

fn place(ms: u64) -> Place {
    Place { epoch: Epoch::from_random(7), id: Id { ms, seq: 0 } }
}

fn event(address: &Arc<Address>, ms: u64) -> Dispatch {
    let message = Message::decode(r#"- - - - - {"data":1}"#).unwrap();
    let frame = Encoder::of(Partitions::ONE).encode(place(ms), &message, address).unwrap();
    let frames = Frames::from_vec(vec![(Arc::clone(address), frame)]);
    Dispatch { partition: Partitions::ONE.of(address), id: place(ms).id, frames }
}

fn batch(address: &Arc<Address>, ms: u64) -> Parcel {
    let events = vec![event(address, ms)];
    Parcel { delivery: Delivery::Batch(Batch { events, watermarks: Vec::new() }), room: None }
}

/// A connection that is live from place 1 on.
fn join(hub: &SharedHub, address: &Arc<Address>) -> ConnectionKey {
    let connection = hub.borrow_mut().join(follow(address), From::Now);
    let (partition, at) = (Partitions::ONE.of(address), place(1));
    let start = Start { partition, place: at, from: at, replay: Vec::new(), tail: false, resync: Vec::new() };
    hub.borrow_mut().take(Delivery::Joined(Joined { connection, starts: Some(vec![start]) }));
    connection
}

#[tokio::test]
async fn what_came_close_together_wakes_a_connection_once() {
    let (reader, _commands) = ReaderHandle::new(Status::new(Partitions::ONE));
    let hub = Rc::new(RefCell::new(Hub::new(0, reader, Partitions::ONE, options(), Instant::now())));
    let address = address();
    let connection = join(&hub, &address);
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let read = || {
        let chunks = iter::from_fn(|| match hub.borrow_mut().poll(connection, &waker) {
            Poll::Ready(chunk) => chunk,
            Poll::Pending => None,
        });
        chunks.count()
    };
    assert_eq!(read(), 1, "ready");
    let (sender, mut deliveries) = mpsc::unbounded_channel();
    (3..=4).for_each(|ms| sender.send(batch(&address, ms)).unwrap());
    turn::take(&hub, batch(&address, 2), &mut deliveries).await;
    assert_eq!((woken.0.load(Ordering::Relaxed), read()), (1, 3));
    turn::take(&hub, batch(&address, 5), &mut deliveries).await;
    assert_eq!((woken.0.load(Ordering::Relaxed), read()), (2, 1));
}

#[actix_web::test]
async fn one_that_reads_is_never_overrun() {
    let (reader, _commands) = ReaderHandle::new(Status::new(Partitions::ONE));
    let hub = Rc::new(RefCell::new(Hub::new(0, reader, Partitions::ONE, options(), Instant::now())));
    let address = address();
    let connection = join(&hub, &address);
    let reading = actix_web::rt::spawn({
        let hub = Rc::clone(&hub);
        async move {
            let mut text = String::new();
            while !text.contains("resync") && !text.contains("\nid: 1.7.300-0\n") {
                let chunk = poll_fn(|context| hub.borrow_mut().poll(connection, context.waker())).await;
                text.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
            }
            text
        }
    });
    // Some 15 times what the queue holds.
    let events = (2..=300).map(|ms| event(&address, ms)).collect();
    let parcel = Parcel { delivery: Delivery::Batch(Batch { events, watermarks: Vec::new() }), room: None };
    let (_sender, mut deliveries) = mpsc::unbounded_channel();
    turn::take(&hub, parcel, &mut deliveries).await;
    let text = reading.await.unwrap();
    assert!(!text.contains("resync"), "{text}");
    assert_eq!(text.matches("\nid: 1.7.").count(), 300, "ready, and each event");
}

#[actix_web::test]
async fn a_storm_of_replays_leaves_room_for_others() {
    let (reader, _commands) = ReaderHandle::new(Status::new(Partitions::ONE));
    let hub = Rc::new(RefCell::new(Hub::new(0, reader, Partitions::ONE, options(), Instant::now())));
    let address = address();
    let replays: Vec<Parcel> = (0..8)
        .map(|_| {
            let connection = hub.borrow_mut().join(follow(&address), From::Now);
            let replay = (2..=PUSHES as u64).map(|ms| event(&address, ms)).collect();
            let (partition, from, place) = (Partitions::ONE.of(&address), place(1), place(PUSHES as u64));
            let starts = Some(vec![Start { partition, place, from, replay, tail: false, resync: Vec::new() }]);
            Parcel { delivery: Delivery::Joined(Joined { connection, starts }), room: None }
        })
        .collect();
    let turns = Rc::new(Cell::new(0));
    let other = actix_web::rt::spawn({
        let turns = Rc::clone(&turns);
        async move {
            loop {
                turns.set(turns.get() + 1);
                tokio::task::yield_now().await;
            }
        }
    });
    let (sender, mut deliveries) = mpsc::unbounded_channel();
    let mut replays = replays.into_iter();
    let first = replays.next().unwrap();
    replays.for_each(|parcel| sender.send(parcel).unwrap());
    turn::take(&hub, first, &mut deliveries).await;
    other.abort();
    assert!(turns.get() >= 7, "{}", turns.get());
}

/// Counts its writes, which all succeed.
#[derive(Debug, Default)]
struct Counter(Cell<usize>);

impl Outlet for Counter {
    fn is_free(&self) -> bool {
        true
    }

    fn write(&self, fill: &mut dyn FnMut(&mut Vec<u8>) -> Filled) -> bool {
        self.0.set(self.0.get() + 1);
        fill(&mut Vec::new()) == Filled::Waiting
    }
}

#[tokio::test]
async fn a_burst_that_comes_in_parts_goes_out_in_one_write_also_to_many() {
    let (reader, _commands) = ReaderHandle::new(Status::new(Partitions::ONE));
    let hub = Rc::new(RefCell::new(Hub::new(0, reader, Partitions::ONE, options(), Instant::now())));
    let address = address();
    let count = 3 * turn::CONNECTIONS;
    let outlet = Rc::new(Counter::default());
    for _ in 0..count {
        let connection = join(&hub, &address);
        let mut hub = hub.borrow_mut();
        hub.attach(connection, Rc::clone(&outlet) as Rc<dyn Outlet>);
        assert_eq!(hub.fill(connection, Waker::noop(), &mut Vec::new()), Filled::Waiting);
    }
    let (sender, mut deliveries) = mpsc::unbounded_channel();
    (3..=4).for_each(|ms| sender.send(batch(&address, ms)).unwrap());
    turn::take(&hub, batch(&address, 2), &mut deliveries).await;
    assert_eq!(outlet.0.get(), count);
    turn::take(&hub, batch(&address, 5), &mut deliveries).await;
    assert_eq!(outlet.0.get(), 2 * count);
}
