//! Publishing straight into Redis: one pipeline of script calls, one call for each partition of each event.

use std::collections::BTreeMap;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{Pipeline, Script, ServerErrorKind, Value, from_redis_value};
use tidings_shared::keys::{Keys, Namespace};
use tidings_shared::script::{self, Call, Publish};
use tidings_shared::{Address, Epoch, Id, Partitions, Retention};
use tokio::time::timeout;

use super::link::{Generation, Link, failure};
use crate::parcel::{Key, Parcel};
use crate::{Error, ErrorKind, Receipt};

/// The store, as a publisher knows it.
pub(crate) struct Redis {
    link: Link,
    partitions: Partitions,
    keys: Vec<Keys>,
    /// The name by which the server knows the publish script.
    hash: String,
    ages: KeyAges,
    timeout: Duration,
}

/// How long Redis remembers idempotency keys.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeyAges {
    /// The caller's.
    pub given: Duration,
    /// Those made up for retries.
    pub made_up: Duration,
}

/// One script call of a parcel: what it says, and for which of its addresses.
struct Part {
    addresses: Vec<Address>,
    call: Call,
}

impl Redis {
    /// The store behind `link`. An answer that takes longer than `timeout` is given up, and the connection with it.
    pub(crate) fn new(
        link: Link,
        namespace: &Namespace,
        partitions: Partitions,
        ages: KeyAges,
        timeout: Duration,
    ) -> Self {
        let keys = partitions.all().map(|partition| namespace.keys(partition)).collect();
        Self { link, partitions, keys, hash: Script::new(script::PUBLISH).get_hash().to_owned(), ages, timeout }
    }

    /// Connects, if no connection is open.
    pub(crate) async fn connect(&self) -> Result<(), Error> {
        self.connection().await.map(drop)
    }

    /// Sends the parcels once: all calls in one write, in order, on one connection.
    pub(crate) async fn attempt(&self, parcels: &[&Parcel]) -> Result<Vec<Result<Receipt, Error>>, Error> {
        let parts: Vec<Vec<Part>> = parcels.iter().map(|parcel| self.parts(parcel)).collect();
        let calls: Vec<&Call> = parts.iter().flatten().map(|part| &part.call).collect();
        let mut answers = self.run(&calls).await?.into_iter();
        let receipts = parcels.iter().zip(&parts).map(|(parcel, parts)| {
            // Takes exactly the answers of this parcel's parts before looking at any.
            let answers: Vec<_> = answers.by_ref().take(parts.len()).collect();
            receipt(parcel, parts, answers)
        });
        Ok(receipts.collect())
    }

    /// Splits a parcel by partition.
    fn parts(&self, parcel: &Parcel) -> Vec<Part> {
        let mut split: BTreeMap<usize, Vec<Address>> = BTreeMap::new();
        for address in &parcel.addresses {
            split.entry(self.partitions.of(address).index()).or_default().push(address.clone());
        }
        let key = parcel.key.as_ref().map(|key| (key.text(), self.age(key)));
        let epoch = Epoch::from_random(fastrand::u32(..));
        let part = |(at, addresses): (usize, Vec<Address>)| {
            let keys = self.keys.get(at)?;
            let (message, retention) = (parcel.body.as_str(), Retention::default());
            let call = script::publish(keys, Publish { addresses: &addresses, message, key, epoch, retention });
            Some(Part { addresses, call })
        };
        split.into_iter().filter_map(part).collect()
    }

    fn age(&self, key: &Key) -> u64 {
        let age = match key {
            Key::Given(_) => self.ages.given,
            Key::MadeUp(_) => self.ages.made_up,
        };
        u64::try_from(age.as_millis()).unwrap_or(u64::MAX).max(1)
    }

    /// Runs the calls by the script's hash; those that the server did not know by it once more by its text, which also
    /// teaches it. That costs one more round trip, and is needed only where scripts were flushed or may not be loaded.
    async fn run(&self, calls: &[&Call]) -> Result<Vec<Result<Value, Error>>, Error> {
        let mut answers = self.send(calls, "EVALSHA", &self.hash).await?;
        let unknown: Vec<usize> = (0..answers.len()).filter(|at| is_unknown_script(&answers[*at])).collect();
        if !unknown.is_empty() {
            let again: Vec<&Call> = unknown.iter().filter_map(|at| calls.get(*at).copied()).collect();
            for (at, answer) in unknown.into_iter().zip(self.send(&again, "EVAL", script::PUBLISH).await?) {
                answers[at] = answer;
            }
        }
        Ok(answers.into_iter().map(|answer| answer.extract_error().map_err(failure)).collect())
    }

    async fn send(&self, calls: &[&Call], command: &str, script: &str) -> Result<Vec<Value>, Error> {
        let mut pipeline = Pipeline::with_capacity(calls.len());
        for call in calls {
            pipeline.cmd(command).arg(script).arg(call.keys.len()).arg(&call.keys).arg(&call.args);
        }
        let (mut connection, generation) = self.connection().await?;
        let sent = timeout(self.timeout, connection.send_packed_commands(&pipeline, 0, calls.len())).await;
        let answers = match sent {
            Ok(answers) => answers.map_err(failure),
            Err(_) => Err(self.late()),
        };
        // A connection that failed or is silent may be dead. A server that says it is a replica now stays one: only a
        // new connection may lead to the new primary.
        if answers.as_ref().map_or(true, |answers| answers.iter().any(is_demoted)) {
            self.link.discard(generation).await;
        }
        answers
    }

    async fn connection(&self) -> Result<(MultiplexedConnection, Generation), Error> {
        timeout(self.timeout, self.link.connection()).await.unwrap_or_else(|_| Err(self.late()))
    }

    fn late(&self) -> Error {
        Error::told(ErrorKind::Timeout, format!("Redis did not answer in {:?}", self.timeout))
    }
}

fn is_unknown_script(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(error) if error.kind() == Some(ServerErrorKind::NoScript))
}

fn is_demoted(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(error) if error.kind() == Some(ServerErrorKind::ReadOnly))
}

/// One receipt for all parts of a parcel, or the first error among them.
fn receipt(parcel: &Parcel, parts: &[Part], answers: Vec<Result<Value, Error>>) -> Result<Receipt, Error> {
    let mut receipt = Receipt { ids: BTreeMap::new(), duplicate: matches!(parcel.key, Some(Key::Given(_))) };
    for (part, answer) in parts.iter().zip(answers) {
        let (id, _epoch, known): (String, String, u8) =
            from_redis_value(answer?).map_err(|error| Error::new(ErrorKind::Protocol, error))?;
        let id: Id = id.parse().map_err(|error| Error::new(ErrorKind::Protocol, error))?;
        receipt.ids.extend(part.addresses.iter().map(|address| (address.to_string(), id)));
        receipt.duplicate &= known == 1;
    }
    Ok(receipt)
}
