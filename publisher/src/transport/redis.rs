//! Publishing straight into Redis: one script call for each partition of each event, all calls for a server in one
//! pipeline.
//!
//! What is acknowledged was published by the count of partitions that the store has: a partition that tells another takes
//! nothing, and the event is routed anew.

mod answer;

use std::collections::BTreeMap;
use std::time::Duration;

use tidings_shared::keys::Namespace;
use tidings_shared::script::{self, Call, Publish};
use tidings_shared::{Address, Count, Epoch, Partitions, Retention};
use tokio::time::Instant;

use self::answer::Outcome;
use super::courier::{Courier, Errand};
use super::routing::{Route, Routing};
use crate::parcel::{Key, Parcel};
use crate::store::Primaries;
use crate::{Error, ErrorKind, Receipt};

/// The store, as a publisher knows it.
pub(crate) struct Redis {
    courier: Courier,
    routing: Routing,
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

/// How often a parcel is routed anew within one attempt. A change of the count needs one; more are gateways at odds.
const ROUTED_ANEW: usize = 2;

impl Redis {
    /// The store that `primaries` lead to, which has that many partitions unless it tells otherwise. What takes longer
    /// than `timeout` is given up.
    pub(crate) fn new(
        primaries: Primaries,
        namespace: Namespace,
        partitions: Partitions,
        ages: KeyAges,
        timeout: Duration,
    ) -> Self {
        Self { courier: Courier::new(primaries, timeout), routing: Routing::new(namespace, partitions), ages }
    }

    /// Connects to the primary of every partition, where no connection is open.
    pub(crate) async fn connect(&self) -> Result<(), Error> {
        self.courier.connect(self.routing.now().keys.iter().map(|keys| keys.slot())).await
    }

    /// The number of partitions that is known now.
    pub(crate) fn partitions(&self) -> Partitions {
        self.routing.now().partitions
    }

    /// Sends the parcels once, and again where the store has another count of partitions than was known.
    pub(crate) async fn attempt(&self, parcels: &[&Parcel]) -> Vec<Result<Receipt, Error>> {
        let deadline = self.courier.deadline();
        let at_odds = || Err(Error::told(ErrorKind::Unavailable, "the number of partitions changed over and over"));
        let mut results: Vec<Result<Receipt, Error>> = parcels.iter().map(|_| at_odds()).collect();
        let mut waiting: Vec<usize> = (0..parcels.len()).collect();
        for _ in 0..=ROUTED_ANEW {
            let route = self.routing.now();
            let sent: Vec<&Parcel> = waiting.iter().map(|at| parcels[*at]).collect();
            let outcomes = self.send(&route, &sent, deadline).await;
            let mut misrouted = Vec::new();
            for (at, outcome) in waiting.into_iter().zip(outcomes) {
                match outcome {
                    Outcome::Settled(result) => results[at] = result,
                    // None is left: the store as a whole has told.
                    Outcome::Unvouched(_) => {}
                    Outcome::Misrouted(partitions) => {
                        self.routing.adopt(partitions);
                        misrouted.push(at);
                    }
                }
            }
            waiting = misrouted;
            if waiting.is_empty() {
                break;
            }
        }
        results
    }

    /// Sends the parcels by this route: all calls for a server in one write, in order.
    async fn send(&self, route: &Route, parcels: &[&Parcel], deadline: Instant) -> Vec<Outcome> {
        let parts: Vec<Vec<Part>> = parcels.iter().map(|parcel| self.parts(route, parcel)).collect();
        let errands = parts.iter().flatten().map(|part| Errand::publish(&part.call, part.slot)).collect();
        let mut answers = self.courier.run(errands, deadline).await.into_iter();
        let outcomes = parcels.iter().zip(&parts).map(|(parcel, parts)| {
            // Takes exactly the answers of this parcel's parts before looking at any.
            let answers: Vec<_> = answers.by_ref().take(parts.len()).collect();
            answer::outcome(parcel, parts.iter().map(|part| part.addresses.as_slice()).zip(answers))
        });
        let mut outcomes: Vec<Outcome> = outcomes.collect();
        if outcomes.iter().any(|outcome| matches!(outcome, Outcome::Unvouched(_))) {
            let count = self.count(deadline).await;
            outcomes.iter_mut().for_each(|outcome| outcome.vouch(&count, route.partitions));
        }
        outcomes
    }

    /// The count that the store has, where a partition does not tell: no gateway was ever there, or its data is lost. Any
    /// other partition may tell, and if none does, whichever gateway comes begins a history of its own.
    async fn count(&self, deadline: Instant) -> Result<Count, Error> {
        let questions: Vec<_> = self.routing.all().iter().map(|keys| (script::count(keys), keys.slot())).collect();
        let errands = questions.iter().map(|(question, slot)| Errand::read(question, *slot)).collect();
        answer::count(self.courier.run(errands, deadline).await)
    }

    /// Splits a parcel by partition.
    fn parts(&self, route: &Route, parcel: &Parcel) -> Vec<Part> {
        let partitions = route.partitions;
        let mut split: BTreeMap<usize, Vec<Address>> = BTreeMap::new();
        for address in &parcel.addresses {
            split.entry(partitions.of(address).index()).or_default().push(address.clone());
        }
        let key = parcel.key.as_ref().map(|key| (key.text(), self.age(key)));
        let epoch = Epoch::from_random(fastrand::u32(..));
        let part = |(at, addresses): (usize, Vec<Address>)| {
            let keys = route.keys.get(at)?;
            let (message, retention) = (parcel.body.as_str(), Retention::default());
            let publish = Publish { addresses: &addresses, message, partitions, key, epoch, retention };
            let call = script::publish(keys, publish);
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
