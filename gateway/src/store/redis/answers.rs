//! What the scripts answer, read.

use redis::{FromRedisValue, Value};
use tidings_shared::{Address, Epoch, Id, Invalid, Message, Retention};

use crate::store::session::{Entries, History, Missed, Status, StoreError};
use crate::without::{Mechanism, Without};

/// The answer of the beacon script.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BeaconAnswer {
    pub(super) epoch: Epoch,
    pub(super) last: Id,
    /// When others may remove the mark that the beacon left, if it left one.
    pub(super) mark_until_ms: Option<u64>,
    /// Whether the mark before may have been removed already.
    pub(super) unsure: bool,
    /// The retention that is in force.
    pub(super) retention: Option<Retention>,
}

impl BeaconAnswer {
    /// Reads the answer.
    pub(super) fn read(answer: &[String]) -> Result<Self, StoreError> {
        let what = "sending a beacon";
        let (epoch, last, rest) = match answer {
            [epoch, last, rest @ ..] => (parsed(what, epoch)?, parsed(what, last)?, rest),
            _ => return Err(StoreError::new(what, "the answer is too short")),
        };
        let (mark_until_ms, unsure) = match rest {
            [until, unsure, ..] if !until.is_empty() => (Some(parse_number(until)?), unsure == "1"),
            _ => (None, false),
        };
        let retention = match rest {
            [_, _, events, age, journal] => Some(Retention {
                events: parse_number(events)?,
                age_ms: parse_number(age)?,
                journal: parse_number(journal)?,
            }),
            _ => None,
        };
        Ok(Self { epoch, last, mark_until_ms, unsure, retention })
    }
}

fn parse_number(text: &str) -> Result<u64, StoreError> {
    let invalid = |_| Invalid::new("answer to a beacon", text, "a number");
    text.parse().map_err(|error| StoreError::new("sending a beacon", invalid(error)))
}

/// Reads the answer of the history script.
pub(super) fn read_history(answer: Vec<Value>, without: Without) -> Result<History, StoreError> {
    let what = "reading history";
    let mut items = answer.into_iter();
    let mut next = || items.next().ok_or_else(|| StoreError::new(what, "the answer is too short"));
    let epoch: String = convert(next()?)?;
    let last: String = convert(next()?)?;
    let (mut entries, mut unreadable) = (Vec::new(), 0);
    while let (Ok(status), Ok(flat)) = (next(), next()) {
        let status: String = convert(status)?;
        entries.push(read_entries(&status, convert(flat)?, without, &mut unreadable)?);
    }
    let epoch = epoch.parse().ok().map(|epoch| without.epoch(epoch));
    Ok(History { epoch, last: parsed(what, &last)?, entries, unreadable })
}

/// The answer of the script that reads a page of the journal.
pub(super) type JournalAnswer = (String, String, u8, String, Vec<Vec<u8>>);

/// Reads a page of the journal. An address that this version cannot read is skipped and counted, as
/// nobody here can follow it: one such entry must not keep all others from being read.
pub(super) fn read_missed(answer: JournalAnswer, without: Without) -> Result<Missed, StoreError> {
    let (epoch, last, complete, next, written) = answer;
    let read = |text: &Vec<u8>| std::str::from_utf8(text).ok()?.parse().ok();
    let addresses: Vec<Address> = written.iter().filter_map(read).collect();
    if without.lacks(Mechanism::Foreign) && addresses.len() < written.len() {
        return Err(StoreError::new("reading the journal", "an entry is no address"));
    }
    Ok(Missed {
        epoch: epoch.parse().ok().map(|epoch| without.epoch(epoch)),
        last: parsed("reading the journal", &last)?,
        complete: complete == 1 || without.lacks(Mechanism::Complete),
        next: next.parse().ok(),
        unreadable: (written.len() - addresses.len()) as u64,
        addresses,
    })
}

/// Reads the entries of one address. One that is no message becomes an empty text, which is none
/// either: its address alone is resynced, and the others of the same answer are read.
fn read_entries(
    status: &str,
    flat: Vec<Vec<u8>>,
    without: Without,
    unreadable: &mut u64,
) -> Result<Entries, StoreError> {
    let status = match status {
        "ok" => Status::Complete,
        "big" => Status::Big,
        _ if without.lacks(Mechanism::Complete) => Status::Complete,
        _ => Status::Lost,
    };
    let mut messages = Vec::with_capacity(flat.len() / 2);
    let mut flat = flat.into_iter();
    while let (Some(id), Some(message)) = (flat.next(), flat.next()) {
        let id = String::from_utf8_lossy(&id);
        let text = String::from_utf8(message).ok().filter(|text| Message::decode(text).is_ok());
        *unreadable += u64::from(text.is_none());
        if without.lacks(Mechanism::Foreign) && text.is_none() {
            return Err(StoreError::new("reading history", "an entry is no message"));
        }
        messages.push((parsed("reading history", &id)?, text.unwrap_or_default()));
    }
    Ok(Entries { status, messages })
}

fn convert<T: FromRedisValue>(value: Value) -> Result<T, StoreError> {
    redis::from_redis_value(value).map_err(|e| StoreError::new("reading history", e))
}

/// A word of an answer.
pub(super) fn parsed<T: std::str::FromStr<Err = tidings_shared::Invalid>>(
    what: &'static str,
    text: &str,
) -> Result<T, StoreError> {
    text.parse().map_err(|e| StoreError::new(what, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(told: &str, without: &str) -> Status {
        let entries = vec![b"1-0".to_vec(), b"c - - - - {}".to_vec()];
        read_entries(told, entries, Without::parse(without).unwrap(), &mut 0).unwrap().status
    }

    #[test]
    fn a_beacon_is_answered_with_or_without_a_mark() {
        let read = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            BeaconAnswer::read(&words).ok().map(|answer| (answer.mark_until_ms, answer.unsure))
        };
        assert_eq!(read(&["k3f9", "5-0"]), Some((None, false)));
        assert_eq!(read(&["k3f9", "5-0", "70", "0"]), Some((Some(70), false)));
        assert_eq!(read(&["k3f9", "5-0", "70", "1"]), Some((Some(70), true)));
        assert_eq!(read(&["k3f9", "5-0", "", "", "1", "2", "3"]), Some((None, false)));
        for wrong in [&["k3f9"][..], &["k3f9", "5"], &["", "5-0"], &["k3f9", "5-0", "soon", "0"]] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn what_is_not_said_to_be_whole_is_lost() {
        let told = ["ok", "big", "lost", "another"].map(|told| status(told, ""));
        assert_eq!(told, [Status::Complete, Status::Big, Status::Lost, Status::Lost]);
    }

    #[test]
    fn entries_that_are_no_message_are_empty_and_counted() {
        let bytes = |text: &[u8]| Value::BulkString(text.to_vec());
        let flat = |message: &[u8]| Value::Array(vec![bytes(b"1-0"), bytes(message)]);
        let good = b"c - - - - {\"a\":1}";
        let answer = vec![
            bytes(b"k3f9"),
            bytes(b"1-0"),
            bytes(b"ok"),
            flat(b"c - - - - {\"\xff\":1}"),
            bytes(b"ok"),
            flat(good),
            bytes(b"ok"),
            flat(b"no message"),
        ];
        let history = read_history(answer, Without::default()).unwrap();
        let texts: Vec<&str> = history.entries.iter().map(|e| e.messages[0].1.as_str()).collect();
        assert_eq!(texts, ["", std::str::from_utf8(good).unwrap(), ""]);
        assert_eq!(history.unreadable, 2);
    }

    #[test]
    fn addresses_that_nobody_can_follow_are_skipped_and_counted() {
        let written = [&b"a"[..], b"a ", b"\xff", b"1/2/3/4/5/6/7/8/9", b"@b"];
        let written = written.map(<[u8]>::to_vec).to_vec();
        let answer = ("k3f9".to_owned(), "5-0".to_owned(), 1, String::new(), written);
        let missed = read_missed(answer, Without::default()).unwrap();
        let addresses: Vec<String> = missed.addresses.iter().map(Address::to_string).collect();
        assert_eq!((addresses, missed.unreadable), (vec!["a".to_owned(), "@b".to_owned()], 3));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_of_an_entry_fail_an_answer(message: Vec<u8>, address: Vec<u8>) {
            let bytes = |text: &[u8]| Value::BulkString(text.to_vec());
            let flat = Value::Array(vec![bytes(b"1-0"), bytes(&message)]);
            let answer = vec![bytes(b"k3f9"), bytes(b"1-0"), bytes(b"ok"), flat];
            proptest::prop_assert!(read_history(answer, Without::default()).is_ok());
            let journal = ("k3f9".to_owned(), "5-0".to_owned(), 1, String::new(), vec![address]);
            proptest::prop_assert!(read_missed(journal, Without::default()).is_ok());
        }
    }

    #[test]
    fn unless_nobody_checks() {
        assert_eq!(status("lost", "complete"), Status::Complete);
        assert_eq!(status("lost", "journal,replay"), Status::Lost);
    }
}
