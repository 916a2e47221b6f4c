//! When clients had what they were owed, told from records alone: exact to the microsecond, however late it is asked.

use super::*;
use crate::record::Message;

impl Oracle {
    /// When this client held all that it was owed of what was acknowledged until `until`: the last of these was delivered
    /// or resynced then. `None` if some of it is still owed; 0 if there was nothing.
    pub fn converged(&self, record: &Record, until: u64) -> Option<u64> {
        self.last_held(record, |acked, _| acked <= until)
    }

    /// From when on this client was up to date: of what was acknowledged until `until`, the last that came to it later
    /// than `late` after that was held then. `None` if some is still owed; 0 if none came late.
    pub fn up_to_date(&self, record: &Record, until: u64, late: Duration) -> Option<u64> {
        let late = u64::try_from(late.as_micros()).unwrap_or(u64::MAX);
        let came_late = |acked: u64, held: Option<u64>| held.is_none_or(|held| held > acked.saturating_add(late));
        self.last_held(record, |acked, held| acked <= until && came_late(acked, held))
    }

    /// When the last was held of all that this client is owed and that counts, by when it was acknowledged and held.
    fn last_held(&self, record: &Record, counts: impl Fn(u64, Option<u64>) -> bool) -> Option<u64> {
        let events = self.lock();
        record.look(|entries| {
            let Some(ready) = first_ready(entries) else { return Some(0) };
            let holdings = Holdings::of(entries);
            let mut last = 0;
            for (n, event) in events.iter().enumerate().filter(|(_, event)| ready < event.started) {
                for address in event.to.iter().filter(|address| record.follows().contains(address)) {
                    let Some(stored) = event.stored(address) else { continue };
                    let held = holdings.since(n as u64, address, stored);
                    if counts(event.acked, held) {
                        last = last.max(held?);
                    }
                }
            }
            Some(last)
        })
    }

    /// When the first event was acknowledged whose publish began after `from`, to an address that `fits`.
    pub fn first_acked(&self, from: u64, fits: impl Fn(&str) -> bool) -> Option<u64> {
        let events = self.lock();
        let begun = &events[events.partition_point(|event| event.started <= from)..];
        let fitting = begun.iter().filter(|event| event.ids.is_some() && event.to.iter().any(|address| fits(address)));
        fitting.map(|event| event.acked).min()
    }
}

/// When things came to a client.
struct Holdings<'a> {
    deliveries: HashMap<(u64, &'a str), u64>,
    resyncs: HashMap<&'a str, Vec<u64>>,
}

impl<'a> Holdings<'a> {
    fn of(entries: &'a [Entry]) -> Self {
        let (mut deliveries, mut resyncs) = (HashMap::new(), HashMap::<_, Vec<u64>>::new());
        for entry in entries {
            match &entry.what {
                What::Message(Message { addresses, n: Some(n), .. }) => {
                    for address in addresses {
                        deliveries.entry((*n, address.as_str())).or_insert(entry.at);
                    }
                }
                What::Resync { address, .. } => resyncs.entry(address.as_str()).or_default().push(entry.at),
                _ => {}
            }
        }
        Self { deliveries, resyncs }
    }

    /// Since when an event is held, whichever way came first.
    fn since(&self, n: u64, address: &str, stored: u64) -> Option<u64> {
        let resyncs = self.resyncs.get(address).map_or(&[][..], Vec::as_slice);
        let covering = resyncs.get(resyncs.partition_point(|at| *at < stored)).copied();
        let delivered = self.deliveries.get(&(n, address)).copied();
        delivered.into_iter().chain(covering).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1000;

    fn ids(address: &str, ms: u64) -> BTreeMap<String, Id> {
        [(address.to_owned(), Id { ms, seq: 0 })].into()
    }

    /// Events for `a`, each begun, stored and acknowledged at these milliseconds.
    fn published(times: &[(u64, u64, u64)]) -> Arc<Oracle> {
        let oracle = Oracle::new();
        for (begun, stored, acked) in times {
            let n = oracle.begin_at(begun * MS, &["a"], Manner::default());
            oracle.acked_at(acked * MS, n, ids("a", *stored));
        }
        oracle
    }

    /// A client of `a` that is ready at 10 and sees these.
    fn client(sights: &[(u64, What)]) -> Arc<Record> {
        let record = Record::new("client", &["a".to_owned()]);
        record.add_at(10 * MS, What::Ready { cursor: String::new(), connection: String::new() });
        for (at, what) in sights {
            record.add_at(at * MS, what.clone());
        }
        record
    }

    fn message(n: u64) -> What {
        let (name, data) = ("message".to_owned(), String::new());
        What::Message(Message { addresses: vec!["a".to_owned()], n: Some(n), cursor: None, name, data })
    }

    fn resync() -> What {
        What::Resync { address: "a".to_owned(), reason: "epoch".to_owned() }
    }

    #[test]
    fn it_has_converged_when_the_last_that_is_due_came() {
        let oracle = published(&[(20, 20, 21), (30, 30, 31), (40, 40, 41)]);
        let record = client(&[(25, message(0)), (90, message(1)), (95, message(2))]);
        assert_eq!(oracle.converged(&record, 21 * MS), Some(25 * MS));
        assert_eq!(oracle.converged(&record, 40 * MS), Some(90 * MS), "the third was not acknowledged then");
        assert_eq!(oracle.converged(&record, 41 * MS), Some(95 * MS));
        assert_eq!(oracle.converged(&record, 20 * MS), Some(0), "nothing was due");
    }

    #[test]
    fn it_is_up_to_date_when_the_last_late_one_came() {
        let oracle = published(&[(20, 20, 21), (30, 30, 31), (40, 40, 41)]);
        let record = client(&[(25, message(0)), (90, message(1)), (95, message(2))]);
        let up_to_date = |late| oracle.up_to_date(&record, 41 * MS, Duration::from_millis(late));
        assert_eq!((up_to_date(3), up_to_date(55)), (Some(95 * MS), Some(90 * MS)));
        assert_eq!(up_to_date(59), Some(0), "that is not late");
        assert_eq!(
            oracle.up_to_date(&record, 40 * MS, Duration::from_millis(3)),
            Some(90 * MS),
            "the third is not asked"
        );
        assert_eq!(oracle.up_to_date(&client(&[(25, message(0))]), 41 * MS, Duration::from_secs(9)), None);
    }

    #[test]
    fn a_resync_counts_from_when_the_event_was_stored() {
        let oracle = published(&[(20, 50, 60)]);
        assert_eq!(oracle.converged(&client(&[(49, resync())]), 60 * MS), None);
        assert_eq!(
            oracle.converged(&client(&[(49, resync()), (55, resync()), (70, resync())]), 60 * MS),
            Some(55 * MS)
        );
        assert_eq!(oracle.converged(&client(&[(52, message(0)), (55, resync())]), 60 * MS), Some(52 * MS));
    }

    #[test]
    fn what_is_owed_to_nobody_is_not_waited_for() {
        let oracle = published(&[(5, 5, 6)]);
        assert_eq!(oracle.converged(&client(&[]), 99 * MS), Some(0), "published before it was ready");
        let unknown = oracle.begin_at(20 * MS, &["a"], Manner::default());
        oracle.unknown(unknown);
        oracle.begin_at(20 * MS, &["b"], Manner::default());
        oracle.acked_at(21 * MS, 2, ids("b", 20));
        assert_eq!(oracle.converged(&client(&[]), 99 * MS), Some(0));
    }

    #[test]
    fn the_first_acknowledged_is_of_those_that_began_later_and_fit() {
        let oracle = published(&[(20, 20, 60), (30, 50, 55), (40, 51, 52)]);
        assert_eq!(oracle.first_acked(19 * MS, |_| true), Some(52 * MS));
        assert_eq!(oracle.first_acked(35 * MS, |address| address == "a"), Some(52 * MS));
        assert_eq!(oracle.first_acked(40 * MS, |_| true), None);
        assert_eq!(oracle.first_acked(0, |address| address == "b"), None);
    }
}
