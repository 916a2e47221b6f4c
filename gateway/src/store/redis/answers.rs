//! What the scripts answer, read.

use redis::{FromRedisValue, Value};
use tidings_shared::{Epoch, Id, Invalid, Retention};

use crate::store::session::{Entries, History, Status, StoreError};
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
    let mut entries = Vec::new();
    while let (Ok(status), Ok(flat)) = (next(), next()) {
        let status: String = convert(status)?;
        let flat: Vec<String> = convert(flat)?;
        entries.push(read_entries(&status, flat, without)?);
    }
    let epoch = epoch.parse().ok().map(|epoch| without.epoch(epoch));
    Ok(History { epoch, last: parsed(what, &last)?, entries })
}

fn read_entries(status: &str, flat: Vec<String>, without: Without) -> Result<Entries, StoreError> {
    let status = match status {
        "ok" => Status::Complete,
        "big" => Status::Big,
        _ if without.lacks(Mechanism::Complete) => Status::Complete,
        _ => Status::Lost,
    };
    let mut messages = Vec::with_capacity(flat.len() / 2);
    let mut flat = flat.into_iter();
    while let (Some(id), Some(message)) = (flat.next(), flat.next()) {
        messages.push((parsed("reading history", &id)?, message));
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
        let entries = vec!["1-0".to_owned(), "c - - - - {}".to_owned()];
        read_entries(told, entries, Without::parse(without).unwrap()).unwrap().status
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
    fn unless_nobody_checks() {
        assert_eq!(status("lost", "complete"), Status::Complete);
        assert_eq!(status("lost", "journal,replay"), Status::Lost);
    }
}
