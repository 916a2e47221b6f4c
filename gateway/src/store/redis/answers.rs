//! What the scripts answer, read.

use redis::{FromRedisValue, Value};

use crate::store::session::{Entries, History, Status, StoreError};
use crate::without::{Mechanism, Without};

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
