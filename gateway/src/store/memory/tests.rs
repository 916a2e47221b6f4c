//! What the tests of the Redis scripts expect, expected of the embedded store.

mod bounds;

use std::sync::atomic::{AtomicU64, Ordering};

use tidings_shared::limits;

use super::*;
use crate::store::{Entries, Push, Status};

const AGE: u64 = 60_000;
const NOW: u64 = 1_763_683_200_000;
const PLENTY: u64 = 1 << 20;

struct Rig {
    store: MemoryStore,
    client: MemoryClient,
    session: Session,
    clock: Arc<AtomicU64>,
}

impl Rig {
    fn new(partitions: u16, events: u64) -> Self {
        let clock = Arc::new(AtomicU64::new(NOW));
        let now = Arc::clone(&clock);
        let retention = Retention { events, age_ms: AGE, ..Retention::default() };
        let partitions = Partitions::new(partitions).unwrap();
        let store = MemoryStore::with_clock(Namespace::default(), partitions, retention, "gw".to_owned(), move || {
            now.load(Ordering::Relaxed)
        });
        let session = store.connect(partitions.all().collect());
        let Client::Memory(client) = session.client.clone() else { unreachable!() };
        Self { store, client, session, clock }
    }

    fn at(&self, ms: u64) {
        self.clock.store(ms, Ordering::Relaxed);
    }

    fn publish(&self, to: &[&str]) -> Id {
        let event = to[1..].iter().fold(Event::refresh(to[0]), |event, to| event.also_to(*to));
        self.store.publish(&event).unwrap().ids[to[0]]
    }

    /// What each address got, as its status and ids, and the last id.
    fn history(&self, names: &[&str], span: Span, bytes: u64) -> Vec<(Status, Vec<Id>)> {
        let addresses: Vec<Arc<Address>> = names.iter().map(|name| Arc::new(name.parse().unwrap())).collect();
        let history = self.client.history(Asked {
            partition: self.store.partitions().of(&addresses[0]),
            addresses: &addresses,
            span,
            each: &[],
            bytes,
        });
        let ids = |entries: Entries| entries.messages.iter().map(|(id, _)| *id).collect();
        history.entries.into_iter().map(|entries| (entries.status, ids(entries))).collect()
    }

    fn one(&self, name: &str, span: Span) -> (Status, Vec<Id>) {
        self.history(&[name], span, PLENTY).remove(0)
    }

    fn beacon(&self, seen: Id) -> Place {
        self.client.beacon(Partitions::ONE.get(0).unwrap(), seen)
    }

    async fn pushes(&mut self, count: usize) -> Vec<(String, String)> {
        let mut pushes: Vec<Push> = Vec::new();
        while pushes.len() < count {
            assert!(self.session.receive(&mut pushes, count).await);
        }
        pushes.into_iter().map(|push| (push.channel.into(), push.text.into())).collect()
    }
}

fn id(ms: u64) -> Id {
    Id { ms, seq: 0 }
}

#[test]
fn history_tells_all_that_came_after_a_place() {
    let rig = Rig::new(1, 1_000);
    let start = rig.beacon(Id::ZERO).id;
    let ids: Vec<Id> = (0..250).map(|_| (rig.publish(&["a"]), rig.publish(&["b"])).0).collect();
    let history = rig.history(&["a", "quiet"], Span::After(start), PLENTY);
    assert_eq!(history, [(Status::Complete, ids.clone()), (Status::Complete, vec![])]);
    assert_eq!(rig.one("a", Span::After(ids[99])), (Status::Complete, ids[100..].to_vec()));
    assert_eq!(rig.one("a", Span::After(ids[249])), (Status::Complete, vec![]));
    assert_eq!(rig.one("a", Span::Between(ids[9], ids[19])), (Status::Complete, ids[10..=19].to_vec()));
    assert_eq!(rig.one("a", Span::After(Id { ms: u64::MAX, seq: u64::MAX })).1, []);
}

#[test]
fn history_tells_when_it_was_trimmed() {
    let rig = Rig::new(1, 100);
    let start = rig.beacon(Id::ZERO).id;
    let ids: Vec<Id> = (0..400).map(|_| rig.publish(&["a"])).collect();
    let left = (Status::Lost, ids[300..].to_vec());
    assert_eq!(rig.one("a", Span::After(start)), left, "and all after the first of these");
    assert_eq!(rig.one("a", Span::After(ids[298])), left);
    assert_eq!(rig.one("a", Span::After(ids[299])), (Status::Complete, ids[300..].to_vec()));
    assert_eq!(rig.one("a", Span::Between(start, ids[9])).0, Status::Lost, "nothing is left of what was there");
    assert_eq!(rig.one("a", Span::Latest), (Status::Complete, vec![ids[399]]));
}

#[test]
fn history_tells_when_the_place_is_older_than_what_is_kept() {
    let rig = Rig::new(1, 1_000);
    let published = rig.publish(&["a"]);
    assert_eq!(rig.one("a", Span::After(id(NOW - AGE))).0, Status::Lost);
    assert_eq!(rig.one("a", Span::After(id(NOW - AGE + 1))), (Status::Complete, vec![published]));
    assert_eq!(rig.one("a", Span::Between(id(NOW - AGE), published)).0, Status::Lost);
    assert_eq!(rig.one("quiet", Span::After(Id::ZERO)).0, Status::Lost);
    rig.at(NOW + 10 * AGE);
    assert_eq!(rig.one("a", Span::Latest), (Status::Complete, vec![published]), "however old");
}

#[test]
fn what_was_dropped_as_too_old_does_not_look_young_when_the_clock_steps_back() {
    let rig = Rig::new(1, 1_000);
    let before = rig.beacon(Id::ZERO).id;
    rig.publish(&["a"]);
    rig.at(NOW + 2 * AGE);
    rig.beacon(Id::ZERO);
    rig.at(NOW);
    assert_eq!(rig.one("a", Span::After(before)).0, Status::Lost);
}

#[test]
fn history_stops_at_its_bytes() {
    let rig = Rig::new(1, 1_000);
    let start = Span::After(rig.beacon(Id::ZERO).id);
    for _ in 0..4 {
        rig.publish(&["a", "b"]);
    }
    let addresses = [Arc::new("a".parse().unwrap())];
    let partition = Partitions::ONE.get(0).unwrap();
    let all = rig.client.history(Asked { partition, addresses: &addresses, span: start, each: &[], bytes: PLENTY });
    let bytes: u64 = all.entries[0].messages.iter().map(|(_, message)| message.len() as u64).sum();
    let status =
        |bytes| rig.history(&["a", "b"], start, bytes).into_iter().map(|(status, _)| status).collect::<Vec<_>>();
    assert_eq!(status(2 * bytes), [Status::Complete, Status::Complete]);
    assert_eq!(status(2 * bytes - 1), [Status::Complete, Status::Big]);
    assert_eq!(status(bytes - 1), [Status::Big, Status::Big]);
}

#[test]
fn ids_never_go_back() {
    let rig = Rig::new(1, 1_000);
    let first = rig.publish(&["a"]);
    rig.at(NOW - 3_600_000);
    let second = rig.publish(&["a"]);
    assert_eq!((first, second), (Id { ms: NOW, seq: 1 }, Id { ms: NOW, seq: 2 }));
    let seen = Id { ms: NOW + 3_600_000, seq: 7 };
    assert_eq!(rig.beacon(seen).id, seen);
    assert_eq!(rig.beacon(Id::ZERO).id, seen);
    assert!(rig.publish(&["a"]) > seen);
    rig.at(NOW + 7_200_000);
    assert_eq!(rig.beacon(Id::ZERO).id, id(NOW + 7_200_000), "a quiet place stays young");
}

#[test]
fn a_known_key_publishes_nothing_again_until_it_is_forgotten() {
    let rig = Rig::new(1, 1_000);
    let publish = || rig.store.publish(&Event::refresh("a").also_to("b").key("k")).unwrap();
    let first = publish();
    rig.at(NOW + limits::KEY_AGE_MS - 1);
    let again = publish();
    assert_eq!((first.duplicate, again.duplicate, &again.ids), (false, true, &first.ids));
    assert_eq!(rig.one("a", Span::Latest).1, [first.ids["a"]]);
    rig.at(NOW + limits::KEY_AGE_MS);
    assert!(!publish().duplicate);
    let state = rig.store.shared.lock();
    assert_eq!(state.keys.len(), (1, 1));
}

#[test]
fn a_key_is_known_for_its_addresses_alone() {
    let rig = Rig::new(1, 1_000);
    let publish = |event: Event| rig.store.publish(&event.key("k")).unwrap();
    let first = publish(Event::refresh("a").also_to("b"));
    let other = publish(Event::refresh("a"));
    assert!(!other.duplicate && other.ids.len() == 1 && other.ids["a"] != first.ids["a"], "{other:?}");
    let again = publish(Event::refresh("b").also_to("a").also_to("b").version("2"));
    assert_eq!((again.duplicate, &again.ids), (true, &first.ids));
}

#[tokio::test]
async fn an_event_to_several_addresses_is_pushed_in_one_go_with_its_end_mark() {
    let mut rig = Rig::new(1, 1_000);
    let channel = |name: &str| format!("{{tidings:0}}:{name}");
    rig.client.subscribe(vec![channel("t:a"), channel("u:b"), channel("j"), channel("b:gw")]);
    let id = rig.publish(&["a", "@b", "nobody"]);
    let place = rig.beacon(Id::ZERO);
    let pushes = rig.pushes(4).await;
    let channels: Vec<&str> = pushes.iter().map(|(channel, _)| channel.as_str()).collect();
    assert_eq!(channels, [channel("t:a"), channel("u:b"), channel("j"), channel("b:gw")]);
    assert!(pushes[0].1.starts_with(&format!("1 {id} {} cm ", place.epoch)), "{pushes:?}");
    assert_eq!(pushes[2].1, format!("1 {id} {}", place.epoch));
    assert_eq!(pushes[3].1, format!("1 {} {}", place.id, place.epoch));
}

#[tokio::test]
async fn a_new_session_ends_the_one_before_and_begins_without_channels() {
    let mut rig = Rig::new(1, 1_000);
    rig.client.subscribe(vec!["{tidings:0}:t:a".to_owned()]);
    let mut next = rig.store.connect(rig.store.partitions().all().collect());
    rig.publish(&["a"]);
    assert!(!rig.session.receive(&mut Vec::new(), 1).await);
    let mut pushes = Vec::new();
    rig.client.subscribe(vec!["{tidings:0}:t:a".to_owned()]);
    rig.publish(&["a"]);
    assert!(next.receive(&mut pushes, 10).await);
    assert_eq!(pushes.len(), 1);
}

#[test]
fn what_is_no_event_is_refused() {
    let rig = Rig::new(1, 1_000);
    assert_eq!(rig.store.publish(&Event::refresh("a b")).unwrap_err().field(), "to");
    assert_eq!(rig.one("a", Span::Latest).1, []);
}
