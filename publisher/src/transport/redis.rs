//! Publishing straight into Redis: one script call for each partition of each event, all calls for a server in one
//! pipeline.

use std::collections::BTreeMap;
use std::time::Duration;

use ::redis::{Value, from_redis_value};
use tidings_shared::keys::{Keys, Namespace};
use tidings_shared::script::{self, Call, Publish};
use tidings_shared::{Address, Epoch, Id, Partitions, Retention};

use super::courier::{Courier, Errand};
use crate::parcel::{Key, Parcel};
use crate::store::Primaries;
use crate::{Error, ErrorKind, Receipt};

/// The store, as a publisher knows it.
pub(crate) struct Redis {
    courier: Courier,
    partitions: Partitions,
    /// Of each partition.
    keys: Vec<Keys>,
    ages: KeyAges,
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
    slot: u16,
}

impl Redis {
    /// The store that `primaries` lead to. What takes longer than `timeout` is given up.
    pub(crate) fn new(
        primaries: Primaries,
        namespace: &Namespace,
        partitions: Partitions,
        ages: KeyAges,
        timeout: Duration,
    ) -> Self {
        let keys = partitions.all().map(|partition| namespace.keys(partition)).collect();
        Self { courier: Courier::new(primaries, timeout), partitions, keys, ages }
    }

    /// Connects to the primary of every partition, where no connection is open.
    pub(crate) async fn connect(&self) -> Result<(), Error> {
        self.courier.connect(self.keys.iter().map(Keys::slot)).await
    }

    /// Sends the parcels once: all calls for a server in one write, in order.
    pub(crate) async fn attempt(&self, parcels: &[&Parcel]) -> Vec<Result<Receipt, Error>> {
        let parts: Vec<Vec<Part>> = parcels.iter().map(|parcel| self.parts(parcel)).collect();
        let errands = parts.iter().flatten().map(|part| Errand::new(&part.call, part.slot)).collect();
        let mut answers = self.courier.run(errands).await.into_iter();
        let receipts = parcels.iter().zip(&parts).map(|(parcel, parts)| {
            // Takes exactly the answers of this parcel's parts before looking at any.
            let answers: Vec<_> = answers.by_ref().take(parts.len()).collect();
            receipt(parcel, parts, answers)
        });
        receipts.collect()
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
            Some(Part { addresses, call, slot: keys.slot() })
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
