//! What the scripts answer, read.

use redis::{FromRedisValue, Value};

use crate::store::session::{Entries, History, Status, StoreError};

/// Reads the answer of the history script.
pub(super) fn read_history(answer: Vec<Value>) -> Result<History, StoreError> {
    let what = "reading history";
    let mut items = answer.into_iter();
    let mut next = || items.next().ok_or_else(|| StoreError::new(what, "the answer is too short"));
    let epoch: String = convert(next()?)?;
    let last: String = convert(next()?)?;
    let mut entries = Vec::new();
    while let (Ok(status), Ok(flat)) = (next(), next()) {
        let status: String = convert(status)?;
        let flat: Vec<String> = convert(flat)?;
        entries.push(read_entries(&status, flat)?);
    }
    Ok(History { epoch: epoch.parse().ok(), last: parsed(what, &last)?, entries })
}

fn read_entries(status: &str, flat: Vec<String>) -> Result<Entries, StoreError> {
    let status = match status {
        "ok" => Status::Complete,
        "big" => Status::Big,
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
