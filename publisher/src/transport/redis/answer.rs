//! What the store answers to a publish. Pure.

use std::collections::BTreeMap;

use ::redis::{FromRedisValue, Value, from_redis_value};
use tidings_shared::{Address, Count, Id, Partitions};

use crate::parcel::{Key, Parcel};
use crate::{Error, ErrorKind, Receipt};

/// What became of a parcel that was sent.
pub(super) enum Outcome {
    /// It is published, or it failed.
    Settled(Result<Receipt, Error>),
    /// It is published in a partition that tells no count: whether that is the right one, others must tell.
    Unvouched(Receipt),
    /// The store has this many partitions, not as many as it was sent by.
    Misrouted(Partitions),
}

/// What one partition answers.
enum Answer {
    Published { id: Id, known: bool, vouched: bool },
    Misrouted(Partitions),
}

/// The outcome of a parcel of which these are the parts, by their addresses, with the answer to each.
pub(super) fn outcome<'a>(
    parcel: &Parcel,
    parts: impl Iterator<Item = (&'a [Address], Result<Value, Error>)>,
) -> Outcome {
    let mut receipt = Receipt { ids: BTreeMap::new(), duplicate: matches!(parcel.key, Some(Key::Given(_))) };
    let (mut all_vouched, mut failed) = (true, None);
    for (addresses, answer) in parts {
        match answer.and_then(Answer::read) {
            Ok(Answer::Published { id, known, vouched }) => {
                receipt.ids.extend(addresses.iter().map(|address| (address.to_string(), id)));
                receipt.duplicate &= known;
                all_vouched &= vouched;
            }
            // Whatever befell the other parts, they went the wrong way too.
            Ok(Answer::Misrouted(partitions)) => return Outcome::Misrouted(partitions),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    match failed {
        Some(error) => Outcome::Settled(Err(error)),
        None if all_vouched => Outcome::Settled(Ok(receipt)),
        None => Outcome::Unvouched(receipt),
    }
}

impl Answer {
    fn read(answer: Value) -> Result<Self, Error> {
        let (id, _epoch, known, count): (String, String, u8, String) = read(answer)?;
        match count.parse().map_err(protocol)? {
            Count::Changing => Err(changing()),
            Count::Is(partitions) if id.is_empty() => Ok(Self::Misrouted(partitions)),
            count => {
                let id = id.parse().map_err(protocol)?;
                Ok(Self::Published { id, known: known == 1, vouched: count != Count::Unset })
            }
        }
    }
}

impl Outcome {
    /// Settles what no partition vouched for, by the count that the store as a whole tells.
    pub(super) fn vouch(&mut self, told: &Result<Count, Error>, sent_by: Partitions) {
        let Self::Unvouched(receipt) = self else { return };
        *self = match told {
            Ok(Count::Is(partitions)) if *partitions != sent_by => Self::Misrouted(*partitions),
            Ok(Count::Is(_) | Count::Unset) => Self::Settled(Ok(std::mem::take(receipt))),
            Ok(Count::Changing) => Self::Settled(Err(changing())),
            Err(error) => Self::Settled(Err(error.clone())),
        };
    }
}

/// The count that partitions tell together. One that does not answer is no matter if another tells.
pub(super) fn count(answers: Vec<Result<Value, Error>>) -> Result<Count, Error> {
    let (mut told, mut failed) = (Count::Unset, None);
    for answer in answers {
        let one = answer.and_then(|answer| {
            let (count, _claim, _until): (Option<String>, Option<String>, Option<String>) = read(answer)?;
            count.unwrap_or_default().parse().map_err(protocol)
        });
        match (one, told) {
            (Err(error), _) => failed = failed.or(Some(error)),
            (Ok(Count::Unset), _) => {}
            (Ok(one), Count::Unset) => told = one,
            (Ok(one), _) if one == told => {}
            // They differ only while a change is under way, or where a failover took back a part of one.
            (Ok(_), _) => return Ok(Count::Changing),
        }
    }
    match (told, failed) {
        (Count::Unset, Some(error)) => Err(error),
        (told, _) => Ok(told),
    }
}

fn read<T: FromRedisValue>(answer: Value) -> Result<T, Error> {
    from_redis_value(answer).map_err(protocol)
}

fn protocol(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Protocol, error)
}

fn changing() -> Error {
    Error::told(ErrorKind::Unavailable, "the number of partitions is being changed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parcel::Form;
    use tidings_shared::Event;

    fn word(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn answer(id: &str, count: &str) -> Result<Value, Error> {
        Ok(Value::Array(vec![word(id), word("e"), Value::Int(0), word(count)]))
    }

    fn away() -> Result<Value, Error> {
        Err(Error::told(ErrorKind::Timeout, "away"))
    }

    fn outcome_of(answers: Vec<Result<Value, Error>>) -> Outcome {
        let parcel = Parcel::new(Event::refresh("a"), Form::Message, true).unwrap();
        let address = ["a".parse().unwrap()];
        outcome(&parcel, answers.into_iter().map(|answer| (&address[..], answer)))
    }

    #[test]
    fn a_parcel_is_published_when_all_its_parts_are() {
        assert!(matches!(outcome_of(vec![answer("1-0", "2"), answer("2-0", "2")]), Outcome::Settled(Ok(_))));
        assert!(matches!(outcome_of(vec![answer("1-0", "2"), answer("2-0", "")]), Outcome::Unvouched(_)));
        let Outcome::Settled(Err(error)) = outcome_of(vec![answer("1-0", "2"), away()]) else { panic!("one is away") };
        assert_eq!(error.kind(), ErrorKind::Timeout);
    }

    #[test]
    fn one_part_that_went_wrong_sends_all_anew() {
        for answers in [vec![answer("", "16"), away()], vec![away(), answer("1-0", "1"), answer("", "16")]] {
            assert!(matches!(outcome_of(answers), Outcome::Misrouted(Partitions::CLUSTER)));
        }
    }

    #[test]
    fn while_the_count_changes_nothing_is_published_yet() {
        let Outcome::Settled(Err(error)) = outcome_of(vec![answer("", "0")]) else { panic!("it is changing") };
        assert!(error.is_retryable(), "{error}");
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        for answer in [answer("", ""), answer("", "33"), answer("x", "1"), Ok(Value::Nil)] {
            let Outcome::Settled(Err(error)) = outcome_of(vec![answer]) else { panic!("no answer") };
            assert_eq!(error.kind(), ErrorKind::Protocol);
        }
    }

    fn told(count: &str) -> Result<Value, Error> {
        let count = if count.is_empty() { Value::Nil } else { word(count) };
        Ok(Value::Array(vec![count, Value::Nil, Value::Nil]))
    }

    #[test]
    fn one_partition_that_tells_is_enough() {
        assert_eq!(count(vec![told(""), away(), told("16")]).unwrap(), Count::Is(Partitions::CLUSTER));
        assert_eq!(count(vec![told("16"), told("0")]).unwrap(), Count::Changing);
        assert_eq!(count(vec![told("16"), told("1")]).unwrap(), Count::Changing);
        assert_eq!(count(vec![told(""), told("")]).unwrap(), Count::Unset);
        assert_eq!(count(vec![told(""), away()]).unwrap_err().kind(), ErrorKind::Timeout);
    }

    #[test]
    fn the_store_vouches_for_what_a_partition_does_not() {
        let vouched = |told: Result<Count, Error>| {
            let mut outcome = Outcome::Unvouched(Receipt::default());
            outcome.vouch(&told, Partitions::CLUSTER);
            outcome
        };
        let settled = |outcome: &Outcome| matches!(outcome, Outcome::Settled(Ok(_)));
        assert!(settled(&vouched(Ok(Count::Unset))) && settled(&vouched(Ok(Count::Is(Partitions::CLUSTER)))));
        assert!(matches!(vouched(Ok(Count::Is(Partitions::ONE))), Outcome::Misrouted(Partitions::ONE)));
        for told in [Ok(Count::Changing), Err(changing())] {
            assert!(matches!(vouched(told), Outcome::Settled(Err(error)) if error.is_retryable()));
        }
    }
}
