//! A slice: the followed addresses of one partition, and how far they were told. Pure: no connection, no clock.

use std::collections::BTreeMap;

use tidings_shared::cursor::Place;
use tidings_shared::keys::Keys;
use tidings_shared::message::{Delivered, data};
use tidings_shared::{Address, Id, Invalid, Message, Partition};

use super::history::History;
use super::{Reason, resync};

/// The addresses in one partition.
pub(super) struct Slice {
    pub partition: Partition,
    pub keys: Keys,
    pub addresses: Vec<Address>,
    /// Up to where they were told; none before the partition's first event.
    pub place: Option<Place>,
    /// Those that were told of the event at `place` as it came live: it comes once for each.
    told: Vec<Address>,
}

/// One thing to tell.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// An event: JSON for a page, and its place.
    Event(String, Place),
    /// A resync: JSON for a page.
    Resync(String),
    /// An event at this place that this version cannot read.
    Unreadable(Place),
}

/// An event as it came over a channel.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Arrived {
    pub place: Place,
    pub addresses: Vec<Address>,
    pub body: String,
}

impl Slice {
    /// A slice that was told up to `place`.
    pub(super) fn new(partition: Partition, keys: Keys, addresses: Vec<Address>, place: Option<Place>) -> Self {
        Self { partition, keys, addresses, place, told: Vec::new() }
    }

    /// The channels of its addresses.
    pub(super) fn channels(&self) -> impl Iterator<Item = String> {
        self.addresses.iter().map(|address| self.keys.stream(address))
    }

    /// What a reconnect missed, or a resync where that cannot be known.
    pub(super) fn catch_up(&mut self, history: &History) -> Vec<Step> {
        let before = std::mem::replace(&mut self.place, history.end);
        self.told.clear();
        let Some(before) = before else { return Vec::new() };
        if history.end.is_none_or(|end| end.epoch != before.epoch) {
            return self.resync_all(Reason::Epoch);
        }
        let mut steps = Vec::new();
        let mut events: BTreeMap<Id, (Vec<&Address>, &str)> = BTreeMap::new();
        for (address, found) in self.addresses.iter().zip(&history.found) {
            let Some(found) = found else {
                steps.push(Step::Resync(resync(address, Reason::HistoryLost)));
                continue;
            };
            for (id, message) in found {
                events.entry(*id).or_insert_with(|| (Vec::new(), message)).0.push(address);
            }
        }
        steps.extend(events.into_iter().map(|(id, (addresses, message))| {
            let place = Place { epoch: before.epoch, id };
            let json = Message::decode(message).ok().and_then(|message| data(&addresses, message.body));
            json.map_or(Step::Unreadable(place), |json| Step::Event(json, place))
        }));
        // Ids never go back, but a place that was read while another server answered may be ahead.
        self.place = self.place.map(|end| Place { id: end.id.max(before.id), ..end });
        steps
    }

    /// Moves on to the end of the history, all of which has been told; or tells that it is another one.
    pub(super) fn lift(&mut self, end: Option<Place>) -> Vec<Step> {
        match (self.place, end) {
            (None, end) => self.place = end,
            (Some(before), Some(end)) if before.epoch == end.epoch => {
                if end.id > before.id {
                    self.place = Some(end);
                    self.told.clear();
                }
            }
            (Some(_), end) => {
                self.place = end;
                self.told.clear();
                return self.resync_all(Reason::Epoch);
            }
        }
        Vec::new()
    }

    /// What a message of one of its channels says; `None` if the channel is not its own.
    pub(super) fn read(&self, channel: &str, payload: &str) -> Option<Result<Arrived, Invalid>> {
        let address = self.keys.address(channel).filter(|address| self.addresses.contains(address))?;
        Some(Delivered::decode(payload).map(|delivered| Arrived {
            place: Place { epoch: delivered.epoch, id: delivered.id },
            addresses: vec![address],
            body: delivered.message.body.to_owned(),
        }))
    }

    /// Tells an event that came live, unless it was told already; after a resync if it belongs to another history.
    pub(super) fn live(&mut self, mut arrived: Arrived) -> Vec<Step> {
        let mut steps = Vec::new();
        match self.place {
            Some(before) if before.epoch != arrived.place.epoch => steps = self.resync_all(Reason::Epoch),
            Some(before) if before.id > arrived.place.id => return steps,
            Some(before) if before.id == arrived.place.id => {
                // Told by a history, or, if live, without those of its addresses that came later.
                let told_live = !self.told.is_empty();
                arrived.addresses.retain(|address| told_live && !self.told.contains(address));
            }
            _ => {}
        }
        if self.place != Some(arrived.place) {
            self.told.clear();
            self.place = Some(arrived.place);
        }
        let Some(json) = data(&arrived.addresses.iter().collect::<Vec<_>>(), &arrived.body) else { return steps };
        self.told.append(&mut arrived.addresses);
        steps.push(Step::Event(json, arrived.place));
        steps
    }

    /// A resync of every address.
    pub(super) fn resync_all(&self, reason: Reason) -> Vec<Step> {
        self.addresses.iter().map(|address| Step::Resync(resync(address, reason))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_shared::keys::Namespace;
    use tidings_shared::{Epoch, Partitions};

    const OLD: u32 = 1;
    const NEW: u32 = 2;

    fn place(bits: u32, ms: u64) -> Place {
        Place { epoch: Epoch::from_random(bits), id: Id { ms, seq: 0 } }
    }

    fn slice(at: Option<Place>) -> Slice {
        let partition = Partitions::ONE.get(0).unwrap();
        let addresses = ["a", "b"].map(|text| text.parse().unwrap()).to_vec();
        Slice::new(partition, Namespace::default().keys(partition), addresses, at)
    }

    fn arrived(at: Place, addresses: &[&str]) -> Arrived {
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        Arrived { place: at, addresses, body: r#"{"time":"t"}"#.into() }
    }

    fn event(told: &str, at: Place) -> Step {
        Step::Event(format!(r#"{{{told},"time":"t"}}"#), at)
    }

    fn resyncs(reason: &str) -> Vec<Step> {
        let one = |to| Step::Resync(format!(r#"{{"topic":"{to}","resync":true,"reason":"{reason}"}}"#));
        vec![one("a"), one("b")]
    }

    fn history(end: Place, found: [Option<&[u64]>; 2]) -> History {
        let entries = |ids: &[u64]| {
            ids.iter().map(|ms| (Id { ms: *ms, seq: 0 }, r#"c - - - - {"time":"t"}"#.to_owned())).collect()
        };
        History { end: Some(end), found: found.map(|ids| ids.map(entries)).to_vec() }
    }

    #[test]
    fn an_event_is_told_once_for_each_address() {
        let mut slice = slice(Some(place(OLD, 5)));
        let at = place(OLD, 6);
        assert_eq!(slice.live(arrived(at, &["a"])), [event(r#""topic":"a""#, at)]);
        assert_eq!(slice.live(arrived(at, &["a"])), []);
        assert_eq!(slice.live(arrived(at, &["b"])), [event(r#""topic":"b""#, at)]);
        assert_eq!(slice.live(arrived(place(OLD, 5), &["b"])), [], "old");
    }

    #[test]
    fn what_was_missed_is_told_in_order_and_not_again_when_it_comes_live() {
        let mut slice = slice(Some(place(OLD, 5)));
        let steps = slice.catch_up(&history(place(OLD, 9), [Some(&[6, 8]), Some(&[7, 8])]));
        let both = r#""topic":"a","topics":["a","b"]"#;
        let told = [(r#""topic":"a""#, 6), (r#""topic":"b""#, 7), (both, 8)];
        assert_eq!(steps, told.map(|(told, ms)| event(told, place(OLD, ms))));
        assert_eq!(slice.live(arrived(place(OLD, 9), &["b"])), []);
        assert_eq!(slice.live(arrived(place(OLD, 10), &["b"])).len(), 1);
    }

    #[test]
    fn what_cannot_be_known_is_a_resync() {
        let mut lost = slice(Some(place(OLD, 5)));
        let steps = lost.catch_up(&history(place(OLD, 9), [Some(&[6]), None]));
        assert_eq!(steps, [resyncs("history-lost").remove(1), event(r#""topic":"a""#, place(OLD, 6))]);
        let mut renewed = slice(Some(place(OLD, 5)));
        assert_eq!(renewed.catch_up(&history(place(NEW, 2), [Some(&[1]), Some(&[])])), resyncs("epoch"));
        assert_eq!(renewed.live(arrived(place(NEW, 3), &["a"])).len(), 1);
        let mut emptied = slice(Some(place(OLD, 5)));
        assert_eq!(emptied.lift(None), resyncs("epoch"));
        let mut live = slice(Some(place(OLD, 5)));
        let steps = live.live(arrived(place(NEW, 1), &["a"]));
        assert_eq!((&steps[..2], steps.len()), (&resyncs("epoch")[..], 3));
    }

    #[test]
    fn a_place_only_moves_on() {
        let mut slice = slice(None);
        assert_eq!(slice.lift(Some(place(OLD, 5))), []);
        assert_eq!(slice.lift(Some(place(OLD, 4))), []);
        assert_eq!(slice.place, Some(place(OLD, 5)));
        slice.catch_up(&history(place(OLD, 3), [Some(&[]), Some(&[])]));
        assert_eq!(slice.place, Some(place(OLD, 5)));
    }
}
